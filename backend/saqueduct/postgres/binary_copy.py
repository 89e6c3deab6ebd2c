"""Rows in PostgreSQL's binary COPY format, see its manual: COPY, "Binary Format".

asyncpg's `copy_records_to_table` also sends it, from Python objects that it converts one by one. Here JSON and times go
out as the row has them, which takes a third of the time.
"""

import struct
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from saqueduct.postgres.rows import EXTRA, Row

COPIED = (
    "queued_at", "key", "arguments", "result", "started_at", "ended_at", "payload", "error", "attempts",
    "queue", "task", "status", "worker", *EXTRA, "logs",
)  # fmt: skip
"""The columns in the order of the fields that are sent."""

MESSAGE_BYTES = 512 * 1024
"""Bytes from which a message is sent."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_NO_EXTRA = _NULL * (len(EXTRA) + 1)

_EPOCH = 946_684_800_000
"""PostgreSQL's epoch, the year 2000, in epoch milliseconds."""

_TEXT = 25
"""Its type number of text."""

_length = struct.Struct(">i").pack
_head = struct.Struct(">hiqi").pack
_time = struct.Struct(">iq").pack
_times = struct.Struct(">iqiq").pack
_jsonb = struct.Struct(">ib").pack
_smallint = struct.Struct(">ih").pack


_Alike = tuple[str, str, str, str | None, int]
"""Queue, task, status, worker and attempts of a row."""


async def messages(rows: Iterable[Row]) -> AsyncIterator[bytes]:
    """The data of a COPY of rows, in messages of about MESSAGE_BYTES; a message of PostgreSQL takes at most 1 GiB.

    Raises:
        TypeError, UnicodeEncodeError, struct.error: a row has a value that its column cannot hold.
    """
    parts, size = [_SIGNATURE], 0
    known: dict[_Alike, bytes] = {}
    for row in rows:
        parts.append(encoded := _encoded(row, known))
        size += len(encoded)
        if size >= MESSAGE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    parts.append(_END)
    yield b"".join(parts)


def _encoded(row: Row, known: dict[_Alike, bytes]) -> bytes:
    """A row; `known` keeps the last fields of rows that have them alike, as most do."""
    (
        queued, key, queue, task, status, _, attempts, _, arguments, payload, result, error, _, worker, started, ended,
        extra,
    ) = row  # fmt: skip
    if payload is None and error is None and not extra:
        alike = queue, task, status, worker, attempts
        if (last := known.get(alike)) is None:
            last = known[alike] = _last(row)
    else:
        last = _last(row)
    encoded = str.encode(key)
    return b"".join((
        _head(len(COPIED), 8, (queued - _EPOCH) * 1000, len(encoded)),
        encoded,
        # JSONB is sent as the number of its format, 1, and its text.
        _NULL if arguments is None else _jsonb(len(arguments) + 1, 1) + arguments,
        _NULL if result is None else _length(len(result)) + result,
        _times(8, (started - _EPOCH) * 1000, 8, (ended - _EPOCH) * 1000)
        if started and ended
        else _moment(started) + _moment(ended),
        last,
    ))  # fmt: skip


def _last(row: Row) -> bytes:
    """The fields from `payload` on."""
    payload, extra = row.payload, row.extra
    return b"".join((
        _NULL if payload is None else _length(len(payload)) + payload,
        _text(row.error),
        _smallint(2, row.attempts),
        *map(_text, (row.queue, row.task, row.status, row.worker)),
        _extra(extra) if extra else _NO_EXTRA,
    ))  # fmt: skip


def _moment(milliseconds: int) -> bytes:
    return _time(8, (milliseconds - _EPOCH) * 1000) if milliseconds else _NULL


def _extra(extra: Mapping[str, Any]) -> bytes:
    values = [(_texts if name == "tags" else _text)(extra.get(name)) for name in EXTRA]
    logs = extra.get("logs")
    # JSON is sent as text.
    encoded = None if logs is None else msgspec.json.encode(logs)
    values.append(_NULL if encoded is None else _length(len(encoded)) + encoded)
    return b"".join(values)


def _text(value: str | None) -> bytes:
    if value is None:
        return _NULL
    # Of `str`: another type is a TypeError.
    encoded = str.encode(value)
    return _length(len(encoded)) + encoded


def _texts(values: Sequence[str] | None) -> bytes:
    """An array of text: dimensions, whether it holds NULL, the type; length and first index; the elements."""
    if values is None:
        return _NULL
    if not isinstance(values, list | tuple):
        raise TypeError(f"{values!r} is no list of texts")
    if not values:
        array = struct.pack(">iii", 0, 0, _TEXT)
    else:
        array = struct.pack(">iiiii", 1, 0, _TEXT, len(values), 1) + b"".join(map(_text, values))
    return _length(len(array)) + array
