"""What the tests of the queue share."""

from collections.abc import Iterator

import pytest

from app.queue import get_registry


@pytest.fixture
def own_tasks() -> Iterator[None]:
    """The application's tasks stay, those a test adds go."""
    registry = get_registry()
    before = registry.get_all_tasks()
    with registry.isolated():
        for each in before:
            registry.add(each)
        yield
