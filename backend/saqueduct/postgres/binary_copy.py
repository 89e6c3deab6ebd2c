"""Rows in PostgreSQL's binary COPY format, see its manual: COPY, "Binary Format".

asyncpg's `copy_records_to_table` also sends it, from Python objects that it converts one by one. Here JSON and times go
out as the row has them, which takes a third of the time.
"""

import functools
import struct
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from saqueduct.postgres.rows import EXTRA, Row

COPIED = (
    "queue", "task", "status", "worker", "attempts", "payload", "error", *EXTRA, "logs",
    "queued_at", "started_at", "ended_at", "key", "arguments", "result",
)  # fmt: skip
"""The columns in the order of the fields that are sent; most rows have those of the first line alike."""

MESSAGE_BYTES = 512 * 1024
"""Bytes from which a message is sent."""

_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_END = struct.pack(">h", -1)
NULL = struct.pack(">i", -1)
_NO_EXTRA = NULL * (len(EXTRA) + 1)

_EPOCH = 946_684_800_000
"""PostgreSQL's epoch, the year 2000, in epoch milliseconds."""

_TEXT = 25
"""Its type number of text."""

_LENGTH = struct.Struct(">i")

length = _LENGTH.pack
"""What precedes a field: its length in bytes."""

jsonb = struct.Struct(">ib").pack
"""What precedes JSON in a column of JSONB: its length and one more, and the number of its format, 1."""

_number = struct.Struct(">h").pack
_smallint = struct.Struct(">ih").pack
_time = struct.Struct(">iq").pack


class Moments(dict[int, bytes]):
    """Fields of times, by epoch milliseconds; 0: NULL. Jobs of a batch share most of them."""

    def __missing__(self, milliseconds: int) -> bytes:
        field = self[milliseconds] = _moment(milliseconds)
        return field


async def messages(packed: Iterable[bytes]) -> AsyncIterator[bytes]:
    """The data of a COPY of packed rows, in messages of about MESSAGE_BYTES; one of PostgreSQL takes at most 1 GiB."""
    parts, size = [_SIGNATURE], 0
    for row in packed:
        parts.append(row)
        size += len(row)
        if size >= MESSAGE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    parts.append(_END)
    yield b"".join(parts)


def pack(row: Row) -> bytes:
    """A row as it is sent, if it is `first`.

    Raises:
        TypeError, UnicodeEncodeError, struct.error: it has a value that its column cannot hold.
    """
    arguments = row.arguments
    plain = row.attempts == 1 and row.payload is None and row.error is None and not row.extra
    return b"".join((
        alike(row.queue, row.task, row.worker) if plain else _queue_to_logs(row),
        *map(_moment, (row.queued, row.started, row.ended)),
        _text(row.key),
        NULL if arguments is None else jsonb(len(arguments) + 1, 1) + arguments,
        _bytes(row.result),
    ))  # fmt: skip


@functools.lru_cache(maxsize=1000)
def alike(queue: str, task: str, worker: str | None) -> bytes:
    """The number of fields, and those from `queue` to `logs` of plain successes: at the first attempt, others empty."""
    texts = map(_text, (queue, task, "complete", worker))
    return b"".join((_number(len(COPIED)), *texts, _smallint(2, 1), NULL, NULL, _NO_EXTRA))


def _queue_to_logs(row: Row) -> bytes:
    return b"".join((
        _number(len(COPIED)),
        *map(_text, (row.queue, row.task, row.status, row.worker)),
        _smallint(2, row.attempts),
        _bytes(row.payload),
        _text(row.error),
        _extra(row.extra) if row.extra else _NO_EXTRA,
    ))  # fmt: skip


def unpack(packed: bytes) -> Row:
    """The row of a plain success, see `successes.py`."""
    queue, task, status, worker, *_, queued, started, ended, key, arguments, result = _fields(packed)
    return Row(
        _milliseconds(queued), _decoded(key) or "", _decoded(queue) or "", _decoded(task) or "", _decoded(status) or "",
        0, 1, 0, arguments and arguments[1:], None, result, None, None, _decoded(worker), _milliseconds(started),
        _milliseconds(ended), None,
    )  # fmt: skip


def _fields(packed: bytes) -> Iterator[bytes | None]:
    place = len(_number(0))
    while place < len(packed):
        [size] = _LENGTH.unpack_from(packed, place)
        place += _LENGTH.size
        yield packed[place : place + size] if size >= 0 else None
        place += max(size, 0)


def _decoded(field: bytes | None) -> str | None:
    return None if field is None else field.decode()


def _milliseconds(field: bytes | None) -> int:
    return 0 if field is None else int.from_bytes(field, signed=True) // 1000 + _EPOCH


def _bytes(value: bytes | None) -> bytes:
    return NULL if value is None else length(len(value)) + value


def _moment(milliseconds: int) -> bytes:
    return _time(8, (milliseconds - _EPOCH) * 1000) if milliseconds else NULL


def _extra(extra: Mapping[str, Any]) -> bytes:
    values = [(_texts if name == "tags" else _text)(extra.get(name)) for name in EXTRA]
    logs = extra.get("logs")
    # JSON is sent as text.
    values.append(_bytes(None if logs is None else msgspec.json.encode(logs)))
    return b"".join(values)


def _text(value: str | None) -> bytes:
    # Of `str`: another type is a TypeError.
    return NULL if value is None else _bytes(str.encode(value))


def _texts(values: Sequence[str] | None) -> bytes:
    """An array of text: dimensions, whether it holds NULL, the type; length and first index; the elements."""
    if values is None:
        return NULL
    if not isinstance(values, list | tuple):
        raise TypeError(f"{values!r} is no list of texts")
    if not values:
        array = struct.pack(">iii", 0, 0, _TEXT)
    else:
        array = struct.pack(">iiiii", 1, 0, _TEXT, len(values), 1) + b"".join(map(_text, values))
    return length(len(array)) + array
