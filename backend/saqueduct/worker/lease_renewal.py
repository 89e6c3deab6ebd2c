"""Renewal: the thread of a process that renews the leases of all its workers, with one connection.

Workers whose queues have one client share it; in a cluster, where each queue has a client for a server of its own, each
has a thread, so that a node that does not answer does not cost another queue its leases.
"""

import threading
from collections.abc import Callable
from typing import Any

import redis
from redis.asyncio import Redis

from saqueduct.broker.connections import ANSWER_TIMEOUT, blocking_client

Renew = Callable[[redis.Redis], None]
"""Renews what one worker holds, with the thread's client; raises nothing."""


class RenewalThread:
    """Calls each of the renewals every so many seconds, one after the other.

    Args:
        client: of the queues.
        seconds: between two renewals.
    """

    def __init__(self, client: Redis, seconds: float) -> None:
        self.redis = blocking_client(client)
        self.renewals: list[Renew] = []
        self._seconds = seconds
        self._turn = threading.Lock()
        """Held by the renewal in progress."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def remove(self, renew: Renew) -> None:
        """Stop calling it; returns when no call is in progress, or ANSWER_TIMEOUT is over."""
        if renew in self.renewals:
            self.renewals.remove(renew)
        if self._turn.acquire(timeout=ANSWER_TIMEOUT):
            self._turn.release()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(ANSWER_TIMEOUT)
        self.redis.close()

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            for renew in list(self.renewals):
                with self._turn:
                    if renew in self.renewals:
                        renew(self.redis)


_threads: dict[Any, RenewalThread] = {}
_changing = threading.Lock()


def join(client: Redis, seconds: float, renew: Renew) -> RenewalThread:
    """The thread for the workers of a client; it calls `renew` from now on, until `leave`."""
    with _changing:
        thread = _threads.get(client.connection_pool)
        if thread is None:
            thread = _threads[client.connection_pool] = RenewalThread(client, seconds)
        thread.renewals.append(renew)
        return thread


def leave(client: Redis, renew: Renew) -> None:
    """Stop calling it; the thread ends with the last one."""
    with _changing:
        thread = _threads.get(client.connection_pool)
        if thread is None:
            return
        thread.remove(renew)
        if not thread.renewals:
            del _threads[client.connection_pool]
            thread.close()
