"""The servers of this checkout, shared by the commands of several terminals."""

import fcntl
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from app.dev.commands import RunningCommands
from app.settings import Settings
from saqueduct.embedded.postgres import EmbeddedPostgres
from saqueduct.embedded.redis import EmbeddedRedis
from saqueduct.embedded.servers import EmbeddedServer, ServerError, end, is_gone, wait_until

KILL_SECONDS = 10.0
"""How long a command gets to end after its own grace period."""


class Services:
    """Starts what REDIS_URL and DATABASE_URL leave out, and stops it when its last user leaves.

    A foreground command is a user from `start` to `release`. `keep_running` (`make services`) leaves the servers in
    the background, where they stay until `stop`. Every start and stop holds one lock, so that two terminals do not
    get into each other's way.
    """

    def __init__(self, directory: Path, settings: Settings) -> None:
        self.directory = directory.resolve()
        self.commands = RunningCommands(self.directory / "commands")
        self.servers: dict[str, EmbeddedServer] = {
            "REDIS_URL": EmbeddedRedis(self.directory / "redis"),
            "DATABASE_URL": EmbeddedPostgres(self.directory / "postgres"),
        }
        given = {"REDIS_URL": settings.redis.url, "DATABASE_URL": settings.database.url}
        self.embedded: Mapping[str, EmbeddedServer] = {
            name: server for name, server in self.servers.items() if not given[name]
        }
        self._keep = self.directory / "keep"

    def start(self) -> dict[str, str]:
        """Become a user and start the servers; returns the environment variables that name them.

        Raises:
            ServerError: one does not start; this process is no user then.
        """
        with self._serialized():
            self.commands.enter()
            try:
                return {name: server.start() for name, server in self.embedded.items()}
            except BaseException:
                self._leave()
                raise

    def release(self) -> None:
        """Cease to be a user; the last one stops the servers, unless they are to keep running."""
        with self._serialized():
            self._leave()

    def keep_running(self) -> dict[str, str]:
        """Start the servers without being a user; they stay until `stop`.

        Raises:
            ServerError: one does not start.
        """
        with self._serialized():
            urls = {name: server.start() for name, server in self.embedded.items()}
            self._keep.touch()
            return urls

    def stop(self, grace: float) -> int:
        """End every command of this checkout, then the servers; returns how many commands there were.

        Args:
            grace: seconds the commands give their own processes.
        """
        with self._serialized():
            pids = [pid for pid in self.commands.pids() if pid != os.getpid()]
        _end_all(pids, grace + KILL_SECONDS)
        with self._serialized():
            self._keep.unlink(missing_ok=True)
            self._stop_servers()
        return len(pids)

    def _leave(self) -> None:
        self.commands.leave()
        if not self.commands.pids() and not self._keep.exists():
            self._stop_servers()

    def _stop_servers(self) -> None:
        """Also those that the settings do not ask for any more."""
        for server in self.servers.values():
            server.stop()

    @contextmanager
    def _serialized(self) -> Iterator[None]:
        """One start or stop at a time, across processes."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = (self.directory / "services.lock").open("w")
        except PermissionError as error:
            raise ServerError(f"{error.filename} belongs to another user: remove it, or set DEV_DIR") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _end_all(pids: list[int], grace: float) -> None:
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    for process in processes:
        try:
            process.send_signal(signal.SIGTERM)
        except psutil.AccessDenied:
            raise ServerError(f"process {process.pid} belongs to another user: stop it as that user") from None
        except psutil.NoSuchProcess:
            continue
    wait_until(lambda: all(map(is_gone, processes)), grace)
    for process in processes:
        if not is_gone(process):
            end(process, KILL_SECONDS)
