"""What both embedded servers share: their interface, their error, sockets, logs and processes."""

import hashlib
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import psutil

MAX_SOCKET_PATH = 100
"""Bytes that a socket's path may have; the kernel's `sun_path` holds 108 on Linux and 104 on macOS, with the NUL."""

LOG_TAIL = 2_000
"""Bytes of a server's log that an error contains."""

ANSWER_SECONDS = 5.0
"""Seconds in which a server that runs begins an answer, also while it loads its data."""

POLL_INTERVAL = 0.02
"""Seconds between two checks of a server that is starting or stopping."""


class ServerError(Exception):
    """An embedded server cannot be found, started or stopped. The message contains the end of its log."""

    def __init__(self, problem: str, log: Path | None = None) -> None:
        self.problem = problem
        self.log = log
        shown = tail(log) if log else ""
        super().__init__(f"{problem}\n\n{log} ends with:\n{shown}" if shown else problem)


class ServerSilent(ServerError):
    """An embedded server runs, and does not answer. It is left as it is: it may have been suspended on purpose.

    Args:
        name: of the program.
        process: the server.
        path: of its socket.
    """

    def __init__(self, name: str, process: psutil.Process, path: Path) -> None:
        super().__init__(
            f"{name} does not answer at {path} within {ANSWER_SECONDS:g} s, but its process {process.pid} runs: "
            f"continue it with `kill -CONT {process.pid}` if it is suspended, "
            f"or end it with `kill -KILL {process.pid}`; then repeat the command"
        )


def is_silent(path: Path, question: bytes) -> bool:
    """True if a server accepts connections at its socket and does not begin an answer to a question."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(ANSWER_SECONDS)
        try:
            client.connect(str(path))
            client.sendall(question)
            client.recv(1)
        except TimeoutError:
            return True
        except OSError:
            # Nothing listens there, or no longer.
            return False
    return False


class EmbeddedServer(Protocol):
    """A server whose data lives in a directory, reached over a unix socket only.

    It runs in a session of its own and outlives the process that started it: any process that names the same
    directory finds it again. Calls from several processes are not safe; `Services` serializes them.
    """

    @property
    def url(self) -> str:
        """Where clients connect, even if it does not run."""
        ...

    def start(self) -> str:
        """Start it unless it runs, wait until it answers and return its URL.

        Raises:
            ServerError: it cannot be found, or does not answer in time.
            ServerSilent: it runs, and does not begin an answer.
        """
        ...

    def stop(self) -> None:
        """Stop it and wait until it is gone; nothing happens when it does not run."""
        ...

    def running(self) -> bool:
        """True when it answers."""
        ...


def tail(log: Path) -> str:
    """The end of a log, or nothing when there is none."""
    try:
        return log.read_bytes()[-LOG_TAIL:].decode(errors="replace").strip()
    except OSError:
        return ""


def socket_directory(directory: Path, name: str) -> Path:
    """The directory for the socket `name`: `directory`, or a short one when the path would be too long.

    The short one lies under the temporary directory; its name is derived from `directory`, so that every
    process finds it. It belongs to this user alone.

    Raises:
        ServerError: another user has created the short directory.
    """
    if len(os.fsencode(directory / name)) <= MAX_SOCKET_PATH:
        return directory
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"saqueduct-{os.geteuid()}-{digest}"


def make_private(directory: Path, owner: int) -> None:
    """Create a directory that only `owner` (a user id) and root can enter.

    Raises:
        ServerError: it exists and belongs to another user, or is a link.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {owner, os.geteuid()}:
        raise ServerError(f"{directory} is not a directory of this user: remove it")
    directory.chmod(0o700)
    if status.st_uid != owner:
        os.chown(directory, owner, -1)


def find_process(pid: int, argument: str) -> psutil.Process | None:
    """The living process `pid` with `argument` in its command line; a pid that was reused by another process is no
    match."""
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE and argument in " ".join(process.cmdline()):
            return process
    except psutil.Error:
        pass
    return None


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Check until the condition is true or the time is over; returns which."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_INTERVAL)
    return True


def is_gone(process: psutil.Process) -> bool:
    """True when a process has ended, even if no process has waited for it yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end(process: psutil.Process, grace: float) -> None:
    """Terminate a process, and kill it if it still runs after `grace` seconds."""
    for stop in (process.terminate, process.kill):
        try:
            stop()
        except psutil.NoSuchProcess:
            return
        if wait_until(lambda: is_gone(process), grace):
            return
