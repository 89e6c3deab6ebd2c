"""`make cli` and `./saqueduct`: a command of the command line, on embedded servers of its own."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import REPOSITORY
from saqueduct.testing.servers import scratch_directory
from tests.dev.test_commands import BACKEND, ENVIRONMENT, processes_of, run
from tests.fixtures import python

pytestmark = pytest.mark.long


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory
        run("stop", DEV_DIR=str(directory))


def cli(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**ENVIRONMENT, "DEV_DIR": str(directory)}
    return python.run(["-m", "app.dev", "cli", *arguments], env=environment, cwd=BACKEND, timeout=180)


def test_a_command_finds_what_the_one_before_left_and_no_server_stays(directory: Path) -> None:
    assert cli(directory, "tasks", "enqueue", "my_task", "user_id=7", "--key", "seven").stdout == "enqueued seven\n"
    answer = cli(directory, "jobs", "list", "--status", "queued", "--json")
    assert [job["arguments"] for job in json.loads(answer.stdout)["jobs"]] == [{"user_id": 7}]
    failed = cli(directory, "jobs", "show", "nope")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Traceback" not in failed.stderr
    assert processes_of(directory) == []


def test_the_script_of_the_checkout_keeps_words_together(directory: Path) -> None:
    answer = subprocess.run(
        [REPOSITORY / "saqueduct", "jobs", "show", 'no such "job"'],
        env={**ENVIRONMENT, "DEV_DIR": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (1, "")
    assert """the key 'no such "job"'""" in answer.stderr
