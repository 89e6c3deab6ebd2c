"""What tests of limits have injected."""

from collections.abc import Iterator

import pytest

from saqueduct import EngineQueue, Queues, TaskRegistry, get_registry
from tests.flow.hands import Hands


@pytest.fixture
def registry() -> Iterator[TaskRegistry]:
    """The default registry, empty for the test."""
    with get_registry().isolated() as registry:
        yield registry


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


@pytest.fixture
def hands(queue: EngineQueue) -> Hands:
    return Hands(queue)
