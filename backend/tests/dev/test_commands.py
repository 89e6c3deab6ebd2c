"""`python -m app.dev`: what the person at the terminal sees, with the real application."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import redis

from saqueduct.embedded.servers import is_gone
from tests.fixtures import ports, python
from tests.fixtures.clusters import add_cluster
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually_sync

pytestmark = pytest.mark.long

BACKEND = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "ENVIRONMENT": "development", "REDIS_URL": "", "DATABASE_URL": ""}
"""Whatever a `.env` of the checkout says, both servers are embedded."""


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory
        if processes_of(directory):
            run("stop", DEV_DIR=str(directory))


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free_port() -> int:
    return ports.free_port()


def run(command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return python.run(["-m", "app.dev", command], env={**ENVIRONMENT, **environment}, cwd=BACKEND, timeout=180)


def processes_of(directory: Path) -> list[psutil.Process]:
    """Every living process that has the folder in its command line: the servers."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(directory) in " ".join(process.info["cmdline"] or ()) and not is_gone(process)
    ]


def test_a_taken_port_is_found_before_anything_starts(directory: Path, taken_port: int) -> None:
    data = directory / "dev"
    answer = run("up", DEV_DIR=str(data), WEB_PORT=str(taken_port))
    assert answer.returncode == 1
    assert f"port {taken_port} on 127.0.0.1 cannot be used: address already in use" in answer.stderr
    assert f"`WEB_PORT={taken_port + 1} make dev`" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not data.exists()


def test_invalid_settings_are_named_without_a_traceback(directory: Path) -> None:
    answer = run("up", DEV_DIR=str(directory), WEB_PORT="eight", WORKER_CONCURRENCY="0")
    assert answer.returncode == 2
    assert "WEB_PORT: expected `int`" in answer.stderr
    assert "WORKER_CONCURRENCY: " in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("variable", "url", "words"),
    [
        ("REDIS_URL", "redis://127.0.0.1:1", "REDIS_URL: the server cannot be reached: .*127.0.0.1:1"),
        ("DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/x", "DATABASE_URL: PostgreSQL cannot be reached"),
    ],
)
def test_a_server_that_does_not_answer_is_named_before_anything_starts(
    directory: Path, free_port: int, variable: str, url: str, words: str
) -> None:
    data = directory / "dev"
    answer = run("up", DEV_DIR=str(data), WEB_PORT=str(free_port), **{variable: url})
    assert answer.returncode == 1
    assert re.search(rf"{words}.*; correct it, or leave it empty for an embedded server", answer.stderr)
    assert not {"Traceback", "secret", "ready after"} & set(re.findall(r"Traceback|secret|ready after", answer.stderr))
    assert not data.exists()


def test_a_wrong_password_is_called_that(directory: Path, free_port: int, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.acl_setuser("guest", enabled=True, passwords=["+right"], commands=["+@all"], keys=["*"])
        try:
            socket_path = urlsplit(redis_url).path
            given = f"unix://guest:wrong@{socket_path}"
            answer = run("up", DEV_DIR=str(directory / "dev"), WEB_PORT=str(free_port), REDIS_URL=given)
        finally:
            client.acl_deluser("guest")
    assert (answer.returncode, "refuses the user or the password" in answer.stderr) == (1, True), answer.stderr
    assert "wrong" not in answer.stderr.replace("WRONGPASS", "")


def test_services_stay_and_stop_ends_them(directory: Path) -> None:
    add_cluster(directory / "postgres")
    answer = run("services", DEV_DIR=str(directory))
    assert answer.returncode == 0, answer.stderr
    assert re.findall(r"^(\w+)=", answer.stdout, re.MULTILINE) == ["REDIS_URL", "DATABASE_URL"]
    assert len(processes_of(directory)) >= 2
    assert run("stop", DEV_DIR=str(directory)).returncode == 0
    assert processes_of(directory) == []


def test_up_serves_the_application_and_an_interrupt_leaves_nothing(directory: Path, free_port: int) -> None:
    log = directory / "up.log"
    environment = {**ENVIRONMENT, "DEV_DIR": str(directory), "WEB_PORT": str(free_port)}
    with log.open("wb") as output:
        up = python.Python(["-m", "app.dev", "up"], env=environment, cwd=BACKEND, stdout=output, stderr=output)
    try:
        eventually_sync(lambda: "Ctrl-C stops all of it\n" in log.read_text() or up.poll() is not None, 120)
        assert f"http://127.0.0.1:{free_port}/saq" in log.read_text(), log.read_text()
        children = psutil.Process(up.pid).children(recursive=True)
        assert len(children) >= 2
        url = f"http://127.0.0.1:{free_port}/health/ready"
        eventually_sync(lambda: httpx.get(url, timeout=60).json()["workers"]["status"] == "ok")
    finally:
        up.send_signal(signal.SIGINT)
        status = up.wait(timeout=300)
    assert status == 0, log.read_text()
    assert all(map(is_gone, children))
    assert processes_of(directory) == []
