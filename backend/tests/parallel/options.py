"""The option of the command line."""

import pytest


def processes(config: pytest.Config) -> int:
    """How many processes run the tests."""
    number: int | None = config.getoption("processes")
    return number or 1
