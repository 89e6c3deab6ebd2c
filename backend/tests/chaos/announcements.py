"""What Redis announces of jobs: each end, in the step that writes it."""

import threading
import time
from collections import defaultdict
from contextlib import suppress
from typing import Any, NamedTuple

import redis
from saq.job import TERMINAL_STATUSES

TERMINAL = frozenset(status.value for status in TERMINAL_STATUSES)
CHANNEL = "saq:job:default:"


class End(NamedTuple):
    """An announced end. `time` is when it was heard, by the monotonic clock."""

    status: str
    time: float


class Announcements:
    """Listens in a thread of its own.

    Args:
        url: of Redis.
    """

    def __init__(self, url: str) -> None:
        self.ends: dict[str, list[End]] = defaultdict(list)
        """By the job's key. What is announced while Redis restarts nobody hears."""
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="announcements", daemon=True)

    def __enter__(self) -> "Announcements":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _listen(self) -> None:
        while not self._stop.is_set():
            with suppress(redis.RedisError, OSError), redis.Redis.from_url(self._url) as client:
                channels = client.pubsub()
                channels.psubscribe(f"{CHANNEL}*")
                while not self._stop.is_set():
                    message: Any = channels.get_message(timeout=0.2)
                    if message and message["type"] == "pmessage" and (status := message["data"].decode()) in TERMINAL:
                        key = message["channel"].decode().removeprefix(CHANNEL)
                        self.ends[key].append(End(status, time.monotonic()))
