"""Where a record is in the list of the newest ones, and the cursors that say it."""

import base64
import datetime as dt

import msgspec
from sqlalchemy import ColumnElement, tuple_

from saqueduct.common.moments import EPOCH, milliseconds
from saqueduct.errors import InvalidCursor
from saqueduct.postgres.models import JobRecord

PLACE = (JobRecord.queued_at, JobRecord.key, JobRecord.queue)

Place = tuple[dt.datetime, str, str]
"""Values of PLACE."""


def before(place: Place | None) -> list[ColumnElement[bool]]:
    """The records that follow a place in a list of the newest; by time too, which says in which partitions they are."""
    return [] if place is None else [JobRecord.queued_at <= place[0], tuple_(*PLACE) < tuple_(*place)]


def down_to(place: Place | None) -> list[ColumnElement[bool]]:
    """The records up to a place in such a list, and that one."""
    return [] if place is None else [JobRecord.queued_at >= place[0], tuple_(*PLACE) >= tuple_(*place)]


def encoded(queued_at: dt.datetime, key: str, queue: str) -> str:
    """The cursor of a place."""
    place = (milliseconds(queued_at), key, queue)
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def decoded(cursor: str) -> Place:
    """The place of a cursor.

    Raises:
        InvalidCursor: `encoded` returns no such text.
    """
    try:
        content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        queued, key, queue = msgspec.json.decode(content, type=tuple[int, str, str])
        if "\x00" not in key + queue:
            return EPOCH + dt.timedelta(milliseconds=queued), key, queue
    except (ValueError, OverflowError, msgspec.DecodeError):
        pass
    raise InvalidCursor(cursor)
