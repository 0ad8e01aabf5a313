"""One build carried out: stages as they are ready, each instruction from the cache or made new.

The order for a step that touches files: lower the instruction, compute the key, look it up, else
open a layer, change it, commit it, remember it. A failure or a cancellation between any two
leaves the steps before it in the cache and nothing of the step itself.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from kedge.builder.arguments import proxy_environment, source_date_epoch, unconsumed_args
from kedge.builder.checks.checking import CHECK_ARG
from kedge.builder.checks.options import CheckOptions, parse_check_options
from kedge.builder.checks.rules import INVALID_BASE_IMAGE_PLATFORM
from kedge.builder.contexts import ImageContext, ResultContext
from kedge.builder.dockerfile.errors import DockerfileError, suggestion
from kedge.builder.dockerfile.instructions import Command, Dockerfile
from kedge.builder.dockerfile.typed import parse_trigger
from kedge.builder.events import Event, Notice, StepDone, StepStarted, Warned
from kedge.builder.excerpts import excerpt
from kedge.builder.failures import BuildCancelledError, StepFailedError
from kedge.builder.files.layers import LayersTree
from kedge.builder.files.tree import NO_FILES, Tree
from kedge.builder.findings import CheckWarning
from kedge.builder.lowering import Scope, lower
from kedge.builder.operations import CopyOperation, RunOperation
from kedge.builder.parallel import NO_LABELS, Once, Turns, run_stages
from kedge.builder.perform import Performer
from kedge.builder.plan import BuildPlan, Source, SourceKind, StagePlan
from kedge.builder.request import BuildRequest
from kedge.builder.sources import Sources
from kedge.builder.state import StageState, image_state, scratch_state
from kedge.builder.steps import BaseImage, BaseResolver
from kedge.errdefs import InvalidParameterError, KedgeError, NotFoundError
from kedge.images.layering import LayerRecord
from kedge.oci.hashing import chain_ids, sha256_digest
from kedge.oci.image_spec import encode_document
from kedge.oci.platforms import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildScope:
    """What all stages of one build share, once the Dockerfile is planned."""

    dockerfile: Dockerfile
    plan: BuildPlan
    request: BuildRequest
    epoch_ns: int | None
    lowering: Scope
    checks: CheckOptions


def build_scope(
    dockerfile: Dockerfile,
    plan: BuildPlan,
    request: BuildRequest,
    newest_ns: Callable[[str], int | None],
) -> BuildScope:
    """Return the shared facts of a build.

    Raises:
        DockerfileError: SOURCE_DATE_EPOCH is no time, or the check options are malformed.
    """
    return BuildScope(
        dockerfile=dockerfile,
        plan=plan,
        request=request,
        epoch_ns=source_date_epoch(request.build_args, plan.scope, newest_ns),
        checks=parse_check_options(request.build_args.get(CHECK_ARG, dockerfile.check)),
        lowering=Scope(
            escape=dockerfile.escape,
            global_args=plan.scope,
            build_args=request.build_args,
            proxy=proxy_environment(request.build_args),
            network=request.network_mode or "default",
            hosts=request.extra_hosts,
            entitlements=request.entitlements,
        ),
    )


class Execution:
    """One build on its way; make one, call `run` once."""

    def __init__(
        self,
        scope: BuildScope,
        context: Tree | None,
        sources: Sources,
        resolver: BaseResolver,
        performer: Performer,
        *,
        at_once: bool = False,
    ) -> None:
        self._scope = scope
        self._context = context
        self._sources = sources
        self._resolver = resolver
        self._performer = performer
        self._on_event = performer.on_event
        self._states: dict[int, StageState] = {}
        self._images: dict[str, BaseImage] = {}
        self._trees: dict[tuple[int, str], LayersTree] = {}
        self._resolving = Once()
        self._late = threading.RLock()
        self._open = ExitStack()
        plan = scope.plan
        total = len(scope.dockerfile.global_args) + sum(
            1 + len(plan.stages[index].commands) for index in plan.order
        )
        total += bool(scope.request.labels)
        labels = {index: plan.stages[index].label for index in plan.order}
        self._turns = Turns(
            plan.order,
            total,
            performer.on_event,
            at_once=at_once,
            labels=labels if len(labels) > 1 else NO_LABELS,
        )

    def run(self) -> StageState:
        """Build every needed stage and return what the target became.

        Raises:
            KedgeError: Whatever made a step fail; the steps before it are remembered.
        """
        with self._open:
            for arg in self._scope.dockerfile.global_args:
                self._turns.tell(_started(arg.origin.source, "", arg.origin.line))
            plan = self._scope.plan
            needs = {index: plan.stages[index].needs for index in plan.order}
            run_stages(plan.order, needs, self._build, self._performer.cancel.set)
        state = self._states[self._scope.plan.target]
        self._label(state)
        self._warn()
        return state

    def stages(self) -> list[Sequence[LayerRecord]]:
        """Return the layers of every stage that was built, base first."""
        return [state.layers for state in self._states.values()]

    def bases(self) -> dict[str, BaseImage]:
        """Return the images that were asked for, by name."""
        return {key.partition(" ")[0]: image for key, image in self._images.items()}

    def _label(self, state: StageState) -> None:
        """Give the target the labels of the request, as a step of its own."""
        labels = self._scope.request.labels
        if not labels:
            return
        words = " ".join(f"{name}={content}" for name, content in labels.items())
        stage = self._scope.plan.stages[self._scope.plan.target]
        self._turns.tell(_started(f"LABEL {words}", stage.label, 0))
        state.change(labels={**state.config.labels, **labels})
        self._done(state, self._turns.tell)

    def _warn(self) -> None:
        scope = self._scope
        names = unconsumed_args(scope.dockerfile, scope.request.build_args, scope.plan.predefined)
        if names:
            listed = " ".join(names)
            self._on_event(Warned(text=f"One or more build-args [{listed}] were not consumed"))

    def _done(self, state: StageState, on_event: Callable[[Event], None]) -> None:
        image_id = state.unchanged_id
        if not image_id:
            image_id = sha256_digest(encode_document(state.image_config(self._scope.epoch_ns)))
        on_event(StepDone(image_id=image_id))

    def _build(self, index: int) -> None:
        """Build a stage in its own thread, its reports in their turn."""

        def report(event: Event) -> None:
            self._turns.report(index, event)

        stage = self._scope.plan.stages[index]
        names = {name.lower() for name in self._scope.request.no_cache_stages}
        anew = not names.isdisjoint((stage.label.lower(), str(index)))
        try:
            self._stage(index, self._performer.for_stage(report, anew=anew))
        except BuildCancelledError:
            raise
        except KedgeError:
            self._turns.fail(index)
            raise
        self._turns.finish(index)

    def _stage(self, index: int, performer: Performer) -> StageState:
        """Return a stage, built now unless it is already."""
        if index in self._states:
            return self._states[index]
        plan = self._scope.plan.stages[index]
        performer.on_event(_started(plan.text, plan.label, plan.line))
        state, triggers = self._begin(plan, performer)
        self._done(state, performer.on_event)
        for expression in triggers:
            self._command(self._trigger(expression, plan), state, plan, performer)
        for command in plan.commands:
            performer.on_event(_started(command.origin.source, plan.label, command.origin.line))
            self._command(command, state, plan, performer)
        self._states[index] = state
        return state

    def _needed(self, index: int, performer: Performer) -> StageState:
        """Return an earlier stage; one that only a trigger names is built here and now."""
        with self._late:
            return self._stage(index, performer)

    def _trigger(self, expression: str, plan: StagePlan) -> Command:
        try:
            return parse_trigger(expression)
        except DockerfileError as error:
            raise DockerfileError(f"ONBUILD {expression}: {error.reason}", line=plan.line) from None

    def _command(
        self, command: Command, state: StageState, plan: StagePlan, performer: Performer
    ) -> None:
        performer.check()
        effect = lower(command, state, self._scope.lowering)
        layer: LayerRecord | None = None
        if effect.operation is not None:
            try:
                layer = performer.perform(
                    effect.operation,
                    effect.created_by,
                    state.chain_id,
                    state.platform,
                    lambda name: self._find(name, plan, performer),
                )
            except StepFailedError:
                performer.on_event(
                    Notice(
                        text=excerpt(self._scope.request.dockerfile, plan, command), is_excerpt=True
                    )
                )
                raise
            except KedgeError as error:
                if isinstance(effect.operation, CopyOperation):
                    self._look_around(state, performer, str(error))
                raise
        if effect.created_by:
            state.note(effect.created_by, layer)
        self._done(state, performer.on_event)

    def _look_around(self, state: StageState, performer: Performer, reason: str) -> None:
        """Let whoever asked for it see the files that a COPY should have gone to."""
        where = RunOperation(
            args=("/bin/sh",),
            env=tuple(state.config.env),
            cwd=state.config.working_dir or "/",
            user=state.config.user,
            network=self._scope.request.network_mode,
            shell_text="",
            hosts=self._scope.request.extra_hosts,
        )
        performer.look_around(where, state.chain_id, reason)

    def _begin(self, plan: StagePlan, performer: Performer) -> tuple[StageState, list[str]]:
        """Return what the stage starts from, and the triggers that run first."""
        source = plan.source
        match source.kind:
            case SourceKind.SCRATCH:
                return scratch_state(plan.platform), []
            case SourceKind.STAGE:
                below = self._needed(source.stage, performer)
                return below.child(), list(below.config.on_build)
            case SourceKind.IMAGE | SourceKind.CONTEXT:
                image = self._source_image(source, plan, performer)
                if image is None:
                    return self._from_files(source, plan, performer), []
                chain = self._chain(image)
                layers = [
                    LayerRecord(diff_id=diff_id, chain_id=chain_id, blob=blob)
                    for diff_id, chain_id, blob in zip(
                        image.config.rootfs.diff_ids, chain, image.layers, strict=True
                    )
                ]
                self._check_base(image, source, plan)
                state = image_state(image.id, image.config, layers, plan.platform)
                return state, list(image.config.config.on_build)

    def _check_base(self, image: BaseImage, source: Source, plan: StagePlan) -> None:
        """Warn of a base image that is for another platform, as a local one may be."""
        here, wanted = image.config.image_platform().normalized(), plan.platform.normalized()
        differs = (here.os, here.architecture) != (wanted.os, wanted.architecture)
        if differs and self._scope.checks.wants(INVALID_BASE_IMAGE_PLATFORM):
            warning = CheckWarning(
                rule=INVALID_BASE_IMAGE_PLATFORM,
                detail=f"Base image {source.image or source.context} was pulled with platform "
                f'"{here}", expected "{wanted}" for current build',
                line=plan.line,
                end_line=plan.line,
            )
            self._turns.tell(Warned(text=str(warning), check=warning))

    def _from_files(self, source: Source, plan: StagePlan, performer: Performer) -> StageState:
        """Return what a stage on a context of files begins with: these files and nothing else."""
        state = scratch_state(plan.platform)
        operation = CopyOperation(
            instruction="FROM", sources=("/",), files=(), destination="/", into_directory=True
        )
        text = f"FROM {source.context} # build context"
        layer = performer.perform(
            operation, text, "", state.platform, lambda _: self._context_tree(source)
        )
        state.note(text, layer)
        return state

    def _chain(self, image: BaseImage) -> list[str]:
        chain = list(chain_ids(image.config.rootfs.diff_ids))
        self._performer.lease.add(*chain)
        return chain

    def _source_image(
        self, source: Source, plan: StagePlan, performer: Performer
    ) -> BaseImage | None:
        """Return the image a source names; None for a context of files."""
        if source.kind is SourceKind.IMAGE:
            return self._named_image(source.image, plan, performer)
        match self._sources.named(source.context):
            case ImageContext(reference=reference):
                return self._image(reference, plan.platform, performer)
            case ResultContext(image=image):
                return image
            case _:
                return None

    def _named_image(self, name: str, plan: StagePlan, performer: Performer) -> BaseImage:
        """Return an image; a name that is almost a stage's was meant for that, if there is none."""
        try:
            return self._image(name, plan.platform, performer)
        except BuildCancelledError:
            raise
        except KedgeError as error:
            stages = self._scope.plan.stages[: plan.index]
            hint = suggestion(name.lower(), (stage.name for stage in stages if stage.name))
            if not hint:
                raise
            raise NotFoundError(f"{error}{hint}") from error

    def _context_tree(self, source: Source) -> Tree:
        tree = self._sources.tree(source.context)
        return NO_FILES if tree is None else tree

    def _image(self, name: str, platform: Platform, performer: Performer) -> BaseImage:
        key = f"{name} {platform}"
        with self._resolving.hold(key, performer.check):
            image = self._images.get(key)
            if image is None:
                image = self._images[key] = self._resolver.resolve(
                    name,
                    platform,
                    pull=self._scope.request.pull,
                    on_event=performer.on_event,
                    cancel=performer.cancel,
                )
        return image

    def _find(self, name: str, plan: StagePlan, performer: Performer) -> Tree:
        """Return the files that ``--from=name`` means in a stage."""
        if not name:
            if self._context is None:
                raise InvalidParameterError("COPY and ADD need a build context, and there is none")
            return self._context
        source = self._scope.plan.find_stage(name, user=plan.index)
        tree = self._sources.tree(source.context) if source.context else None
        if tree is not None:
            return tree
        chain_id = self._chain_id(source, plan, performer)
        return self._layers(chain_id, plan.index) if chain_id else NO_FILES

    def _chain_id(self, source: Source, plan: StagePlan, performer: Performer) -> str:
        match source.kind:
            case SourceKind.SCRATCH:
                return ""
            case SourceKind.STAGE:
                return self._needed(source.stage, performer).chain_id
            case SourceKind.IMAGE | SourceKind.CONTEXT:
                image = self._source_image(source, plan, performer)
                chain = self._chain(image) if image is not None else []
                return chain[-1] if chain else ""

    def _layers(self, chain_id: str, user: int) -> Tree:
        # One for each stage: a tree remembers what it read and belongs to one thread.
        tree = self._trees.get((user, chain_id))
        if tree is None:
            workshop = self._performer.workshop
            tree = LayersTree(workshop.layering.open_tree(chain_id), workshop.memo)
            self._trees[user, chain_id] = self._open.enter_context(tree)
        return tree


def _started(text: str, stage: str, line: int) -> StepStarted:
    """Return the report of a step; it is numbered when it is passed on."""
    return StepStarted(number=0, total=0, text=text, stage=stage, line=line)
