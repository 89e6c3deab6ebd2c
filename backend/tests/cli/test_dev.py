"""`saqueduct dev`: a command on embedded servers."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from saqueduct.embedded.redis import EmbeddedRedis
from tests.fixtures import python
from tests.fixtures.clusters import add_cluster
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually_sync
from tests.processes.stack import BACKEND, process

NOT_STARTED = {"DATABASE_URL": "postgresql://given"}
"""Most tests need no PostgreSQL."""

UNTIL_SIGTERM = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
print("ready", flush=True)
print("stopped by", int(signal.sigwait({signal.SIGTERM})), flush=True)
sys.exit(3)
"""

COUNTING_SIGINTS = """
import signal, sys, time
count = 0
def interrupted(number, frame):
    global count
    count += 1
signal.signal(signal.SIGINT, interrupted)
print("ready", flush=True)
while not count:
    time.sleep(0.02)
# A second one would come at once.
until = time.monotonic() + 1
while time.monotonic() < until:
    time.sleep(0.05)
print("interrupted", count, "time", flush=True)
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory


def arguments(directory: Path, command: Sequence[str]) -> list[str]:
    return ["-m", "saqueduct.cli", "dev", "--dir", str(directory), *command]


def variables(given: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(BACKEND), **given}


def dev(directory: Path, *command: str, **given: str) -> "subprocess.CompletedProcess[str]":
    """Run it in a folder of its own, to its end."""
    return python.run(arguments(directory, command), cwd=directory, env=variables(given), timeout=120)


def test_both_servers_run_for_the_time_of_the_command(directory: Path) -> None:
    code = """
import asyncio, asyncpg, os, redis
async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    print(await connection.fetchval("SELECT 1 + 1"))
    await connection.close()
print(redis.Redis.from_url(os.environ["REDIS_URL"]).ping())
asyncio.run(main())
"""
    done = dev(directory, "--", "python", "-c", code)
    assert (done.returncode, done.stdout) == (0, "True\n2\n"), done.stderr
    assert [line.partition("=")[0] for line in done.stderr.splitlines()] == ["REDIS_URL", "DATABASE_URL"]
    assert not EmbeddedRedis(directory / "redis").running()


def test_an_application_finds_its_tables_in_the_postgresql_that_is_started(directory: Path) -> None:
    add_cluster(directory / "postgres")
    done = dev(directory, "--", "python", str(BACKEND / "examples" / "script.py"))
    assert (done.returncode, done.stdout) == (0, "[0, 1, 4, 9, 16]\n"), done.stderr


def test_a_variable_that_is_set_stays_and_nothing_is_started_for_it(directory: Path) -> None:
    given = {"REDIS_URL": "redis://given", "DATABASE_URL": "postgresql://given"}
    code = "import os; print(os.environ['REDIS_URL'], os.environ['DATABASE_URL'])"
    done = dev(directory, "--", "python", "-c", code, **given)
    assert (done.returncode, done.stdout) == (0, "redis://given postgresql://given\n"), done.stderr
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "status"), [("import sys; sys.exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 128 + 9)]
)
def test_the_exit_status_is_that_of_the_command(directory: Path, code: str, status: int) -> None:
    done = dev(directory, "--", "python", "-c", code, REDIS_URL="redis://given", **NOT_STARTED)
    assert done.returncode == status, done.stderr


def test_options_behind_the_command_are_the_commands(directory: Path) -> None:
    done = dev(directory, "python", "-c", "import sys; print(sys.argv[1:])", "--dir", "x", "--help", **NOT_STARTED)
    assert done.stdout == "['--dir', 'x', '--help']\n", done.stderr


def test_sigterm_goes_to_the_command_and_then_the_servers_stop(directory: Path) -> None:
    command, environment = ["--", "python", "-c", UNTIL_SIGTERM], variables(NOT_STARTED)
    with process(arguments(directory, command), environment, directory / "log", directory) as running:
        running.prints("ready\n")
        assert EmbeddedRedis(directory / "redis").running()
        assert running.stop() == 3
        assert running.output.endswith(f"ready\nstopped by {signal.SIGTERM.value}\n")
    assert not EmbeddedRedis(directory / "redis").running()


def test_ctrl_c_in_a_terminal_reaches_the_command_once(directory: Path) -> None:
    environment = variables({**NOT_STARTED, "REDIS_URL": "redis://given"})
    command = [sys.executable, *arguments(directory, ["--", "python", "-c", COUNTING_SIGINTS])]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, environment)  # noqa: S606
    output = bytearray()

    def has_printed(words: bytes) -> bool:
        output.extend(os.read(terminal, 1024))
        return words in output

    eventually_sync(lambda: has_printed(b"ready"))
    os.write(terminal, b"\x03")
    eventually_sync(lambda: has_printed(b"time"))
    assert b"interrupted 1 time" in output
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)


def test_production_is_refused(directory: Path) -> None:
    done = dev(directory, "--", "python", ENVIRONMENT="production")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "ENVIRONMENT is production" in done.stderr


def test_a_program_that_does_not_exist_is_named(directory: Path) -> None:
    done = dev(directory, "--", "no-such-program", REDIS_URL="redis://given", **NOT_STARTED)
    assert (done.returncode, "there is no program 'no-such-program'" in done.stderr) == (127, True)


def test_a_program_beside_this_python_needs_no_activated_environment(directory: Path) -> None:
    given = {"REDIS_URL": "redis://given", "PATH": "/nowhere", **NOT_STARTED}
    done = dev(directory, "--", "litestar", "version", **given)
    assert done.returncode == 0, done.stderr


def test_without_a_command_the_usage_is_shown(directory: Path) -> None:
    done = dev(directory)
    assert (done.returncode, "Missing argument 'COMMAND...'" in done.stderr) == (2, True)
