"""JSON whose objects have each member once: of two values for one name, a decoder would ignore the first."""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

LONGEST_NAME: Final = 100
"""Characters of a name that an error shows: a name may be as long as a body."""

_encode = msgspec.json.Encoder().encode


class RepeatedMember(ValueError):
    """An object has two members with the same name."""

    def __init__(self, name: str) -> None:
        self.name = name
        shown = repr(name) if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]!r}..."
        super().__init__(f"the member {shown} is given twice: give it once")


class NestedTooDeep(msgspec.DecodeError):
    """JSON with more levels than Python lets a decoder read: some hundred or thousand, by its version."""

    def __init__(self) -> None:
        super().__init__("the JSON is nested too deep: send it with fewer levels")


def decode(text: bytes | str) -> Any:
    """The value of JSON.

    Raises:
        msgspec.DecodeError: it is no JSON, or not UTF-8.
        NestedTooDeep: it has too many levels.
        RepeatedMember: an object has a name twice.
    """
    try:
        content = msgspec.json.decode(text)
    except UnicodeError as error:
        # Bytes that are not UTF-8; in the words of a command line they are lone surrogates.
        raise msgspec.DecodeError(str(error)) from None
    except RecursionError:
        raise NestedTooDeep from None
    check_members(text, content)
    return content


def check_members(text: bytes | str, content: Any) -> None:
    r"""Check that JSON has as many members as the value that was decoded from it.

    A flat object has a colon for each member, if its strings have none. Otherwise the value is written again, with the
    same colons: for each member, and within strings. Only where their numbers differ, or where a colon may be written
    as \u003a, each object is looked at.

    Raises:
        RepeatedMember: an object has a name twice.
    """
    if type(content) not in (dict, list):
        return
    data = text.encode() if isinstance(text, str) else text
    if type(content) is dict and data.count(b":") == len(content):
        return
    if b"\\u003" not in data:
        try:
            if _encode(content).count(b":") == data.count(b":"):
                return
        except (ValueError, OverflowError, RecursionError, msgspec.EncodeError):
            # A number that can be read and not written.
            pass
    try:
        json.loads(data, object_pairs_hook=_each_once)
    except RecursionError:
        # No task and no route takes so many levels.
        return


def _each_once(pairs: Sequence[tuple[str, Any]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise RepeatedMember(name)
            seen.add(name)
