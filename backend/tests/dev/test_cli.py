"""`make cli` and `./saqueduct`: a command of the command line, on embedded servers of its own."""

import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import REPOSITORY
from tests.dev.test_commands import BACKEND, ENVIRONMENT, processes_of, run
from tests.fixtures import python
from tests.fixtures.clusters import add_cluster
from tests.fixtures.directories import scratch_directory

pytestmark = pytest.mark.long


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        add_cluster(directory / "postgres")
        yield directory
        if processes_of(directory):
            run("stop", DEV_DIR=str(directory))


def cli(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**ENVIRONMENT, "DEV_DIR": str(directory)}
    return python.run(["-m", "app.dev", "cli", *arguments], env=environment, cwd=BACKEND, timeout=180)


def test_a_command_finds_what_the_one_before_left_and_no_server_stays(directory: Path) -> None:
    assert cli(directory, "tasks", "enqueue", "my_task", "user_id=7", "--key", "seven").stdout == "enqueued seven\n"
    failed = cli(directory, "jobs", "retry", "seven", 'no such "job"')
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "the job 'seven' is queued" in failed.stderr
    assert """the key 'no such "job"'""" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert processes_of(directory) == []


def test_the_script_of_the_checkout_keeps_words_together(tmp_path: Path) -> None:
    script = Path(shutil.copy(REPOSITORY / "saqueduct", tmp_path))
    (tmp_path / "backend").mkdir()
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!{sys.executable}\nimport os, sys\nprint(os.getcwd(), *sys.argv[1:], sep='\\n')\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    given = ["jobs", "show", 'no such "job"', "$HOME *"]
    answer = subprocess.run([script, *given], cwd="/", capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines() == [str(tmp_path / "backend"), "-m", "app.dev", "cli", *given]
