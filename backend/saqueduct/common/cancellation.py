"""Cancellations that a call has swallowed."""

import asyncio


def end_if_cancelled() -> None:
    """Raise the cancellation that a call may have swallowed: `asyncio.wait_for` of Python 3.11 loses one that comes
    together with the answer, and redis-py uses it. A task that loops until it is cancelled would never end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
