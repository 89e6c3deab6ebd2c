"""Forks of a process with containers: they happen while nothing is half done that the forked process shares.

A forked process has a copy of every lock and every module, but only the thread that forked. A lock that another thread
held, or a module that it was importing, stays so there, and whoever needs it waits forever. So before a fork the
event loops of containers pause between two callbacks, and no container is being built.
"""

import asyncio
import encodings.idna  # noqa: F401  (for host names, else first imported by the thread that looks one up)
import os
import threading
from collections.abc import Callable

FORK_WAIT = 5.0
"""Seconds for which a fork waits at most, for a container that is being built and for each event loop."""

building = threading.RLock()
"""Held while a container is built and its event loop is started, and while the process forks."""

_loops: dict[asyncio.AbstractEventLoop, threading.Thread] = {}
"""The running event loops of containers, each in its own thread."""


class _Forks(threading.local):
    """What this thread's forks have paused; more than one, where a signal's handler forks within a fork."""

    def __init__(self) -> None:
        self.resume: list[list[Callable[[], None]]] = []


_forks = _Forks()


def pause_for_forks(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """From now on the event loop, which runs in the thread, pauses while another thread forks."""
    _loops[loop] = thread


def forget(loop: asyncio.AbstractEventLoop) -> None:
    """The event loop is about to stop."""
    _loops.pop(loop, None)


def _before() -> None:
    resumed, resume = threading.Event(), list[Callable[[], None]]()
    _forks.resume.append(resume)
    if building.acquire(timeout=FORK_WAIT):
        resume.append(building.release)
    resume.append(resumed.set)
    others = [loop for loop, thread in list(_loops.items()) if thread is not threading.current_thread()]
    for paused in [_pause(loop, resumed) for loop in others]:
        paused.wait(FORK_WAIT)


def _pause(loop: asyncio.AbstractEventLoop, resumed: threading.Event) -> threading.Event:
    """Let the loop wait between two callbacks; returns what is set from then on."""
    paused = threading.Event()

    def wait() -> None:
        paused.set()
        resumed.wait()

    try:
        loop.call_soon_threadsafe(wait)
    except RuntimeError:
        # It was closed meanwhile.
        paused.set()
    return paused


def _in_parent() -> None:
    for resume in _forks.resume.pop():
        resume()


def _in_child() -> None:
    global building, _forks
    building, _forks = threading.RLock(), _Forks()
    _loops.clear()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
