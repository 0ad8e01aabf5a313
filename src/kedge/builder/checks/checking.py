"""`check_dockerfile`: everything the build checks find in one Dockerfile.

Pure. A file that cannot be understood is reported with what was found before the place where it
ends. Checks of what a stage does look at all stages, or in a build at those that are needed.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from kedge.builder.arguments import global_scope, platform_args
from kedge.builder.checks.instage import CheckedStage, StageChecks
from kedge.builder.checks.options import CheckOptions, parse_check_options
from kedge.builder.checks.wholefile import Arguments, FileChecks
from kedge.builder.dockerfile.directives import find_directive
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.instructions import Dockerfile
from kedge.builder.dockerfile.syntax import Document, Node, parse_document
from kedge.builder.dockerfile.typed import parse_dockerfile, parse_instruction
from kedge.builder.findings import CheckWarning
from kedge.builder.lowering import Scope
from kedge.builder.plan import SourceKind, StagePlan, plan_build
from kedge.builder.state import image_state, scratch_state
from kedge.lib.ignorefile import IgnoreMatcher
from kedge.oci.image_spec import ImageConfig
from kedge.oci.platforms import Platform, host_platform

CHECK_ARG: Final = "BUILDKIT_DOCKERFILE_CHECK"

FindConfig = Callable[[str, Platform], ImageConfig | None]
"""Returns the configuration of a base image where it is known without fetching anything."""


def no_config(_name: str, _platform: Platform) -> None:
    """Know no base image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What is checked, and how the build would go."""

    text: str
    """The Dockerfile."""
    build_args: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str = ""
    only_needed: bool = False
    """Look into the stages that are needed for the target only, as a build does."""
    ignored: IgnoreMatcher | None = None
    contexts: Iterable[str] = ()
    build_platform: Platform = field(default_factory=host_platform)
    target_platform: Platform = field(default_factory=host_platform)
    find_config: FindConfig = no_config


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was found, by line."""

    warnings: tuple[CheckWarning, ...]
    error: DockerfileError | None = None
    """Why the file cannot be built."""
    is_fatal: bool = False
    """The file asks that warnings end the build."""

    def failure(self) -> DockerfileError | None:
        """Return the failure of a build whose warnings are fatal; None when there is none."""
        if not self.is_fatal or not self.warnings:
            return None
        names = sorted({warning.rule.name for warning in self.warnings})
        first = self.warnings[0]
        return DockerfileError(
            f"lint violation found for rules: {', '.join(names)}", line=first.line
        )


def check_options(text: str, build_args: Mapping[str, str]) -> CheckOptions:
    """Return what the file, or the argument in its place, says about checks.

    Raises:
        DockerfileError: It cannot be understood.
    """
    given = build_args.get(CHECK_ARG)
    if given is not None:
        return parse_check_options(given)
    directive = find_directive(text, "check")
    if directive is None:
        return CheckOptions()
    try:
        return parse_check_options(directive.value)
    except DockerfileError as error:
        raise error.at(directive.line) from None


def check_dockerfile(request: CheckRequest) -> CheckReport:
    """Return what the checks find; never raises for what is wrong with the file."""
    found: list[CheckWarning] = []
    options = CheckOptions()
    error: DockerfileError | None = None
    try:
        options = check_options(request.text, request.build_args)
        document = parse_document(request.text)
        checks = FileChecks(document, options)
        nodes, error = _understood(document)
        found += checks.of_nodes(nodes)
        if error is None:
            found += checks.of_lines()
            found += checks.of_casing()
            _check_stages(request, document, options, checks, found)
    except DockerfileError as failure:
        error = error or failure
    ordered = sorted(found, key=lambda each: (each.line, each.detail))
    return CheckReport(warnings=tuple(ordered), error=error, is_fatal=options.is_fatal)


def _understood(document: Document) -> tuple[list[Node], DockerfileError | None]:
    """Return the nodes up to the first that is no instruction, and what is wrong with that."""
    nodes: list[Node] = []
    for node in document.nodes:
        try:
            parse_instruction(node)
        except DockerfileError as error:
            return nodes, error
        nodes.append(node)
    return nodes, None


def _check_stages(
    request: CheckRequest,
    document: Document,
    options: CheckOptions,
    checks: FileChecks,
    found: list[CheckWarning],
) -> None:
    dockerfile = parse_dockerfile(request.text)
    found += checks.of_bases(_arguments(request, dockerfile))
    plan = plan_build(
        dockerfile,
        target=request.target,
        build_args=request.build_args,
        build_platform=request.build_platform,
        target_platform=request.target_platform,
        contexts=request.contexts,
    )
    scope = Scope(escape=document.escape, global_args=plan.scope, build_args=request.build_args)
    done: dict[int, CheckedStage] = {}
    wanted = plan.order if request.only_needed else range(len(plan.stages))
    for index in wanted:
        stage = _begin(plan.stages[index], done, request.find_config)
        walker = StageChecks(stage, scope, options, request.ignored)
        # Before it is walked through, so that a failure leaves what was found.
        done[index] = stage
        for warning in walker.walk(plan.stages[index].commands):
            found.append(warning)


def _arguments(request: CheckRequest, dockerfile: Dockerfile) -> Arguments:
    names = [stage.start.name for stage in dockerfile.stages]
    predefined = platform_args(
        request.build_platform, request.target_platform, request.target or names[-1]
    )
    declared = {name.name for arg in dockerfile.global_args for name in arg.names}
    return Arguments(
        scope=global_scope(dockerfile, request.build_args, predefined),
        defaults=global_scope(dockerfile, {}, predefined),
        declared=frozenset(declared | set(predefined)),
    )


def _begin(
    plan: StagePlan, done: Mapping[int, CheckedStage], find_config: FindConfig
) -> CheckedStage:
    source = plan.source
    if source.kind is SourceKind.STAGE:
        below = done.get(source.stage)
        if below is not None:
            return CheckedStage(
                state=below.state.child(), is_known=below.is_known, has_workdir=below.has_workdir
            )
    if source.kind is SourceKind.IMAGE:
        config = find_config(source.image, plan.platform)
        if config is not None:
            return CheckedStage(state=image_state("", config, [], plan.platform), is_known=True)
    is_known = source.kind is SourceKind.SCRATCH
    return CheckedStage(state=scratch_state(plan.platform), is_known=is_known)
