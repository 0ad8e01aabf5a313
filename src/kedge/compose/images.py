"""Which images have to be pulled or built before containers can be made. Pure, but for `look_up`.

A service with a ``build`` is built where its image is not there; others are pulled by their
``pull_policy`` (``always``, ``never``, ``missing``, ``build``, ``daily``, ``every_12h`` ...).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from kedge.client.http import EngineClient, percent_encode
from kedge.compose.application import Application
from kedge.compose.steps import BuildImage, Plan, PullImage, PushImage, SkipImage, Step
from kedge.compose.values import parse_span
from kedge.errdefs import InvalidParameterError, NotFoundError
from kedge.lib.durations import HOUR, SECOND
from kedge.lib.fields import mapping, objects, text
from kedge.lib.jsontypes import JsonObject

_PERIODS: Final = {"daily": 24 * HOUR, "weekly": 7 * 24 * HOUR}
_POLICIES: Final = frozenset({"always", "never", "missing", "if_not_present", "build", "refresh"})
_BASE: Final = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)", re.IGNORECASE | re.MULTILINE)


class LocalImage(NamedTuple):
    """An image the engine has."""

    id: str
    tagged_s: float = 0.0
    """When its name was last given; 0 where the engine does not say."""


class ImageWishes(NamedTuple):
    """What the command line asks for."""

    build: bool = False
    no_build: bool = False
    pull: str = ""
    """``--pull``, in place of every service's own policy."""
    now_s: float = 0.0


def look_up(client: EngineClient, images: Iterable[str]) -> dict[str, LocalImage]:
    """Return those of ``images`` that the engine has."""
    found: dict[str, LocalImage] = {}
    for image in dict.fromkeys(images):
        try:
            record = client.get(f"/images/{percent_encode(image, keep='/:@')}/json").object()
        except NotFoundError:
            continue
        found[image] = LocalImage(text(record, "Id"), _moment_s(record))
    return found


def _moment_s(record: JsonObject) -> float:
    moment = text(record, "Metadata", "LastTagTime")
    if not moment or moment.startswith("0001"):
        return 0.0
    import datetime as dt  # noqa: PLC0415 - only with a policy that needs it

    shown = re.sub(r"\.(\d{1,6})\d*", r".\1", moment)
    return dt.datetime.fromisoformat(shown).timestamp()


def plan_images(
    app: Application, services: Sequence[str], local: Mapping[str, LocalImage], wishes: ImageWishes
) -> Plan:
    """Return the pulls and builds after which every service has its image.

    Raises:
        NotFoundError: An image that may not be pulled or built.
        InvalidParameterError: An unknown policy.
    """
    steps: dict[str, Step] = {}
    for name in services:
        service = app.service(name)
        if service.get("provider"):
            continue
        step = _step(app, name, local, wishes)
        if step is not None:
            steps.setdefault(step.key, step)
        for image in hook_images(app, name):
            if image not in local:
                steps.setdefault(
                    f"pull:{image}", PullImage(f"pull:{image}", (), image, name, reason="not there")
                )
    return Plan(tuple(_after_contexts(app, steps)))


def hook_images(app: Application, name: str) -> list[str]:
    """Return the images a service's ``pre_start`` needs besides its own."""
    named = [text(hook, "image") for hook in objects(app.service(name), "pre_start")]
    return [image for image in dict.fromkeys(named) if image and image != app.image(name)]


def _step(
    app: Application, name: str, local: Mapping[str, LocalImage], wishes: ImageWishes
) -> Step | None:
    service, image = app.service(name), app.image(name)
    policy = wishes.pull or text(service, "pull_policy") or "missing"
    build = mapping(service, "build")
    known = local.get(image)
    if build and not wishes.no_build:
        reason = "asked for" if wishes.build or policy == "build" else ""
        if reason or (known is None and policy != "always"):
            return build_step(app, name, reason or "not there")
        if known is None and not service.get("image"):
            return build_step(app, name, "not there")
    if not service.get("image"):
        if known is None:
            raise NotFoundError(
                f"service {name}: image {image} is not there, and --no-build forbids to build it"
            )
        return None
    reason = _pull_reason(name, policy, text(service, "pull_refresh_after"), known, wishes.now_s)
    if not reason:
        return None
    platform = text(service, "platform") or app.env.get("DOCKER_DEFAULT_PLATFORM", "")
    may_build = bool(build) and not wishes.no_build
    return PullImage(f"pull:{image}", (), image, name, platform, reason, may_build)


def _pull_reason(
    service: str, policy: str, refresh: str, known: LocalImage | None, now_s: float
) -> str:
    period = _period(service, policy, refresh)
    if policy in {"never", "build"}:
        return ""
    if policy == "always":
        return "policy always"
    if known is None:
        return "not there"
    if period and now_s - known.tagged_s > period / SECOND:
        return f"older than {policy.removeprefix('every_')}"
    return ""


def _period(service: str, policy: str, refresh: str) -> int:
    if policy in _PERIODS:
        return _PERIODS[policy]
    if policy.startswith("every_"):
        return parse_span(policy.removeprefix("every_"))
    if policy not in _POLICIES:
        raise InvalidParameterError(f"service {service}: unsupported pull_policy {policy}")
    return parse_span(refresh) if policy == "refresh" and refresh else 0


def plan_builds(app: Application, services: Sequence[str]) -> Plan:
    """Return the builds of those of ``services`` that have one."""
    steps: dict[str, Step] = {}
    for name in services:
        if app.service(name).get("build"):
            step = build_step(app, name)
            steps[step.key] = step
    return Plan(tuple(_after_contexts(app, steps)))


class PullWishes(NamedTuple):
    """What ``pull`` asks for."""

    policy: str = ""
    ignore_buildable: bool = False


def plan_pulls(
    app: Application, services: Sequence[str], local: Mapping[str, LocalImage], wishes: PullWishes
) -> Plan:
    """Return the pulls of the services' images, and why others are left alone."""
    steps: dict[str, Step] = {}
    for name in services:
        service, image = app.service(name), app.image(name)
        if service.get("provider"):
            continue
        reason = _no_pull(service, image in local, wishes)
        if reason:
            step: Step = SkipImage(f"skip:{image}", (), image, reason)
        else:
            platform = text(service, "platform") or app.env.get("DOCKER_DEFAULT_PLATFORM", "")
            step = PullImage(f"pull:{image}", (), image, name, platform)
        steps.setdefault(step.key, step)
    return Plan(tuple(steps.values()))


def _no_pull(service: JsonObject, known: bool, wishes: PullWishes) -> str:  # noqa: FBT001 - private
    policy = text(service, "pull_policy")
    if not service.get("image") or (service.get("build") and policy == "build"):
        return "it is built"
    if service.get("build") and wishes.ignore_buildable:
        return "it can be built"
    if policy == "never" and not wishes.policy:
        return "its pull_policy is never"
    if known and (wishes.policy == "missing" or (policy == "missing" and not wishes.policy)):
        return "it is here already"
    return ""


def plan_pushes(
    app: Application,
    services: Sequence[str],
    needs: Callable[[str], tuple[str, ...]] = lambda _name: (),
) -> Plan:
    """Return the pushes of what the services build, and why others are left alone."""
    steps: dict[str, Step] = {}
    for name in services:
        service, image = app.service(name), app.image(name)
        if not service.get("build"):
            continue
        if not service.get("image"):
            step: Step = SkipImage(f"skip:{image}", (), image, "it has no name: set 'image'")
        else:
            step = PushImage(f"push:{image}", needs(name), image, name)
        steps.setdefault(step.key, step)
    return Plan(tuple(steps.values()))


def build_step(app: Application, name: str, reason: str = "") -> BuildImage:
    """Return the build of a service."""
    image = app.image(name)
    return BuildImage(f"build:{name}", (), image, name, mapping(app.service(name), "build"), reason)


def _after_contexts(app: Application, steps: Mapping[str, Step]) -> list[Step]:
    """Put builds after those of the services whose images they are built from."""
    owner = {app.image(name): name for name in app.services}
    ordered: list[Step] = []
    for step in steps.values():
        if not isinstance(step, BuildImage):
            ordered.append(step)
            continue
        contexts = mapping(step.build, "additional_contexts").values()
        named = {str(one).removeprefix("service:") for one in contexts
                 if str(one).startswith("service:")}  # fmt: skip
        named |= {owner[base] for base in _BASE.findall(text(step.build, "dockerfile_inline"))
                  if base in owner}  # fmt: skip
        needs = tuple(f"build:{name}" for name in sorted(named) if f"build:{name}" in steps)
        ordered.append(step._replace(needs=needs))
    return ordered
