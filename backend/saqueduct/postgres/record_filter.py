"""Which job records to find, without SQL: a process without PostgreSQL filters the jobs in Redis with it."""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from saq import Job

from saqueduct.common.moments import EPOCH
from saqueduct.common.strict_json import RepeatedMember, decode
from saqueduct.common.text import storable
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.record_statuses import STATUSES
from saqueduct.queue.listing import LIVE
from saqueduct.queue.redacted_view import RedactedView
from saqueduct.tasks.job_meta import ATTEMPT_TRACE, TAGS, TRACE_ID
from saqueduct.tasks.places import place_of
from saqueduct.tasks.redaction import REDACTED

PAGE = 50
"""Records of a page, unless a call says otherwise."""

LARGEST_PAGE = 500

MOST_DEAD_LETTERS = 100_000
"""Dead letters of all queues that are counted at most."""

LONGEST_SEARCH, MOST_BRACKETS = 4096, 50
"""Most characters and opening brackets of a search for arguments: more only costs time."""

WHICH = (
    "say which dead letters: by a filter that leaves some out, such as "
    '{"which": {"task": "send_email"}}, or {"all": true} for every one'
)


_TRACE = re.compile("[0-9a-f]{32}")

_PLAIN = re.compile(r"[A-Za-z0-9_@.-][A-Za-z0-9_@.: -]*")
"""Text that is the same in all JSON of it, whatever escapes its writer prefers, and no part of what is around it."""

_NUMBER = re.compile(r"[0-9eE.+-]+")
"""What may be written in another way: 1e5 is 100000.0."""


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Selects records; a field that is left out matches all.

    Attributes:
        task: the task's name.
        status: "queued" (waits for another attempt), "complete", "failed" or "aborted".
        queue: the queue's name.
        arguments: values of arguments, by name; a nested one matches if it contains what is given.
        error: text that the error contains, ignoring case.
        tag: one of the job's tags.
        text: text that the arguments or the error contain, ignoring case.
        trace: its trace id, or that of its last attempt; 32 hex digits.
        since: enqueued at that time or later; UTC if it has no offset.
        until: enqueued before that time, likewise.

    Raises:
        InvalidSearch: there is no such status, or PostgreSQL has no such text or time.
    """

    task: str | None = None
    status: str | None = None
    queue: str | None = None
    arguments: Mapping[str, Any] | None = None
    error: str | None = None
    tag: str | None = None
    text: str | None = None
    trace: str | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None

    def __post_init__(self) -> None:
        known = (*STATUSES, *(status for status in LIVE if status not in STATUSES))
        if self.status is not None and self.status not in known:
            raise InvalidSearch(f"there is no status {self.status!r}; there are {', '.join(known)}")
        texts = {"task": self.task, "queue": self.queue, "error": self.error, "tag": self.tag, "trace": self.trace}
        texts["text"] = self.text
        for name, value in (*texts.items(), ("arguments", self.arguments)):
            if value is not None and place_of(value, _is_in_no_record) is not None:
                raise InvalidSearch(f"{name}: no record contains NUL or a lone surrogate; leave it out")
        if self.trace is not None and not _TRACE.fullmatch(self.trace):
            raise InvalidSearch(f"trace: {self.trace[:40]!r} is no trace id, which has 32 hex digits in lower case")
        for name, moment in (("since", self.since), ("until", self.until)):
            try:
                if moment is not None:
                    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
                    msgspec.structs.force_setattr(self, name, aware.astimezone(dt.UTC))
            except OverflowError:
                raise InvalidSearch(f"{name}: {moment} is no time between the years 1 and 9999 in UTC") from None

    def described(self) -> dict[str, Any]:
        """What it selects by, as the audit keeps it."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value not in (None, False)}

    @property
    def words(self) -> list[bytes]:
        """What the JSON of each job that matches contains, in lower case; `matches` then takes a closer look."""
        texts = [each for each in (self.text, self.error) if each is not None and in_json(each)]
        names = [self.task, self.tag, *(self.arguments or {})]
        texts += [f'"{name}"' for name in names if name is not None and in_json(name)]
        values = [value for value in (self.arguments or {}).values() if type(value) in (int, str)]
        texts += [text for value in values if in_json(text := str(value)) or _is_count(value)]
        return [text.lower().encode() for text in (*texts, self.trace) if text is not None]

    def matches(self, job: Job) -> bool:
        """True for a job that matches, by what callers may see of it: a filter must not help to guess a redacted
        value."""
        queued, fields = EPOCH + dt.timedelta(milliseconds=job.queued), {"function": job.function, "error": job.error}
        visible = RedactedView.of(job.get_queue()).of_job({**fields, "kwargs": job.kwargs})
        return (
            self.task in (None, job.function)
            and self.status in (None, job.status.value)
            and self.queue in (None, job.get_queue().name)
            and _holds(visible["kwargs"] or {}, self.arguments or {})
            and (self.error is None or self.error.lower() in (visible["error"] or "").lower())
            and (self.tag is None or self.tag in job.meta.get(TAGS, ()))
            and (self.trace is None or self.trace in traces_of(job))
            and (self.text is None or _contains(self.text, visible))
            and (self.since is None or queued >= self.since)
            and (self.until is None or queued < self.until)
        )


class DeadLetterFilter(RecordFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters to replay or discard.

    Attributes:
        all: every one, in place of a filter.

    Raises:
        InvalidSearch: neither a filter that leaves some out nor `all`, or both; or as RecordFilter.
    """

    all: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.all == self._narrows():
            raise InvalidSearch(WHICH)

    def _narrows(self) -> bool:
        """False when it matches every dead letter. Every error contains the empty text."""
        values = (self.task, self.queue, self.tag, self.trace, self.since, self.until)
        own_status = self.status not in (None, "failed")
        return (
            own_status or bool(self.arguments or self.error or self.text) or any(value is not None for value in values)
        )


def _contains(text: str, visible: Mapping[str, Any]) -> bool:
    shown_as = (visible["error"] or "", msgspec.json.encode(visible["kwargs"] or {}).decode())
    return any(text.lower() in each.lower() for each in shown_as)


def traces_of(job: Job) -> tuple[str | None, str | None]:
    """The trace that a job belongs to, and that of its last attempt; None: there is none."""
    return job.meta.get(TRACE_ID), trace_of_attempt(job.meta.get(ATTEMPT_TRACE))


def trace_of_attempt(traceparent: str | None) -> str | None:
    """The trace id in a `traceparent`; None for None."""
    return None if traceparent is None else traceparent[3:35]


def in_json(text: str) -> bool:
    """True for a text that the JSON of a job contains, whoever wrote it, where what is shown of the job does."""
    plain = _PLAIN.fullmatch(text) is not None and _NUMBER.fullmatch(text) is None
    return plain and text.lower() not in REDACTED


def _is_count(value: Any) -> bool:
    """True for a whole number that is written in digits everywhere."""
    return type(value) is int and 0 <= value < 10**15


def _is_in_no_record(leaf: Any) -> bool:
    return isinstance(leaf, str) and storable(leaf) != leaf


def _holds(value: Any, part: Any) -> bool:
    """True when a JSON value contains another one, as PostgreSQL's `@>` defines it."""
    if isinstance(part, Mapping):
        return isinstance(value, Mapping) and all(name in value and _holds(value[name], part[name]) for name in part)
    if isinstance(part, list):
        return isinstance(value, list) and all(any(_holds(each, wanted) for each in value) for wanted in part)
    # 1 and True are equal in Python, and not in JSON.
    return isinstance(value, bool) == isinstance(part, bool) and bool(value == part)


def arguments_of(search: str | None) -> dict[str, Any] | None:
    """The arguments of a search: a JSON object, or `name=value` pairs separated by commas.

    >>> arguments_of('user_id=7,city=Bonn')
    {'user_id': 7, 'city': 'Bonn'}

    Raises:
        InvalidSearch: it is neither of the two, or names an argument twice.
    """
    if search is None or not search.strip():
        return None
    if len(search) > LONGEST_SEARCH or search.count("[") + search.count("{") > MOST_BRACKETS:
        raise InvalidSearch(
            f"the arguments take at most {LONGEST_SEARCH} characters and {MOST_BRACKETS} brackets: search for fewer"
        )
    try:
        found = decode(search)
        if isinstance(found, dict):
            return found
    except RepeatedMember as error:
        raise InvalidSearch(f"the arguments {search!r}: {error}") from None
    except msgspec.DecodeError:
        pass
    pairs = [part.partition("=") for part in search.split(",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise InvalidSearch(
            f'cannot read the arguments {search!r}: give a JSON object, {{"user_id": 7}}, or pairs, user_id=7,city=Bonn'
        )
    names = [name.strip() for name, _, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidSearch(f"the arguments name {', '.join(twice)} more than once: search for one value of each")
    return {name: _value(value) for name, (_, _, value) in zip(names, pairs, strict=True)}


def _value(text: str) -> Any:
    try:
        return decode(text)
    except RepeatedMember as error:
        raise InvalidSearch(f"the value {text!r}: {error}") from None
    except msgspec.DecodeError:
        return text
