from kedge.builder.classic import classic_error, classic_quiet, classic_stream
from kedge.builder.events import (
    CacheHit,
    Event,
    ImageBuilt,
    ImageTagged,
    InStage,
    Notice,
    Output,
    PullProgress,
    RunFinished,
    RunStarted,
    StepDone,
    StepStarted,
    Warned,
)
from kedge.builder.failures import StepFailedError
from kedge.errdefs import NotFoundError
from kedge.lib.jsontypes import JsonObject

ID = "sha256:" + "ab12" * 16
EVENTS: list[Event] = [
    StepStarted(number=1, total=2, text="FROM scratch"),
    PullProgress(message={"status": "Pulling from library/x", "id": "latest"}),
    StepDone(image_id=ID),
    StepStarted(number=2, total=2, text="RUN true"),
    CacheHit(key="sha256:0"),
    RunStarted(container_id="cd" * 32),
    Notice(text="RUN steps trust the certificate authorities of this host"),
    Output(stream="stdout", text="hi\n"),
    RunFinished(container_id="cd" * 32, exit_code=0),
    RunFinished(container_id="cd" * 32, exit_code=1),
    Warned(text="One or more build-args [X] were not consumed"),
    ImageBuilt(image_id=ID),
    ImageTagged(name="app:latest"),
]


def test_the_stream_reads_as_docker_writes_it() -> None:
    messages = [message for event in EVENTS for message in classic_stream(event)]
    assert messages == [
        {"stream": "Step 1/2 : FROM scratch"},
        {"stream": "\n"},
        {"status": "Pulling from library/x", "id": "latest"},
        {"stream": " ---> ab12ab12ab12\n"},
        {"stream": "Step 2/2 : RUN true"},
        {"stream": "\n"},
        {"stream": " ---> Using cache\n"},
        {"stream": " ---> Running in cdcdcdcdcdcd\n"},
        {"stream": "RUN steps trust the certificate authorities of this host\n"},
        {"stream": "hi\n"},
        {"stream": " ---> Removed intermediate container cdcdcdcdcdcd\n"},
        {"stream": "[Warning] One or more build-args [X] were not consumed\n"},
        {"aux": {"ID": ID}},
        {"stream": "Successfully built ab12ab12ab12\n"},
        {"stream": "Successfully tagged app:latest\n"},
    ]


def test_quiet_says_only_the_id() -> None:
    messages = [message for event in EVENTS for message in classic_quiet(event)]
    assert messages == [{"stream": f"{ID}\n"}]


def test_errors_carry_the_exit_code_of_a_command() -> None:
    text = "The command '/bin/sh -c false' returned a non-zero code: 3"
    assert classic_error(StepFailedError(text, exit_code=3)) == {
        "errorDetail": {"code": 3, "message": text},
        "error": text,
    }
    assert classic_error(NotFoundError("No such image: x")) == {
        "errorDetail": {"message": "No such image: x"},
        "error": "No such image: x",
    }


def test_messages_of_stages_that_run_at_once_are_marked() -> None:
    def told(event: Event, label: str = "web") -> list[JsonObject]:
        return classic_stream(InStage(stage=1, event=event, label=label))

    step = StepStarted(number=2, total=5, text="RUN make")
    assert [each["stage"] for each in told(step)] == [{"name": "web", "begins": "2/5 RUN make"}] * 2
    assert [each["stage"] for each in told(Notice(text="x"))] == [{"name": "web"}]
    assert [each["stage"] for each in told(StepDone(image_id="sha256:0"))] == [
        {"name": "web", "ends": True}
    ]
    # A stage that is alone needs no name.
    assert told(step, "") == classic_stream(step)
