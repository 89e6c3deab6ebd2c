"""Blocking calls in processes that were forked from one with connected queues, as by `gunicorn --preload`."""

from pathlib import Path

import pytest

from tests.fixtures import python

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("empty_redis")]

BACKEND = Path(__file__).resolve().parents[3]

BEGINNING = """
import asyncio, os, signal, sys, threading, warnings
warnings.simplefilter("error")
from saqueduct import ConfigurationError
from app.queue.catalog import TasksRegistry
from app.queue.tasks import my_task, ping
from app.shell import open_container
from app.users.models import User


def in_child(call):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        call()
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
"""


def run(environment: dict[str, str], script: str) -> list[str]:
    """What a script prints, which must end well and without a warning."""
    ended = python.run(["-c", BEGINNING + script], cwd=BACKEND, env=environment, timeout=120)
    assert (ended.stderr, ended.returncode) == ("", 0)
    return ended.stdout.splitlines()


def test_a_forked_process_connects_anew(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
container = open_container()
registry = container.get(TasksRegistry)
before = registry.ping.delay()

def child():
    print(before.status, registry.ping.delay().status, registry.ping())
    print(container.get(TasksRegistry).my_task.delay(user_id=1).status, ping.delay().status)
    print(container.run(container.queues.get("default").count, "queued"))
    in_child(lambda: print(registry.ping.delay().status))
    container.close()

in_child(child)
in_child(child)
print(before.status, registry.ping.delay().status)
container.close()
""",
    )
    one = ["PENDING PENDING {'result': 'pong'}", "PENDING PENDING"]
    assert lines == [*one, "4", "PENDING", *one, "8", "PENDING", "PENDING PENDING"]


def test_many_processes_forked_at_once_share_nothing(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
import multiprocessing
container = open_container()
registry = container.get(TasksRegistry)

def enqueue(number):
    for _ in range(20):
        registry.my_task.delay(user_id=number)

registry.ping.delay()
processes = [multiprocessing.get_context("fork").Process(target=enqueue, args=(number,)) for number in range(4)]
for process in processes: process.start()
for _ in range(20): registry.my_task.delay(user_id=9)
for process in processes: process.join(30)
print([process.exitcode for process in processes])
print(container.run(container.queues.get("default").count, "queued"))
""",
    )
    assert lines == ["[0, 0, 0, 0]", "101"]


def test_a_fork_while_other_threads_call_hangs_nobody(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
container = open_container()
registry = container.get(TasksRegistry)
stop = threading.Event()

def busy():
    while not stop.is_set():
        registry.ping.delay()

threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(5):
    in_child(lambda: print(registry.ping.delay().status))
stop.set()
for thread in threads: thread.join()
""",
    )
    assert lines == ["PENDING"] * 5


def test_a_fork_while_another_thread_opens_the_container_hangs_nobody(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
from saqueduct import Queues

parent, new_event_loop, connect = os.getpid(), asyncio.new_event_loop, Queues.connect
begun, forked = threading.Event(), threading.Event()
os.register_at_fork(after_in_parent=forked.set)

def begin():
    if os.getpid() == parent:
        # As asyncio holds it for the first event loop. A fork meanwhile would leave it so in the forked process.
        with asyncio.events._lock:
            begun.set()
            forked.wait(0.2)
    return new_event_loop()

async def connect_after_the_fork(queues):
    # Once they are connected, a forked process has a container.
    if os.getpid() == parent:
        await asyncio.to_thread(forked.wait)
    await connect(queues)

asyncio.new_event_loop, Queues.connect = begin, connect_after_the_fork
opening = threading.Thread(target=open_container)
opening.start()
begun.wait()

def child():
    with open_container() as own:
        print(own.get(TasksRegistry).ping.delay().status)

in_child(child)
opening.join()
print(ping.delay().status)
""",
    )
    assert lines == ["PENDING"] * 2


def test_a_fork_while_another_thread_waits_for_a_result_lets_both_go_on(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
from saqueduct import ResultTimeout
container = open_container()
registry = container.get(TasksRegistry)

def wait(result):
    try:
        result.get(timeout=2)
    except ResultTimeout:
        print("in time")

waiting = threading.Thread(target=wait, args=(registry.ping.delay(),))
waiting.start()
in_child(lambda: wait(registry.ping.delay()))
waiting.join()
""",
    )
    assert lines == ["in time"] * 2


def test_any_thread_may_fork_while_others_call_and_fork(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
container = open_container()
registry = container.get(TasksRegistry)

def forks():
    for _ in range(3):
        registry.ping.delay()
        in_child(lambda: registry.ping.delay())

threads = [threading.Thread(target=forks) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(container.run(container.queues.get("default").count, "queued"))
""",
    )
    assert lines == ["18"]


def test_a_fork_waits_for_what_the_event_loop_does(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
container = open_container()
lock, held = threading.Lock(), threading.Event()

async def hold():
    with lock:
        held.set()
        os.read(reading, 1)

reading, writing = os.pipe()
holding = threading.Thread(target=container.run, args=(hold,))
holding.start()
held.wait()
threading.Timer(0.2, os.write, (writing, b".")).start()
in_child(lambda: print(lock.locked()))
holding.join()
""",
    )
    assert lines == ["False"]


def test_a_callback_that_blocks_the_event_loop_delays_a_fork_but_forbids_none(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
from saqueduct.blocking import forking
forking.FORK_WAIT = 0.2
container = open_container()
registry = container.get(TasksRegistry)
reading, writing = os.pipe()
begun = threading.Event()

async def block():
    begun.set()
    os.read(reading, 1)

blocking = threading.Thread(target=container.run, args=(block,))
blocking.start()
begun.wait()
in_child(lambda: print(registry.ping.delay().status))
os.write(writing, b".")
blocking.join()
print(registry.ping.delay().status)
""",
    )
    assert lines == ["PENDING"] * 2


def test_a_forked_process_that_calls_nothing_ends_in_peace(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
container = open_container()
registry = container.get(TasksRegistry)
registry.ping.delay()
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    sys.exit(0)
print(os.waitpid(pid, 0)[1], registry.ping.delay().status)
""",
    )
    assert lines == ["0 PENDING"]


def test_a_fork_of_a_process_with_its_own_event_loop_gets_an_error_with_the_remedy(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
from saqueduct.blocking import Portal
from tests.fixtures.composition import build_queues
from app.container import build_container
from app.settings import load_settings

settings = load_settings()
queues = build_queues(settings)
container = build_container(settings, queues)

def child():
    for call in (registry.ping.delay, registry.ping, my_task.delay):
        try:
            call()
        except ConfigurationError as error:
            print("BlockingContainer" in str(error) or "not connected" in str(error))
    with open_container() as own:
        print(own.get(TasksRegistry).ping.delay().status, ping.delay().status)

async def main():
    global registry
    await queues.connect()
    registry = await container.get(TasksRegistry)
    await ping.enqueue()
    await asyncio.to_thread(in_child, child)
    print((await ping.enqueue()).created)
    await container.close()
    await queues.disconnect()

asyncio.run(main())
""",
    )
    assert lines == ["True", "True", "True", "PENDING PENDING", "True"]


def test_queues_that_were_connected_before_a_fork_are_not_awaited_after_it(environment: dict[str, str]) -> None:
    lines = run(
        environment,
        """
container = open_container()
registry = container.get(TasksRegistry)

async def enqueue():
    await ping.enqueue()

async def connect():
    await container.queues.connect()

def child():
    for call in (enqueue, connect):
        try:
            asyncio.run(call())
        except ConfigurationError as error:
            print(type(error).__name__)
    print(registry.ping.delay().status)

in_child(child)
""",
    )
    assert lines == ["OtherEventLoop", "ConfigurationError", "PENDING"]
