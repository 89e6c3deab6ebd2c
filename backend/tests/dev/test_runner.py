"""The runner: prefixed output, reload, crashes reported, and nothing is left running, however it ends."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from saqueduct.embedded.servers import is_gone
from tests.fixtures.poll import eventually_sync
from tests.fixtures.python import Python

BACKEND = Path(__file__).resolve().parents[2]

IDLE = "import os, signal\nprint('pid', os.getpid())\nsignal.pause()\n"
"""A program that ends at SIGTERM."""

STUBBORN = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + IDLE

PARENT = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', '''" + STUBBORN + "'''])\n" + IDLE
"""Has a child that ignores SIGTERM."""

BROKEN = "print('starting')\nraise SystemExit(3)\n"


class Supervisor:
    """A runner in a process of its own, and what it has written so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "output.txt"
        self.process: Python | None = None

    def start(self, grace: float = 10, settled: float = 5, **programs: str) -> None:
        """Start it with these programs and wait until their output shows."""
        for name, source in programs.items():
            (self.folder / f"{name}.py").write_text(source)
        arguments = ["-m", "tests.dev.supervise", str(self.folder), str(grace), *programs]
        environment = os.environ | {"SETTLED": str(settled)}
        with self.log.open("wb") as log:
            self.process = Python(arguments, stdout=log, stderr=log, cwd=BACKEND, env=environment)
        self.wait_for("supervising")

    def wait_for(self, pattern: str, times: int = 1) -> list[str]:
        """Until `pattern` shows in the output so often; returns what its group matched."""

        def found() -> list[str] | None:
            matches = re.findall(pattern, self.output)
            return matches if len(matches) >= times else None

        return eventually_sync(found)

    def processes(self, count: int, skip: int = 0) -> list[psutil.Process]:
        """`count` processes that have printed their pid, without the first `skip` ones."""
        return [psutil.Process(int(pid)) for pid in self.wait_for(r"pid (\d+)", skip + count)[skip:]]

    def send(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        assert self.process
        return self.process.wait(timeout=60)

    @property
    def output(self) -> str:
        return self.log.read_text()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path)
    yield supervisor
    if supervisor.process and supervisor.process.poll() is None:
        supervisor.send(signal.SIGINT)
        supervisor.send(signal.SIGINT)
        supervisor.process.wait(timeout=60)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_it_has_started(supervisor: Supervisor, number: int) -> None:
    supervisor.start(one=IDLE, two=PARENT)
    processes = supervisor.processes(3)
    supervisor.send(number)
    assert supervisor.ended() == 0
    eventually_sync(lambda: all(map(is_gone, processes)))


def test_a_killed_runner_leaves_no_program_behind(supervisor: Supervisor) -> None:
    if sys.platform != "linux":
        pytest.skip("asks the Linux kernel for it")
    supervisor.start(one=IDLE, two=IDLE)
    processes = supervisor.processes(2)
    supervisor.send(signal.SIGKILL)
    eventually_sync(lambda: all(map(is_gone, processes)))


def test_a_program_that_ignores_the_signal_is_killed_after_its_grace(supervisor: Supervisor) -> None:
    supervisor.start(grace=0.2, one=STUBBORN)
    [process] = supervisor.processes(1)
    supervisor.send(signal.SIGINT)
    assert supervisor.ended() == 0
    assert is_gone(process)
    assert "one did not stop within 0.2 s: killed" in supervisor.output


def test_a_second_interrupt_does_not_wait_for_the_grace(supervisor: Supervisor) -> None:
    supervisor.start(grace=600, one=STUBBORN)
    [process] = supervisor.processes(1)
    supervisor.send(signal.SIGINT)
    supervisor.wait_for("stopping")
    supervisor.send(signal.SIGINT)
    assert supervisor.ended() == 0
    assert is_gone(process)


def test_a_change_of_the_source_restarts_all_programs(supervisor: Supervisor) -> None:
    supervisor.start(one=IDLE, two=IDLE)
    before = supervisor.processes(2)
    (supervisor.folder / "two.py").write_text(f"print('new source')\n{IDLE}")
    supervisor.wait_for(r"two \| new source")
    after = supervisor.processes(2, skip=2)
    assert all(map(is_gone, before))
    assert not any(map(is_gone, after))
    assert "reloading: two.py changed" in supervisor.output


def test_a_new_env_file_restarts_and_other_files_do_not(supervisor: Supervisor) -> None:
    supervisor.start(one=IDLE)
    supervisor.processes(1)
    (supervisor.folder / "notes.txt").write_text("not a source")
    (supervisor.folder / ".env").write_text("LOG_LEVEL=DEBUG")
    assert supervisor.wait_for("reloading: (.*) changed") == [".env"]
    supervisor.processes(1, skip=1)


def test_a_crash_is_reported_and_the_next_change_starts_it_again(supervisor: Supervisor) -> None:
    supervisor.start(one=BROKEN, two=IDLE)
    supervisor.wait_for("one exited with status 3; the next change of the source starts it again")
    (supervisor.folder / "one.py").write_text(IDLE)
    supervisor.wait_for(r"one \| pid")
    # Once at the start, and not again by itself in between.
    assert supervisor.output.count("one | starting") == 1


def test_a_misconfigured_program_waits_for_a_change_however_long_it_took_to_start(supervisor: Supervisor) -> None:
    fails_once = "import os\nif not os.path.exists('once'):\n    open('once', 'w').close()\n    raise SystemExit(3)\n"
    supervisor.start(settled=0, one="raise SystemExit(2)\n", two=fails_once + IDLE)
    supervisor.wait_for("one exited with status 2; the next change of the source starts it again")
    supervisor.wait_for("two exited with status 3; starting it again")
    supervisor.processes(1)


def test_a_killed_program_is_reported_by_its_signal_and_starts_again(supervisor: Supervisor) -> None:
    supervisor.start(one=IDLE)
    supervisor.processes(1)[0].kill()
    supervisor.wait_for("one was killed by SIGKILL; starting it again")
    [again] = supervisor.processes(1, skip=1)
    again.kill()
    [third] = supervisor.processes(1, skip=2)
    supervisor.send(signal.SIGINT)
    assert supervisor.ended() == 0
    assert is_gone(third)


def test_output_carries_the_programs_name_and_is_complete(supervisor: Supervisor) -> None:
    long = 3_000_000
    supervisor.start(
        web=f"import os, sys\nprint(os.environ['GIVEN'])\nsys.stderr.write('to stderr\\n')\nprint('x' * {long})\n",
        worker="print('last words', end='')\n",
    )
    supervisor.wait_for("web exited with status 0")
    supervisor.wait_for("worker exited with status 0")
    lines = supervisor.output.splitlines()
    assert "web    | by the runner" in lines
    assert "web    | to stderr" in lines
    assert "worker | last words" in lines
    assert supervisor.output.count("x") == long + supervisor.output.count("exited") + supervisor.output.count("next")


def test_a_program_that_is_missing_is_reported(supervisor: Supervisor) -> None:
    supervisor.start(one="import no_such_module\n")
    supervisor.wait_for("ModuleNotFoundError: No module named 'no_such_module'")
    supervisor.wait_for("one exited with status 1")
