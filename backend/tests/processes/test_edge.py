"""Limits of the HTTP process, as it is served."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path

import httpx
import pytest
import redis

from app.users.limits import LOGINS_PER_MINUTE
from tests.processes.stack import web

HEAD = "POST /process HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def no_attempts(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as server:
        server.flushall()


def logins(client: httpx.Client, number: int) -> list[int]:
    """Wrong logins, each with a forwarding header of its own."""
    headers = [{"X-Forwarded-For": f"192.0.2.{each}", "Forwarded": f"for=192.0.2.{each}"} for each in range(number)]
    return [client.post("/users/login", json={}, headers=each).status_code for each in headers]


@contextmanager
def connection(client: httpx.Client, begin: str = "") -> Iterator[socket.socket]:
    """A connection, on which the begin of a request is sent at once: the server waits for a second only."""
    address = (client.base_url.host, client.base_url.port or 80)
    with socket.create_connection(address, timeout=60) as open_:
        open_.sendall(begin.encode())
        yield open_


@contextmanager
def kept_alive(client: httpx.Client) -> Iterator[socket.socket]:
    """A connection on which a request has been answered. On a busy machine its time may be over before it is sent."""
    while True:
        with connection(client, "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n") as open_:
            if status(open_) == 200:
                yield open_
                return


def status(open_: socket.socket) -> int:
    """Of the next answer that the server sends, also to an incomplete request."""
    answer = HTTPResponse(open_)
    answer.begin()
    answer.read()
    return answer.status


def test_a_forwarding_header_of_the_client_does_not_lift_the_limit(environment: dict[str, str], tmp_path: Path) -> None:
    with web(environment | {"FORWARDED_ALLOW_IPS": "*"}, tmp_path / "web.log") as client:
        assert logins(client, LOGINS_PER_MINUTE + 2) == [400] * LOGINS_PER_MINUTE + [429] * 2


def test_a_trusted_proxy_tells_clients_apart(environment: dict[str, str], tmp_path: Path) -> None:
    with web(environment | {"WEB_TRUSTED_PROXIES": "127.0.0.0/8"}, tmp_path / "web.log") as client:
        assert logins(client, LOGINS_PER_MINUTE + 2) == [400] * (LOGINS_PER_MINUTE + 2)
        forged = {"X-Forwarded-For": "192.0.2.1, 203.0.113.9"}
        answers = [client.post("/users/login", json={}, headers=forged) for _ in range(LOGINS_PER_MINUTE + 1)]
        assert answers[-1].status_code == 429, "the proxy's own entry counts, not what the client wrote before it"


def test_the_limit_holds_for_all_processes_together(environment: dict[str, str], tmp_path: Path) -> None:
    with web(environment, tmp_path / "one.log") as one, web(environment, tmp_path / "two.log") as two:
        assert logins(one, LOGINS_PER_MINUTE) == [400] * LOGINS_PER_MINUTE
        assert logins(two, 1) == [429]


def test_a_slow_body_is_cut_off(environment: dict[str, str], tmp_path: Path) -> None:
    with (
        web(environment | {"WEB_BODY_TIMEOUT": "1"}, tmp_path / "web.log") as client,
        connection(client, f"{HEAD}Content-Length: 1000\r\n\r\n{{") as declared,
        connection(client, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n") as chunked,
    ):
        for open_ in (declared, chunked):
            assert status(open_) == 408
            assert open_.recv(4096) == b"", "the connection is closed"


def test_slow_headers_are_cut_off_on_a_connection_new_or_kept(environment: dict[str, str], tmp_path: Path) -> None:
    with (
        web(environment | {"WEB_BODY_TIMEOUT": "1"}, tmp_path / "web.log") as client,
        connection(client) as silent,
        connection(client, "GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Slow: ") as slow,
        kept_alive(client) as kept,
    ):
        kept.sendall(b"GET /health/live HTTP/1.1\r\nHost: ")
        assert [status(open_) for open_ in (silent, slow, kept)] == [408, 408, 408]


def test_long_headers_are_cut_off(environment: dict[str, str], tmp_path: Path) -> None:
    with web(environment, tmp_path / "web.log") as client:
        for begin in (b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "):
            with connection(client) as open_:
                open_.sendall(begin + b"a" * 65_000)
                open_.sendall(b"a" * 1000)
                assert status(open_) == 431
        with connection(client) as open_:
            long = b"a" * 40_000
            for _ in range(3):
                open_.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Long: " + long + b"\r\n\r\n")
                assert status(open_) == 200, "each head counts for itself"


def test_slow_bodies_together_take_a_bounded_memory(environment: dict[str, str], tmp_path: Path) -> None:
    with (
        web(environment | {"WEB_MAX_BODIES_BYTES": "150000"}, tmp_path / "web.log") as client,
        ExitStack() as stack,
    ):
        held = [stack.enter_context(connection(client)) for _ in range(3)]
        for open_ in held:
            open_.sendall(f"{HEAD}Content-Length: 60001\r\n\r\n".encode() + b" " * 60_000)
        refused = next(iter(_readable(held)))
        assert status(refused) == 503
        for open_ in held:
            if open_ is not refused:
                open_.sendall(b" ")
                assert status(open_) == 400, "the others go on"
        assert client.post("/process", json={"user_id": 1}).status_code == 201


def _readable(connections: list[socket.socket]) -> list[socket.socket]:
    return select.select(connections, [], [], 60)[0]
