"""What ``--call`` answers, for every front door: text, a document and an exit status."""

from enum import StrEnum
from typing import assert_never

from kedge.builder.checks.checking import CheckRequest, check_dockerfile
from kedge.builder.checks.outline import list_targets, outline
from kedge.builder.checks.present import (
    check_document,
    check_summary,
    check_text,
    outline_document,
    outline_text,
    targets_document,
    targets_text,
)
from kedge.builder.dockerfile.typed import parse_dockerfile
from kedge.builder.findings import Answer
from kedge.builder.plan import plan_build


class Call(StrEnum):
    """What can be asked of a Dockerfile in place of building it."""

    CHECK = "check"
    OUTLINE = "outline"
    TARGETS = "targets"


def answer_call(call: Call, request: CheckRequest, filename: str) -> Answer:
    """Return the answer to ``call``.

    Args:
        call: What is asked.
        request: The Dockerfile and how it would be built.
        filename: What the Dockerfile is called.

    Raises:
        DockerfileError: The file cannot be understood; a check reports that as what it found.
    """
    if call is Call.CHECK:
        report = check_dockerfile(request)
        return Answer(
            summary=check_summary(report),
            text=check_text(report, request.text, filename),
            document=check_document(report, request.text, filename),
            status_code=1 if report.warnings or report.error is not None else 0,
        )
    dockerfile = parse_dockerfile(request.text)
    if call is Call.TARGETS:
        targets = list_targets(dockerfile)
        document = targets_document(targets, request.text)
        return Answer("", targets_text(targets), document, 0)
    if call is Call.OUTLINE:
        plan = plan_build(
            dockerfile,
            target=request.target,
            build_args=request.build_args,
            build_platform=request.build_platform,
            target_platform=request.target_platform,
            contexts=request.contexts,
        )
        found = outline(dockerfile, plan, request.build_args)
        return Answer("", outline_text(found), outline_document(found, request.text), 0)
    assert_never(call)
