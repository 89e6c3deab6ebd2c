"""Processes without an event loop: scripts and shells."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.queue.catalog import TasksRegistry
from app.settings import Settings
from app.shell import open_container
from saqueduct import ConfigurationError
from saqueduct.blocking import BlockingContainer
from saqueduct.testing import WorkerFixture
from tests.fixtures.poll import eventually_sync


def test_a_script_calls_through_a_background_thread(shell: BlockingContainer, worker: WorkerFixture) -> None:
    registry = shell.get(TasksRegistry)
    assert shell.get(TasksRegistry) is registry
    with worker():
        result = registry.cleanup_sessions.delay(days_old=7).get(timeout=60)
        assert result["deleted_count"] == 0
    assert registry.todo_cleanup(days=3) == {"deleted_count": 0}


def test_one_connection_a_process(shell: BlockingContainer, settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="connected already"):
        open_container(settings)


def test_a_closed_container_leaves_no_thread_and_says_so(settings: Settings) -> None:
    with open_container(settings) as container:
        registry = container.get(TasksRegistry)
        result = registry.ping.delay()
    container.close()
    assert "queues" not in {thread.name for thread in threading.enumerate()}
    for call in (registry.ping.delay, result.ready):
        with pytest.raises(ConfigurationError, match="not connected to a running event loop"):
            call()
    with pytest.raises(ConfigurationError, match="has ended"):
        container.get(TasksRegistry)


@pytest.mark.usefixtures("empty_redis")
def test_a_loop_that_ends_answers_those_who_wait(settings: Settings) -> None:
    container = open_container(settings)
    result = container.get(TasksRegistry).ping.delay()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(result.get, 30)
        eventually_sync(lambda: waiting.running())
        container.close()
        with pytest.raises(ConfigurationError, match="has ended"):
            waiting.result(10)


BACKEND = Path(__file__).resolve().parents[3]

SCRIPT = """
import atexit, logging, threading
atexit.register(lambda: print(*(thread.name for thread in threading.enumerate())))

from app.queue.catalog import TasksRegistry
from app.shell import open_container
from app.users.models import User

# Not how long callbacks take, which is a warning.
logging.getLogger("asyncio").setLevel(logging.ERROR)
container = open_container()
registry = container.get(TasksRegistry)
print(registry.ping(), registry.ping.delay().status)
"""


def test_a_script_that_closes_nothing_ends_without_a_word(environment: dict[str, str]) -> None:
    script = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT],
        cwd=BACKEND,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (script.stdout, script.stderr, script.returncode) == ("{'result': 'pong'} PENDING\nMainThread\n", "", 0)
