"""``GET /images/search``: what a registry finds, through Docker's filters."""

import functools
from collections.abc import Sequence
from typing import Final

from kedge.api.types.distribution import SearchItem
from kedge.api.types.system import AuthConfig
from kedge.distribution.search import RegistrySearcher
from kedge.engine.context import EngineContext
from kedge.engine.images import make_credentials
from kedge.errdefs import InvalidParameterError
from kedge.lib.filters import Filters

_KEYS: Final = ("is-automated", "is-official", "stars")


class SearchService:
    """Satisfies the server's ``SearchBackend``."""

    def __init__(self, context: EngineContext, searcher: RegistrySearcher) -> None:
        """Ask with ``searcher``, in ``context``'s worker threads."""
        self._context = context
        self._searcher = searcher

    async def search(
        self, term: str, *, limit: int, filters: Filters, auth: AuthConfig | None
    ) -> Sequence[SearchItem]:
        """Return the repositories that match.

        Raises:
            InvalidParameterError: A term, limit or filter that is none.
            UnavailableError: The registry cannot be asked.
        """
        filters.check_keys(_KEYS)
        # Nothing is automated any more; the registry says false of everything.
        automated = filters.boolean("is-automated", default=False)
        official = filters.boolean("is-official", default=False)
        stars = max((_stars(text) for text in filters.get("stars")), default=0)
        found = await self._context.run_job(
            functools.partial(self._searcher.search, term, limit, make_credentials(auth))
        )
        if automated:
            return []
        return [
            SearchItem(
                name=item.name,
                description=item.description,
                star_count=item.stars,
                is_official=item.is_official,
            )
            for item in found
            if item.stars >= stars
            and ("is-official" not in filters or item.is_official == official)
        ]


def _stars(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise InvalidParameterError(f"invalid filter 'stars=[{text}]': want a number")
    return int(text)
