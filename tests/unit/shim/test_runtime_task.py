"""What a spawner has ready before the first container is asked for."""

from kedge.engine.defaults import DEFAULT_CAPABILITIES
from kedge.runtime.seccomp.default_profile import relevant_capabilities
from kedge.shim.runtime_task import USUAL_CAPABILITIES


def test_filter_that_is_ready_is_the_one_of_default_capabilities() -> None:
    assert relevant_capabilities(DEFAULT_CAPABILITIES) == relevant_capabilities(USUAL_CAPABILITIES)
    assert relevant_capabilities(USUAL_CAPABILITIES) == frozenset(USUAL_CAPABILITIES)
