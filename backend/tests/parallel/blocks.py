"""What each process runs at a time."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import pytest

MOST = 60
"""Tests of a block. The processes end their last ones at nearly the same time; and each of them makes anew what the
tests of a module share."""


def blocks(items: Sequence[pytest.Item]) -> list[list[int]]:
    """Positions of the tests that one process runs one after another, the longest blocks first.

    The tests with a browser share it, those that take long are alone, and the others are with those of their module.
    """
    browser = [at for at, item in enumerate(items) if item.get_closest_marker("browser")]
    long = [at for at, item in enumerate(items) if item.get_closest_marker("long") and at not in browser]
    first = {*browser, *long}
    others = [at for at in range(len(items)) if at not in first]
    modules = groupby(others, key=lambda at: items[at].path)
    return [
        *([browser] if browser else []),
        *([at] for at in long),
        *(block for _, module in modules for block in _parts(list(module))),
    ]


def _parts(module: list[int]) -> Iterator[list[int]]:
    for start in range(0, len(module), MOST):
        yield module[start : start + MOST]
