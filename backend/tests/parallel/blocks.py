"""What each process runs at a time."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

SHARING = ("browser", "package")
"""Marks of tests that share what takes long to make: one process runs all that have the same."""

MOST = 60
"""Tests of a block. The processes end their last ones at nearly the same time; and each of them makes anew what the
tests of a module share."""

FEW = 15
"""Tests of the last blocks: where a process has many left, the others wait for it."""

LAST = 8
"""One of so many blocks is one of the last."""


def blocks(items: Sequence[pytest.Item]) -> list[list[int]]:
    """Positions of the tests that one process runs one after another, the longest blocks first, the shortest last.

    The tests with a browser share it, as those of the package share its environments; those that take long are alone,
    and the others are with those of their module.
    Modules of a folder are apart in time: where many of them wait at the same time, the processors have nothing to do.
    """
    sharing = [[at for at, item in enumerate(items) if item.get_closest_marker(name)] for name in SHARING]
    shared = {at for block in sharing for at in block}
    long = [at for at, item in enumerate(items) if item.get_closest_marker("long") and at not in shared]
    first = {*shared, *long}
    others = [at for at in range(len(items)) if at not in first]
    modules = groupby(others, key=lambda at: items[at].path)
    spread = _spread((path.parent, block) for path, module in modules for block in _parts(list(module), MOST))
    last = len(spread) - len(spread) // LAST
    return [
        *filter(None, sharing),
        *([at] for at in long),
        *spread[:last],
        *(part for block in spread[last:] for part in _parts(block, FEW)),
    ]


def _spread(blocks: Iterable[tuple[Path, list[int]]]) -> list[list[int]]:
    """The blocks of each folder at equal distances over all of them."""
    folders = defaultdict(list)
    for folder, block in blocks:
        folders[folder].append(block)
    places = [((at + 0.5) / len(those), block) for those in folders.values() for at, block in enumerate(those)]
    return [block for _, block in sorted(places, key=itemgetter(0))]


def _parts(tests: list[int], most: int) -> Iterator[list[int]]:
    for start in range(0, len(tests), most):
        yield tests[start : start + most]
