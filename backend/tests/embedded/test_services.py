"""Commands of several terminals share the servers: the last one stops them, unless they are to stay."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from saqueduct.embedded import servers
from saqueduct.embedded.servers import ServerSilent, is_gone
from saqueduct.embedded.services import REDIS_URL, Services
from tests.fixtures import python
from tests.fixtures.directories import scratch_directory
from tests.fixtures.python import Python

BACKEND = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"DATABASE_URL": "postgresql://unused"}
"""Leaves only Redis to be embedded by `make dev`."""

USER = """
import signal, sys
from pathlib import Path
from saqueduct.embedded.services import Services
services = Services(Path(sys.argv[1]), ["REDIS_URL"])
signal.signal(signal.SIGTERM, lambda *_: services.release() or sys.exit())
print(services.start()["REDIS_URL"], flush=True)
signal.pause()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory
        make(directory).stop(grace=0)


def make(directory: Path, *embedded: str) -> Services:
    # Redis alone starts faster.
    return Services(directory, embedded or [REDIS_URL])


def redis_runs(directory: Path) -> bool:
    return make(directory).servers["REDIS_URL"].running()


def spawn_user(directory: Path) -> Python:
    """A process that uses the servers until SIGTERM; they run when this returns."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as printed:
        with os.fdopen(writing, "wb") as output:
            process = Python(["-c", USER, str(directory)], cwd=BACKEND, stdout=output)
        assert printed.readline().startswith("unix://")
    return process


def test_the_last_user_stops_the_servers(directory: Path) -> None:
    first, second = make(directory), make(directory)
    assert first.start() == second.start()
    first.release()
    assert redis_runs(directory)
    second.release()
    assert not redis_runs(directory)


def test_a_killed_user_does_not_count(directory: Path) -> None:
    other = spawn_user(directory)
    mine = make(directory)
    mine.start()
    other.kill()
    other.wait()
    mine.release()
    assert not redis_runs(directory)


def test_servers_that_are_to_keep_running_stay_until_stop(directory: Path) -> None:
    make(directory).keep_running()
    user = make(directory)
    user.start()
    user.release()
    assert redis_runs(directory)
    make(directory).stop(grace=0)
    assert not redis_runs(directory)


def test_after_stop_the_last_user_stops_the_servers_again(directory: Path) -> None:
    make(directory).keep_running()
    make(directory).stop(grace=0)
    user = make(directory)
    user.start()
    user.release()
    assert not redis_runs(directory)


def test_what_is_not_asked_for_is_not_started(directory: Path) -> None:
    services = Services(directory, [])
    assert services.start() == {}
    assert not redis_runs(directory)
    services.release()


def test_stop_ends_the_commands_of_other_terminals(directory: Path) -> None:
    user = spawn_user(directory)
    assert make(directory).stop(grace=60) == 1
    assert user.wait(timeout=60) == 0
    assert not redis_runs(directory)


def test_stop_kills_a_command_that_does_not_follow(directory: Path) -> None:
    user = spawn_user(directory)
    process = psutil.Process(user.pid)
    process.suspend()
    Services(directory, [REDIS_URL], kill_after=0.1).stop(grace=0.1)
    assert is_gone(process)
    assert user.wait(timeout=60) == -signal.SIGKILL


def test_stop_twice_is_no_error(directory: Path) -> None:
    assert make(directory).stop(grace=0) == 0
    assert make(directory).stop(grace=0) == 0


def test_a_failed_start_leaves_no_user_behind(directory: Path) -> None:
    (directory / "redis").mkdir()
    (directory / "redis" / "appendonly.aof").write_text("no append-only file")
    services = make(directory)
    with pytest.raises(Exception, match="Redis did not start"):
        services.start()
    assert services.commands.pids() == []


def test_a_server_that_is_suspended_is_left_as_it_is(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "ANSWER_SECONDS", 0.2)
    make(directory).servers["REDIS_URL"].start()
    process = psutil.Process(int((directory / "redis" / "redis.pid").read_text()))
    process.suspend()
    services = make(directory)
    with pytest.raises(ServerSilent):
        services.start()
    assert process.status() == psutil.STATUS_STOPPED
    assert services.commands.pids() == []
    process.resume()
    services.start()
    services.release()
    assert is_gone(process)


def test_two_terminals_that_start_at_once_share_one_server(directory: Path) -> None:
    environment = {**os.environ, **ENVIRONMENT, "REDIS_URL": "", "DEV_DIR": str(directory)}
    with ThreadPoolExecutor(3) as pool:
        command = ("-m", "app.dev", "services")
        starts = [pool.submit(python.run, command, env=environment, cwd=BACKEND, timeout=120) for _ in range(3)]
    assert [start.result().returncode for start in starts] == [0, 0, 0]
    assert {start.result().stdout for start in starts} == {f"REDIS_URL={make(directory).servers['REDIS_URL'].url}\n"}
    servers = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if str(directory) in " ".join(process.info["cmdline"] or ()) and not is_gone(process)
    ]
    assert len(servers) == 1


class Meeting:
    """A server whose start takes until another start comes in, or a moment."""

    url = "unix:///nowhere"

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)
        self.met = False

    def start(self) -> str:
        with contextlib.suppress(threading.BrokenBarrierError):
            self.barrier.wait(timeout=0.2)
            self.met = True
        return self.url

    def stop(self) -> None: ...

    def running(self) -> bool:
        return False


def test_one_start_waits_for_the_other(directory: Path) -> None:
    server = Meeting()
    terminals = [make(directory), make(directory)]
    for services in terminals:
        services.embedded = {"REDIS_URL": server}
    with ThreadPoolExecutor(2) as pool:
        starts = [pool.submit(services.start) for services in terminals]
    assert [start.result() for start in starts] == [{"REDIS_URL": server.url}] * 2
    assert not server.met
    for services in terminals:
        services.release()
