"""Blocking calls for shells, scripts and sync handlers, in the words that Celery's users know.

    registry = container.get(TasksRegistry)
    result = registry.cleanup_sessions.delay(days_old=7).get(timeout=10)

Every call may come from any thread but one that runs an event loop; see `Portal`.
"""

from saqueduct.blocking.container import BlockingContainer
from saqueduct.blocking.entries import Entries, EntryProperty, entry_of
from saqueduct.tasks.blocking.entry import Entry
from saqueduct.tasks.blocking.portal import CalledInEventLoop, Portal
from saqueduct.tasks.blocking.publishing import PublishPolicy
from saqueduct.tasks.blocking.results import Result, ResultHere, State

__all__ = [
    "BlockingContainer",
    "CalledInEventLoop",
    "Entries",
    "Entry",
    "EntryProperty",
    "Portal",
    "PublishPolicy",
    "Result",
    "ResultHere",
    "State",
    "entry_of",
]
