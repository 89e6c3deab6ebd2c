"""Nesting: how many lists and objects of JSON may be inside each other."""

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

LEVELS: Final = 200
"""Most levels of arguments and results. What reads them later recurses, in stacks that are deep already, and Python
allows 1,000 calls in each other."""

TOO_DEEP: Final = f"more than {LEVELS} lists and objects are inside each other: pass it with fewer levels, or as text"


def may_be_too_deep(encoded: bytes) -> bool:
    """False for JSON that has no more than LEVELS lists and objects, which is quick to see."""
    return encoded.count(b"[") + encoded.count(b"{") > LEVELS


def is_too_deep(value: Any) -> bool:
    """True for JSON builtins with more than LEVELS lists and objects inside each other."""
    level = [value]
    for _ in range(LEVELS + 1):
        level = [each for each in level if type(each) is list or type(each) is dict]
        if not level:
            return False
        level = list(chain.from_iterable(each.values() if type(each) is dict else each for each in level))
    return True


def holds_too_deep(arguments: Mapping[str, Any], encoded: bytes) -> bool:
    """True where one of the arguments is too deep.

    Args:
        arguments: JSON builtins.
        encoded: the same as JSON: most of it is quick to see, and a table of many rows is as wide as it likes.
    """
    return may_be_too_deep(encoded) and any(map(is_too_deep, arguments.values()))
