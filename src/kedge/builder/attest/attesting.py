"""The attestations of one build: the facts gathered, the documents made."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from kedge.builder.attest.packages import scan
from kedge.builder.attest.provenance import BuildFacts, Material, provenance
from kedge.builder.attest.spdx import sbom
from kedge.builder.cache import BuildCache
from kedge.builder.exporters.result import Attestation, BuiltImage
from kedge.builder.remote.fetching import Fetching
from kedge.builder.request import BuildRequest
from kedge.builder.steps import BaseImage
from kedge.errdefs import KedgeError
from kedge.images.layering import Layering
from kedge.images.store import ImageStore
from kedge.lib.clock import Clock, format_rfc3339
from kedge.lib.ids import new_id
from kedge.lib.jsontypes import JsonObject
from kedge.oci.references import parse_reference

_ID_DIGITS: Final = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Attesting:
    """What the attestations of one build are made of."""

    request: BuildRequest
    dockerfile: str
    images: ImageStore
    layering: Layering
    cache: BuildCache
    clock: Clock
    begun_ns: int
    epoch_ns: int | None
    fetching: Fetching
    check: Callable[[], None]

    def attest(
        self, built: BuiltImage, keys: Sequence[str], bases: Mapping[str, BaseImage]
    ) -> tuple[Attestation, ...]:
        """Return what the image says of itself.

        Args:
            built: The image.
            keys: The steps of its build.
            bases: The images it was made from, by the names that were asked for.
        """
        made: list[Attestation] = []
        wish = self.request.attests.provenance
        if wish is not None:
            made.append(provenance(self._facts(built, keys, bases), wish))
        if self.request.attests.sbom:
            made.append(self._sbom(built))
        return tuple(made)

    def _sbom(self, built: BuiltImage) -> Attestation:
        with ExitStack() as opened:
            stack = self.layering.open_tree(built.chain_id)
            if stack is not None:
                opened.enter_context(stack)
            found = scan(stack, self.check)
        now_ns = self.clock.time_ns() if self.epoch_ns is None else self.epoch_ns
        # SPDX has no fractions of a second.
        created = f"{format_rfc3339(now_ns)[:19]}Z"
        name = self.request.tags[0] if self.request.tags else built.image_id
        return sbom(found, name=name, image_id=built.image_id, created=created)

    def _facts(
        self, built: BuiltImage, keys: Sequence[str], bases: Mapping[str, BaseImage]
    ) -> BuildFacts:
        request = self.request
        args = {f"build-arg:{name}": value for name, value in request.build_args.items()}
        args |= {f"label:{name}": value for name, value in request.labels.items()}
        for name, value in (
            ("target", request.target),
            ("filename", request.dockerfile if request.dockerfile != "Dockerfile" else ""),
            ("force-network-mode", request.network_mode.replace("default", "")),
            ("no-cache", ",".join(request.no_cache_stages)),
        ):
            if value:
                args[name] = value
        return BuildFacts(
            args=args,
            dockerfile=self.dockerfile,
            dockerfile_name=request.dockerfile,
            platform=str(built.platform),
            materials=list(self._materials(built, bases)),
            steps=list(self._steps(keys)),
            source=request.remote,
            begun_ns=self.begun_ns,
            ended_ns=self.clock.time_ns(),
            epoch_ns=self.epoch_ns,
            invocation=new_id()[:_ID_DIGITS],
        )

    def _materials(self, built: BuiltImage, bases: Mapping[str, BaseImage]) -> Iterator[Material]:
        platform = str(built.platform).replace("/", "%2F")
        for name, base in sorted(bases.items()):
            reference = parse_reference(name).with_default_tag()
            digest = self._digest(base, reference.name)
            algorithm, _, encoded = digest.partition(":")
            tag = reference.tag or reference.digest
            uri = f"pkg:docker/{reference.familiar_name}@{tag}?platform={platform}"
            yield Material(uri=uri, digests={algorithm: encoded})
        for url, algorithm, encoded in self.fetching.fetched():
            yield Material(uri=url, digests={algorithm: encoded})

    def _digest(self, base: BaseImage, repository: str) -> str:
        """Return the digest a registry knows the image by, or else that of what is here."""
        try:
            image = self.images.find(base.id)
        except KedgeError:
            image = None
        if image is None:
            return base.id
        known = [name.digest for name in image.digests if name.name == repository]
        return known[0] if known else image.manifest.digest if image.manifest else base.id

    def _steps(self, keys: Sequence[str]) -> Iterator[JsonObject]:
        for key in sorted(set(keys)):
            record = self.cache.find(key)
            if record is not None:
                yield {
                    "instruction": record.step,
                    "key": key,
                    "parent": record.parent,
                    "layer": record.diff_id,
                }
