"""`make shell`: what somebody types into it, with embedded servers of its own."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import REPOSITORY
from saqueduct.embedded.servers import is_gone
from tests.dev.test_commands import BACKEND, ENVIRONMENT, processes_of, run
from tests.fixtures import python
from tests.fixtures.clusters import add_cluster
from tests.fixtures.directories import scratch_directory
from tests.fixtures.poll import eventually_sync
from tests.fixtures.python import Python
from tests.processes.stack import WORKER, process

pytestmark = pytest.mark.long

TYPED = "<!-- not run: in the event loop of the documents' tests; other tests type it into a shell -->"
SCRIPT = "<!-- not run: in the event loop of the documents' tests; another test runs it as a script -->"

LINES = """\
result = registry.cleanup_sessions.delay(days_old=7).get(timeout=60)
result["deleted_count"]
registry.ping.apply_async(args=[], kwargs={}, expires=3600, ignore_result=True).get()
container.get(TasksRegistry) is registry, container.get(Settings) == settings
registry.ping.delay().get(timeout=60), TaskName.PING
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with scratch_directory() as directory:
        yield directory
        if processes_of(directory):
            run("stop", DEV_DIR=str(directory))


def type_into_shell(lines: str, environment: dict[str, str], module: str = "app.shell") -> str:
    """All that a shell shows for these lines; it must end by itself and in order."""
    shell = python.run(
        ["-m", *module.split()],
        input=lines,
        cwd=BACKEND,
        env={"PATH": os.environ["PATH"], **environment},
        timeout=90,
        together=True,
    )
    assert shell.returncode == 0, shell.stdout
    return shell.stdout


def test_the_lines_of_the_documents_work_as_written(directory: Path) -> None:
    add_cluster(directory / "postgres")
    shown = type_into_shell(LINES, {**ENVIRONMENT, "DEV_DIR": str(directory)}, "app.dev shell")
    assert "this shell runs the jobs itself" in shown
    assert "Traceback" not in shown
    assert ">>> >>> 0\n>>> >>> (True, True)\n>>> ({'result': 'pong'}, <TaskName.PING: 'ping'>)\n" in shown
    assert processes_of(directory) == []


@pytest.mark.usefixtures("empty_redis")  # or the shell's worker runs what other tests have left
@pytest.mark.parametrize("name", ["coming-from-celery", "use-the-shell"])
def test_the_blocks_of_a_page_can_be_typed_in(name: str, environment: dict[str, str]) -> None:
    blocks = blocks_behind(TYPED, name)
    assert blocks
    shown = type_into_shell("\n".join(blocks), environment, "app.shell --worker")
    assert "Traceback" not in shown, shown
    assert "Error" not in shown, shown


def test_the_script_of_a_page_runs(environment: dict[str, str]) -> None:
    [script] = blocks_behind(SCRIPT, "use-the-shell")
    run = python.run(["-c", script], cwd=BACKEND, env=environment)
    assert (run.stdout, run.stderr) == ("PENDING {'result': 'pong'}\n", "")


def blocks_behind(marker: str, name: str) -> list[str]:
    """The Python blocks of a how-to page that follow a marker."""
    page = (REPOSITORY / "docs/how-to" / name).with_suffix(".md").read_text()
    return re.findall(rf"^{re.escape(marker)}\n```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_with_a_worker_that_is_running_the_shell_runs_no_job(environment: dict[str, str], tmp_path: Path) -> None:
    lines = "registry.ping.delay().get(timeout=60)\n"
    with process(WORKER, environment, tmp_path / "worker.log") as worker:
        worker.prints("worker started")
        eventually_sync(lambda: "run by the worker that is running" in type_into_shell("", environment))
        shown = type_into_shell(lines, environment, "app.shell --worker")
    assert "run by the worker that is running" in shown
    assert ">>> {'result': 'pong'}\n" in shown


def test_a_killed_worker_does_not_count_as_running(environment: dict[str, str], tmp_path: Path) -> None:
    with process(WORKER, environment, tmp_path / "worker.log") as worker:
        worker.prints("worker started")
        eventually_sync(lambda: "run by the worker that is running" in type_into_shell("", environment))
    shown = type_into_shell("registry.ping.delay().get(timeout=60)\n", environment, "app.shell --worker")
    assert "this shell runs the jobs itself" in shown
    assert ">>> {'result': 'pong'}\n" in shown


@pytest.mark.usefixtures("empty_redis")
def test_await_works_at_top_level(environment: dict[str, str]) -> None:
    lines = "job = await registry.ping.enqueue()\nawait job.result(timeout=60)\nawait registry.nothing\n1 + 1\n"
    shown = type_into_shell(lines, environment, "app.shell --worker")
    assert "{'result': 'pong'}\n" in shown
    assert "AttributeError" in shown
    assert ">>> 2\n" in shown


@pytest.mark.usefixtures("empty_redis")
def test_help_shows_the_arguments_of_a_task(environment: dict[str, str]) -> None:
    shown = type_into_shell("help(registry.send_email)\n", environment)
    assert "send_email(to: str, subject: str, body: str) -> dict[str, str]" in shown
    assert "Send a mail" in shown


@pytest.mark.usefixtures("empty_redis")
def test_without_the_option_no_worker_is_started(environment: dict[str, str]) -> None:
    shown = type_into_shell("registry.ping.delay().get(timeout=0.1)\n", environment)
    assert "No worker is running for default: jobs wait until `python -m app.worker` runs." in shown
    assert "ResultTimeout" in shown


def test_without_servers_it_says_what_to_set(environment: dict[str, str]) -> None:
    shell = python.run(["-m", "app.shell"], cwd=BACKEND, env={**environment, "REDIS_URL": ""})
    assert shell.returncode == 2
    assert "REDIS_URL is not set" in shell.stderr
    assert "Traceback" not in shell.stderr


IDLE = """
import sys
from app.dev.cli import BACKEND, services_of
from app.dev.program import Program
from app.dev.shell import run_in_terminal
from app.settings import load_settings

idle = Program("idle", (sys.executable, "-S", "-c", "import sys; print('>>>', flush=True); sys.stdin.read()"))
sys.exit(run_in_terminal(idle, services_of(load_settings()), BACKEND))
"""
"""A program that does nothing in the place of the shell."""


@pytest.mark.parametrize(
    ("number", "program", "status"),
    [
        (signal.SIGHUP, ("-m", "app.dev", "shell"), 128 + signal.SIGTERM),
        (signal.SIGTERM, ("-c", IDLE), -signal.SIGTERM & 0xFF),
    ],
    ids=["closed", "stopped"],
)
def test_a_closed_terminal_and_a_stop_end_program_and_servers(
    directory: Path, number: signal.Signals, program: tuple[str, ...], status: int
) -> None:
    add_cluster(directory / "dev" / "postgres")
    log = directory / "shell.log"
    typed, terminal = os.pipe()
    with (
        os.fdopen(typed, "rb") as stdin,
        log.open("wb") as output,
        Python(
            program,
            cwd=BACKEND,
            env={**ENVIRONMENT, "DEV_DIR": str(directory / "dev")},
            stdin=stdin,
            stdout=output,
            stderr=output,
        ) as shell,
        # Closed first, which ends a shell that has not ended before.
        os.fdopen(terminal, "wb"),
    ):
        eventually_sync(lambda: ">>>" in log.read_text() or shell.poll() is not None, 180)
        assert shell.poll() is None, log.read_text()
        left = processes_of(directory)
        shell.send_signal(number)
        assert shell.wait(180) == status, log.read_text()
    assert left
    assert all(map(is_gone, left))
    assert "Traceback" not in log.read_text()
