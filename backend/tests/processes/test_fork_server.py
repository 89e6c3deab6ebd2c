"""Processes of the fork server are as those that Python starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.poll import eventually_sync
from tests.fixtures.python import Python, run
from tests.fixtures.python.request import Request
from tests.fixtures.python.server import BACKEND, begins_with_application

SHOW = """
import os, sys
print(sys.argv, os.getcwd(), sorted(os.environ), sys.stdin.read())
print("é", file=sys.stderr)
sys.exit(3)
"""
ENDLESS = "import signal; print('ready', flush=True); signal.pause()"


def test_it_has_the_arguments_the_folder_the_environment_and_the_streams(tmp_path: Path) -> None:
    # LC_CTYPE is what Python itself sets where no locale is given.
    given = {"A": "1", "LC_CTYPE": "C.UTF-8"}
    forked = run(["-c", SHOW, "x", "y z"], cwd=tmp_path, env=given, input="typed")
    started = subprocess.run(
        [sys.executable, "-c", SHOW, "x", "y z"],
        cwd=tmp_path,
        env=given,
        input="typed",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (forked.stdout, forked.stderr, forked.returncode) == (started.stdout, started.stderr, 3)
    assert forked.stdout == f"['-c', 'x', 'y z'] {tmp_path} ['A', 'LC_CTYPE'] typed\n"


def test_it_imports_from_its_folder_and_from_pythonpath_and_nothing_of_the_tests(tmp_path: Path) -> None:
    for folder, value in (("here", 1), ("there", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.py").write_text(f"value = {value}")
    code = "import here, there; print(here.value, there.value); import tests"
    ended = run(["-c", code], cwd=tmp_path / "here", env={"PYTHONPATH": str(tmp_path / "there")})
    assert ended.stdout == "1 2\n"
    assert "No module named 'tests'" in ended.stderr
    assert ended.returncode == 1


def test_a_program_is_the_main_module_and_has_those_beside_it(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "beside.py").write_text("value = 1")
    (tmp_path / "bin" / "program").write_text("import beside, sys; print(__name__, sys.argv, beside.value)")
    command = ["bin/program", "x", "-c"]
    forked = run(command, cwd=tmp_path, env={})
    started = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env={}, capture_output=True, text=True, check=False
    )
    assert (forked.stdout, forked.stderr, forked.returncode) == (started.stdout, started.stderr, 0)
    assert forked.stdout == "__main__ ['bin/program', 'x', '-c'] 1\n"


def test_pythonwarnings_says_which_warnings_are_errors(tmp_path: Path) -> None:
    code = "import warnings; warnings.warn('one', UserWarning); print('later'); warnings.warn('two', FutureWarning)"
    ended = run(["-c", code], cwd=tmp_path, env={"PYTHONWARNINGS": "ignore::UserWarning,error::FutureWarning:__main__"})
    assert (ended.stdout, ended.returncode) == ("later\n", 1)
    assert "FutureWarning: two" in ended.stderr
    assert "UserWarning" not in ended.stderr


def test_what_is_left_open_complains_at_the_end(tmp_path: Path) -> None:
    code = "import asyncio, atexit; atexit.register(print, 'the end'); a = [asyncio.new_event_loop()]; a += [a]; del a"
    ended = run(["-W", "error", "-c", code], cwd=tmp_path)
    assert (ended.stdout, ended.returncode) == ("the end\n", 0)
    assert "unclosed event loop" in ended.stderr


def test_a_thread_that_never_ends_ends_with_it(tmp_path: Path) -> None:
    code = "import sys, threading; threading.Thread(target=threading.Event().wait, daemon=True).start(); sys.exit(4)"
    ended = run(["-c", code], cwd=tmp_path)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 4)


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [("raise SystemExit('a word')", 1, "a word\n"), ("raise SystemExit", 0, ""), ("1 / 0", 1, "ZeroDivisionError")],
)
def test_it_has_the_status_of_its_program(tmp_path: Path, code: str, status: int, shown: str) -> None:
    ended = run(["-c", code], cwd=tmp_path)
    assert (ended.returncode, shown in ended.stderr, bool(ended.stderr)) == (status, True, bool(shown))


def test_a_module_is_the_main_one(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import sys; print(__name__, sys.modules['__main__'].__spec__.name)")
    assert run(["-m", "program"], cwd=tmp_path).stdout == "__main__ program\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    with (tmp_path / "log").open("wb") as log:
        process = Python(["-c", ENDLESS], cwd=tmp_path, stdout=log, start_new_session=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    assert process.poll() is None
    assert os.getsid(process.pid) == process.pid
    os.killpg(process.pid, number)
    assert (process.wait(60), process.poll(), process.returncode) == (-number, -number, -number)


def test_ctrl_c_interrupts_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = Python(["-c", ENDLESS], cwd=tmp_path, stdout=output, stderr=output)
    eventually_sync(lambda: "ready" in log.read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == -signal.SIGINT
    assert "KeyboardInterrupt" in log.read_text()


def test_a_process_that_begins_with_the_application_runs_it_as_python_does() -> None:
    ended = run(["-m", "app.worker", "--help"], cwd=BACKEND, env={})
    assert (ended.stdout.splitlines()[0], ended.stderr) == ("Usage: python -m app.worker [OPTIONS]", "")
    assert ended.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "folder", "environment", "begins"),
    [
        (["-m", "app.worker"], BACKEND, {}, True),
        (["-m", "tests.processes.web_with_test_tasks"], BACKEND, {}, True),
        (["-m", "saqueduct.cli", "--app", "app.main:app", "tasks", "list"], BACKEND, {}, True),
        (["-c", "from app.shell import open_container"], BACKEND, {}, True),
        (["-m", "app.worker"], BACKEND.parent, {}, False),
        (["-m", "app.worker"], BACKEND, {"PYTHONPATH": "/elsewhere"}, False),
        (["-m", "app.dev", "stop"], BACKEND, {}, False),
        (["-m", "saqueduct.cli", "--app", "example:app", "tasks", "list"], BACKEND, {}, False),
        (["-c", "import app.worker"], BACKEND, {}, False),
        (["-W", "error", "-m", "app.worker"], BACKEND, {}, False),
    ],
    ids=[
        *("application", "of a test", "command line", "shell", "elsewhere", "path", "tool", "of others", "source"),
        "warnings",
    ],
)
def test_only_where_nothing_takes_its_place_is_the_application_there_already(
    arguments: list[str], folder: Path, environment: dict[str, str], begins: bool
) -> None:
    assert begins_with_application(Request(arguments, str(folder), environment, new_session=False)) is begins


def test_other_processes_do_not_have_the_application() -> None:
    code = "import sys; print([name for name in sys.modules if name.partition('.')[0] == 'app'])"
    assert run(["-c", code], cwd=BACKEND, env={}).stdout == "[]\n"
