"""The pulse: the time for which the process is suspended counts for nothing."""

import os
import signal
import time
from pathlib import Path

import psutil

from tests.fixtures.poll import eventually_sync
from tests.fixtures.python import Python

BACKEND = Path(__file__).resolve().parents[2]

PROGRAM = """
import asyncio
import os
import signal
import time
from saqueduct.worker.loop_monitor import Pulse

pulse = Pulse(asyncio.new_event_loop())
pulse.start()
began, woken = time.monotonic(), pulse.awake()
time.sleep(0.5)
print("started", flush=True)
suspended = time.monotonic()
os.kill(os.getpid(), signal.SIGSTOP)
resumed = time.monotonic()
while time.monotonic() < resumed + 1.5:
    certain = pulse.certain()
    passed = time.monotonic() - began
    # The thread may just have woken when the process was suspended.
    if certain is not None and certain - woken > passed - (resumed - suspended) + 0.5:
        print("certain and wrong", certain - woken)
print(resumed - suspended, passed - (pulse.awake() - woken))
"""


def test_a_suspended_process_knows_for_how_long_it_was(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output:
        process = Python(["-c", PROGRAM], cwd=BACKEND, stdout=output)
    try:
        eventually_sync(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        resume = time.monotonic() + 2.5
        eventually_sync(lambda: time.monotonic() > resume)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 0
    finally:
        process.kill()
    _, *reported = (tmp_path / "out").read_text().splitlines()
    [figures] = reported
    suspended, noticed = map(float, figures.split())
    assert suspended >= 2.5
    assert noticed >= suspended - 0.5
