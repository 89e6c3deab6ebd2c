"""The events of a job: server-sent events of its status and progress; the last one is its end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar.response import ServerSentEventMessage
from saq import Job
from saq.job import TERMINAL_STATUSES, Status

from saqueduct.broker.listener import SUBSCRIBED
from saqueduct.errors import QueueUnavailable
from saqueduct.litestar.routes.listeners import LISTENING
from saqueduct.litestar.routes.views import JobView
from saqueduct.queue.queue import EngineQueue

TICK: Final = 15.0
"""Seconds without news after which a comment is sent, as proxies close silent connections."""

SILENCE: Final = ""
"""Takes the place of an event when there was none for a tick."""

LONGEST_STREAM: Final = 3600.0
"""Seconds after which a stream ends; a browser reconnects by itself."""


async def events(queue: EngineQueue, view: JobView, tick: float = TICK) -> AsyncIterator[ServerSentEventMessage]:
    """Messages `status` and `progress` until `end`; each but `progress` holds the job. One of those in LISTENING.

    Args:
        queue: of the job.
        view: the job as just read, from Redis or PostgreSQL.
        tick: see TICK.
    """
    last = view.without_details()
    if not LISTENING.enter():
        return
    try:
        yield _message("end" if _has_ended(last) else "status", last)
        if _has_ended(last):
            return
        async with asyncio.timeout(LONGEST_STREAM), queue.listener.news(queue.job_id(view.key)) as news:
            while not _has_ended(last):
                word = await _next(news, tick)
                if word == SILENCE:
                    yield ServerSentEventMessage(comment="still here")
                job = await queue.fetch(view.key)
                if job is None and _is_gone(last, word):
                    # A browser reconnects by itself, and then gets what PostgreSQL has, or 404.
                    return
                now = _as_reported(last, job, word)
                if _has_ended(now):
                    yield _message("end", now)
                elif now.status != last.status:
                    yield _message("status", now)
                elif now.progress != last.progress:
                    yield ServerSentEventMessage(
                        data=msgspec.json.encode({"progress": now.progress}).decode(), event="progress"
                    )
                last = now
    except (TimeoutError, QueueUnavailable):
        # A browser reconnects by itself, and then gets the job's status.
        return
    finally:
        LISTENING.leave()


async def _next(news: "asyncio.Queue[tuple[str, str]]", tick: float) -> str:
    """The next event of the job, or SILENCE."""
    try:
        async with asyncio.timeout(tick):
            _, word = await news.get()
    except TimeoutError:
        return SILENCE
    return word


def _is_gone(last: JobView, word: str) -> bool:
    """True when a job that Redis does not have ended unseen; one of the outbox may not have reached Redis yet."""
    return word == SILENCE or (word == SUBSCRIBED and last.status != Status.NEW)


def _as_reported(last: JobView, job: Job | None, word: str) -> JobView:
    """The job as Redis has it; if Redis keeps nothing of it, as its last event says."""
    if job is not None:
        return JobView.of(job).without_details()
    return last if word == SUBSCRIBED else msgspec.structs.replace(last, status=word)


def _has_ended(view: JobView) -> bool:
    return Status(view.status) in TERMINAL_STATUSES


def _message(event: str, view: object) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(view).decode(), event=event)
