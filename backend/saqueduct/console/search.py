"""The filters of a list of jobs, from the query of an address."""

import datetime as dt
import shlex
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from saqueduct.common.moments import moment_of
from saqueduct.common.strict_json import RepeatedMember, decode
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.record_filter import RecordFilter, arguments_of

PARAMETERS: Final = ("q", "status", "task", "queue", "tag", "trace", "error", "since", "until")
"""Names of the query that filter, in the order of the form."""

_WORDS: Final = frozenset({"status", "task", "queue", "tag", "trace", "error", "since", "until"})
"""What may be before a colon in a search; another word is the name of an argument."""


class Search(NamedTuple):
    """What a person looks for."""

    given: dict[str, str]
    """The parameters of the address that are not empty."""
    which: RecordFilter
    problem: str = ""
    """What cannot be understood; the filter then finds everything."""

    @property
    def is_empty(self) -> bool:
        """True when everything is asked for."""
        return not self.given

    @property
    def key(self) -> str:
        """The search, where it could be the key of a job; else empty."""
        text = self.given.get("q", "")
        return text if len(text.split()) == 1 else ""


def search_of(query: Mapping[str, str]) -> Search:
    """The search that a query describes.

    `q` has words that arguments or errors contain, `name:value` for the other filters, and for arguments by name;
    values with spaces are in quotes: `to:ada@example.com error:"no route"`.
    """
    given = {name: query[name].strip() for name in PARAMETERS if query.get(name, "").strip()}
    try:
        return Search(given, RecordFilter(**_fields(given)))
    except InvalidSearch as error:
        return Search(given, RecordFilter(), str(error))


def _fields(given: Mapping[str, str]) -> dict[str, Any]:
    named = {name: value for name, value in given.items() if name != "q"}
    text, arguments = [], dict[str, Any]()
    for word in _words(given.get("q", "")):
        name, colon, value = word.partition(":")
        if not colon or not name or not value or value.startswith("//"):
            text.append(word)
        elif name in _WORDS:
            named.setdefault(name, value)
        elif name in arguments:
            raise InvalidSearch(f"the search names {name} more than once: search for one value")
        else:
            arguments |= arguments_of(msgspec.json.encode({name: _value(value)}).decode()) or {}
    fields: dict[str, Any] = dict(named)
    fields |= {name: moment(name, named[name]) for name in ("since", "until") if name in named}
    if text:
        fields["text"] = " ".join(text)
    if arguments:
        fields["arguments"] = arguments
    return fields


def _words(text: str) -> list[str]:
    if text.startswith("{"):
        raise InvalidSearch('the search takes name:value for arguments, such as user_id:7 or to:"Ada L."')
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.quotes, lexer.escape = True, "", '"', ""
        return list(lexer)
    except ValueError:
        # An open quotation mark: all of it is text.
        return [text]


def _value(text: str) -> Any:
    try:
        return decode(text)
    except RepeatedMember as error:
        raise InvalidSearch(f"the value {text!r}: {error}") from None
    except msgspec.DecodeError:
        return text


def moment(name: str, text: str) -> dt.datetime:
    """The time of a filter.

    Raises:
        InvalidSearch: it is none.
    """
    try:
        return moment_of(text, dt.UTC)
    except ValueError as error:
        raise InvalidSearch(f"{name}: {error}") from None
