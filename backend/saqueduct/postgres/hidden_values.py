"""Searches that must not help to guess values which a task redacts by now: older records may have them."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, String, and_, column, exists, func, not_, or_, select

from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.tasks.definition import TaskLookup
from saqueduct.tasks.redaction import REDACTED
from saqueduct.tasks.signature import Signature


def without_hidden(which: RecordFilter, tasks: TaskLookup) -> Iterator[ColumnElement[bool]]:
    """What a search leaves out, in SQL; what is found by something else is shown without these values.

    A search for an argument finds no job of a task that redacts it. One for a text finds no record that has a value
    which its task redacts by now: the text may be a part of it, in the arguments or in the error.

    Args:
        which: the search.
        tasks: with their present options.
    """
    for task in tasks.get_all_tasks():
        signature = task.signature
        if not signature.redact or which.task not in (None, task.name):
            continue
        sought = (which.arguments or {}).items()
        if any(signature.hides(name) and value != REDACTED for name, value in sought):
            yield JobRecord.task != task.name
        elif which.text is not None or which.error is not None:
            yield not_(and_(JobRecord.task == task.name, _has_values(signature)))


def _has_values(signature: Signature) -> ColumnElement[bool]:
    """True for records with a value of a redacted argument."""
    named = [name for name in signature.payload if signature.hides(name)]
    found = [func.coalesce(JobRecord.arguments[name].astext, REDACTED) != REDACTED for name in named]
    if signature.hides(""):
        # Any other name.
        name, value = column("key", String), column("value", String)
        further = func.jsonb_each_text(JobRecord.arguments).table_valued(name, value)
        others = further.c.key.not_in(list(signature.payload))
        found.append(exists(select(1).select_from(further).where(others, further.c.value != REDACTED)))
    return or_(*found)
