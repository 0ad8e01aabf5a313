"""One build carried out: stages in order, each instruction from the cache or made new.

The order for a step that touches files: lower the instruction, compute the key, look it up, else
open a layer, change it, commit it, remember it. A failure or a cancellation between any two
leaves the steps before it in the cache and nothing of the step itself.
"""

from contextlib import ExitStack
from dataclasses import dataclass

from kedge.builder.arguments import proxy_environment, source_date_epoch, unconsumed_args
from kedge.builder.dockerfile.errors import DockerfileError
from kedge.builder.dockerfile.instructions import Command, Dockerfile
from kedge.builder.dockerfile.typed import parse_trigger
from kedge.builder.events import StepDone, StepStarted, Warned
from kedge.builder.files.layers import LayersTree
from kedge.builder.files.tree import Tree
from kedge.builder.lowering import Scope, lower
from kedge.builder.perform import Performer
from kedge.builder.plan import BuildPlan, Source, SourceKind, StagePlan
from kedge.builder.request import BuildRequest
from kedge.builder.state import StageState, image_state, scratch_state
from kedge.builder.steps import BaseImage, BaseResolver
from kedge.errdefs import InvalidParameterError
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


def build_scope(dockerfile: Dockerfile, plan: BuildPlan, request: BuildRequest) -> BuildScope:
    """Return the shared facts of a build.

    Raises:
        DockerfileError: SOURCE_DATE_EPOCH is no number.
    """
    return BuildScope(
        dockerfile=dockerfile,
        plan=plan,
        request=request,
        epoch_ns=source_date_epoch(request.build_args, plan.scope),
        lowering=Scope(
            escape=dockerfile.escape,
            global_args=plan.scope,
            build_args=request.build_args,
            proxy=proxy_environment(request.build_args),
            network=request.network_mode or "default",
            hosts=request.extra_hosts,
        ),
    )


class Execution:
    """One build on its way; make one, call `run` once."""

    def __init__(
        self,
        scope: BuildScope,
        context: Tree | None,
        resolver: BaseResolver,
        performer: Performer,
    ) -> None:
        self._scope = scope
        self._context = context
        self._resolver = resolver
        self._performer = performer
        self._on_event = performer.on_event
        self._states: dict[int, StageState] = {}
        self._images: dict[str, BaseImage] = {}
        self._trees: dict[str, LayersTree] = {}
        self._open = ExitStack()
        self._number = 0
        plan = scope.plan
        self._total = len(scope.dockerfile.global_args) + sum(
            1 + len(plan.stages[index].commands) for index in plan.order
        )

    def run(self) -> StageState:
        """Build every needed stage and return what the target became.

        Raises:
            KedgeError: Whatever made a step fail; the steps before it are remembered.
        """
        with self._open:
            for arg in self._scope.dockerfile.global_args:
                self._start(arg.origin.source, "", arg.origin.line)
            for index in self._scope.plan.order:
                self._stage(index)
        state = self._states[self._scope.plan.target]
        labels = self._scope.request.labels
        if labels:
            state.change(labels={**state.config.labels, **labels})
        self._warn()
        return state

    def _warn(self) -> None:
        scope = self._scope
        for warning in scope.dockerfile.warnings:
            self._on_event(Warned(text=warning))
        names = unconsumed_args(scope.dockerfile, scope.request.build_args, scope.plan.predefined)
        if names:
            listed = " ".join(names)
            self._on_event(Warned(text=f"One or more build-args [{listed}] were not consumed"))

    def _start(self, text: str, stage: str, line: int) -> None:
        self._number += 1
        self._on_event(
            StepStarted(
                number=self._number,
                total=max(self._total, self._number),
                text=text,
                stage=stage,
                line=line,
            )
        )

    def _done(self, state: StageState) -> None:
        image_id = state.unchanged_id
        if not image_id:
            image_id = sha256_digest(encode_document(state.image_config(self._scope.epoch_ns)))
        self._on_event(StepDone(image_id=image_id))

    def _stage(self, index: int) -> StageState:
        """Return a stage, built now unless it is already."""
        if index in self._states:
            return self._states[index]
        plan = self._scope.plan.stages[index]
        self._start(plan.text, plan.label, plan.line)
        state, triggers = self._begin(plan)
        self._done(state)
        for expression in triggers:
            self._command(self._trigger(expression, plan), state, plan)
        for command in plan.commands:
            self._start(command.origin.source, plan.label, command.origin.line)
            self._command(command, state, plan)
        self._states[index] = state
        return state

    def _trigger(self, expression: str, plan: StagePlan) -> Command:
        try:
            return parse_trigger(expression)
        except DockerfileError as error:
            raise DockerfileError(f"ONBUILD {expression}: {error.reason}", line=plan.line) from None

    def _command(self, command: Command, state: StageState, plan: StagePlan) -> None:
        self._performer.check()
        effect = lower(command, state, self._scope.lowering)
        layer: LayerRecord | None = None
        if effect.operation is not None:
            layer = self._performer.perform(
                effect.operation,
                effect.created_by,
                state.chain_id,
                state.platform,
                lambda name: self._find(name, plan),
            )
        if effect.created_by:
            state.note(effect.created_by, layer)
        self._done(state)

    def _begin(self, plan: StagePlan) -> tuple[StageState, list[str]]:
        """Return what the stage starts from, and the triggers that run first."""
        source = plan.source
        match source.kind:
            case SourceKind.SCRATCH:
                return scratch_state(plan.platform), []
            case SourceKind.STAGE:
                below = self._stage(source.stage)
                return below.child(), list(below.config.on_build)
            case SourceKind.IMAGE:
                image = self._image(source.image, plan.platform)
                chain = chain_ids(image.config.rootfs.diff_ids)
                self._performer.lease.add(*chain)
                layers = [
                    LayerRecord(diff_id=diff_id, chain_id=chain_id, blob=blob)
                    for diff_id, chain_id, blob in zip(
                        image.config.rootfs.diff_ids, chain, image.layers, strict=True
                    )
                ]
                state = image_state(image.id, image.config, layers, plan.platform)
                return state, list(image.config.config.on_build)

    def _image(self, name: str, platform: Platform) -> BaseImage:
        key = f"{name} {platform}"
        image = self._images.get(key)
        if image is None:
            image = self._images[key] = self._resolver.resolve(
                name,
                platform,
                pull=self._scope.request.pull,
                on_event=self._on_event,
                cancel=self._performer.cancel,
            )
        return image

    def _find(self, name: str, plan: StagePlan) -> Tree:
        """Return the files that ``--from=name`` means in a stage."""
        if not name:
            if self._context is None:
                raise InvalidParameterError("COPY and ADD need a build context, and there is none")
            return self._context
        source = self._scope.plan.find_stage(name, user=plan.index)
        return self._layers(self._chain_id(source, plan))

    def _chain_id(self, source: Source, plan: StagePlan) -> str:
        match source.kind:
            case SourceKind.SCRATCH:
                return ""
            case SourceKind.STAGE:
                return self._stage(source.stage).chain_id
            case SourceKind.IMAGE:
                image = self._image(source.image, plan.platform)
                chain = chain_ids(image.config.rootfs.diff_ids)
                self._performer.lease.add(*chain)
                return chain[-1] if chain else ""

    def _layers(self, chain_id: str) -> Tree:
        tree = self._trees.get(chain_id)
        if tree is None:
            workshop = self._performer.workshop
            tree = LayersTree(workshop.layering.open_tree(chain_id), workshop.memo)
            self._trees[chain_id] = self._open.enter_context(tree)
        return tree
