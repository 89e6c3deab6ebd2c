"""Redis servers of a topology, started by the tests on free ports of this machine."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from saqueduct.embedded.redis import find_program
from tests.fixtures.poll import eventually_sync
from tests.fixtures.ports import free_port

BUS = 10_000
"""What a node of a cluster adds to its port for its talk with the others."""


class Server:
    """One process of Redis, with its data in a directory of its own.

    Args:
        directory: is made.
        options: as on the command line, without dashes; `port` or `tls_port` among them.
        sentinel: lines of a sentinel's configuration; None: it is no sentinel.
        program: what runs; the Redis of the other tests by default.
    """

    def __init__(
        self, directory: Path, sentinel: str | None = None, program: str | None = None, **options: Any
    ) -> None:
        self._program = program or find_program()[0]
        self.port = int(options.get("tls_port") or options["port"])
        self.password = str(options.get("requirepass", ""))
        self._options = options
        self._directory = directory
        directory.mkdir(parents=True)
        self._config = directory / "sentinel.conf"
        self._sentinel = sentinel is not None
        if sentinel is not None:
            self._config.write_text(sentinel)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Server":
        """Start it, and wait until it answers."""
        head = [self._program, *([str(self._config), "--sentinel"] if self._sentinel else [])]
        options = {"dir": self._directory, "bind": "127.0.0.1", **self._options}
        if not self._sentinel:
            options |= {"save": '""', "appendonly": "no", "repl-diskless-sync-delay": 0, "repl-ping-replica-period": 1}
        for name, value in options.items():
            head += [f"--{name.replace('_', '-')}", *([] if value == '""' else str(value).split())]
            if value == '""':
                head.append("")
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(head, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually_sync(self.answers)
        return self

    def start_as_replica(self, master: "Server") -> None:
        """Start it again beside a master that has taken its place."""
        self._options["replicaof"] = f"127.0.0.1 {master.port}"
        self.start()

    def client(self) -> Redis:
        """A client for the tests."""
        options: dict[str, Any] = {"protocol": 2}
        if "tls_port" in self._options:
            options |= {
                "ssl": True,
                "ssl_ca_certs": str(self._options["tls_ca_cert_file"]),
                "ssl_certfile": str(self._options["tls_cert_file"]),
                "ssl_keyfile": str(self._options["tls_key_file"]),
            }
        never = Retry(NoBackoff(), 0)
        return Redis(
            host="127.0.0.1", port=self.port, password=self.password or None, socket_timeout=10, retry=never, **options
        )

    def ask(self, *command: Any) -> Any:
        """The answer of this server to one command, as it came."""
        with self.client() as client:
            connection = client.connection_pool.get_connection()
            connection.send_command(*command)
            answer = connection.read_response()
            client.connection_pool.release(connection)
            return answer

    def answers(self) -> bool:
        """True when it can be talked to; fails when its process has ended."""
        assert self._process is not None
        assert self._process.poll() is None, (self._directory / "log").read_text()
        try:
            return bool(self.ask("PING"))
        except RedisError:
            return False

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(servers: list[Server]) -> Iterator[None]:
    """Servers that live inside the block."""
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start()
        yield


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, whose BUS ports are free too."""
    return [free_port(BUS) for _ in range(count)]
