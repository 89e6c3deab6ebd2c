"""The pulse: the time for which the process is suspended counts for nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.fixtures.poll import eventually_sync

BACKEND = Path(__file__).resolve().parents[2]

PROGRAM = """
import asyncio
import time
from saqueduct.worker.loop_monitor import Pulse

pulse = Pulse(asyncio.new_event_loop())
pulse.start()
began, woken = time.monotonic(), pulse.awake()
print("started", flush=True)
uncertain = False
while (passed := time.monotonic() - began) < 4.0:
    uncertain = uncertain or pulse.certain() is None
    certain = pulse.certain()
    if certain is not None and certain - woken > 2.5:
        print("certain and wrong", certain - woken)
print(round(passed, 1), round(pulse.awake() - woken, 1))
"""


def test_a_suspended_process_knows_for_how_long_it_was(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM], cwd=BACKEND, stdout=output)
    try:
        eventually_sync(lambda: "started" in (tmp_path / "out").read_text())
        process.send_signal(signal.SIGSTOP)
        resume = time.monotonic() + 2.5
        eventually_sync(lambda: time.monotonic() > resume)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(20) == 0
    finally:
        process.kill()
    _, *told = (tmp_path / "out").read_text().splitlines()
    [figures] = told
    passed, awake = map(float, figures.split())
    assert passed >= 4.0
    assert passed - awake >= 2.0
