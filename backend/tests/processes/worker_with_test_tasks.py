"""The worker process, with tasks that only these tests need."""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time

from app.worker import main
from saqueduct import Context, scheduled_task, task
from saqueduct.broker.connections import blocking_client


@task(timeout=60)
async def wait_for_key(ctx: Context, *, name: str) -> str:
    """Runs until something is pushed to the list `name` in Redis."""
    redis = ctx["queue"].redis  # type: ignore[attr-defined]
    await redis.rpush(f"{name}:started", ctx["job"].attempts)
    await redis.blpop([name], timeout=0)
    return "done"


@task(timeout=3)
async def nap(ctx: Context, *, name: str) -> str:
    """Tells that it has begun, and takes a second, a bit at a time."""
    await ctx["queue"].redis.rpush(f"{name}:started", ctx["job"].attempts)  # type: ignore[attr-defined]
    for _ in range(10):
        await asyncio.sleep(0.1)
    return "rested"


@task(timeout=30)
async def hold_the_loop(ctx: Context, *, seconds: float) -> str:
    """Lets no other job of its worker go on; returns the worker."""
    time.sleep(seconds)  # noqa: ASYNC251  (that is what is tested)
    return str(ctx["worker"].id)


@task(timeout=60)
async def hold_the_loop_until_all_are_taken(ctx: Context, *, count: int) -> str:
    """Lets no other job of its worker go on until workers have taken so many together; returns the worker."""
    with blocking_client(ctx["queue"].redis) as client:  # type: ignore[attr-defined]
        while not client.exists("all taken"):
            if client.zcard("saq:default:leases") == count:
                client.set("all taken", 1)
            time.sleep(0.01)  # noqa: ASYNC251  (it is to block)
    return str(ctx["worker"].id)


@task
async def leave(ctx: Context) -> None:
    """Takes itself for a program."""
    sys.exit(9)


@task
def leave_in_a_thread(ctx: Context) -> None:
    """The same in a thread."""
    sys.exit(9)


@task
async def leave_in_a_group(ctx: Context) -> None:
    """The same in a child task."""
    async with asyncio.TaskGroup() as group:
        group.create_task(leave(ctx))


@task
def hang_in_a_thread(ctx: Context) -> None:
    """Reports that it has begun, and never ends."""
    with blocking_client(ctx["queue"].redis) as client:  # type: ignore[attr-defined]
        client.rpush("hung", ctx["job"].key)
    threading.Event().wait()


@task(timeout=30)
def terminate_a_child(ctx: Context) -> int | None:
    """Starts a process as `multiprocessing` does, and ends it by a signal; returns how that ended."""
    child = multiprocessing.get_context("fork").Process(target=threading.Event().wait)
    child.start()
    child.terminate()
    child.join(10)
    ended = child.exitcode
    child.kill()
    return ended


@task(timeout=30)
async def fork_and_leave(ctx: Context, *, exits: bool) -> int:
    """Forks a process that comes back to the worker's own code; returns how that ended."""
    child = os.fork()
    if not child:
        if exits:
            sys.exit(7)
        return 0
    return await _ends(child)


@task(timeout=30)
def fork_and_leave_in_a_thread(ctx: Context, *, exits: bool) -> int:
    """The same in a thread."""
    child = os.fork()
    if not child:
        if exits:
            sys.exit(7)
        return 0
    return asyncio.run(_ends(child))


async def _ends(child: int) -> int:
    """The exit status of a process; one that does not end is killed."""
    for _ in range(100):
        ended, status = os.waitpid(child, os.WNOHANG)  # noqa: ASYNC222  (it does not wait)
        if ended:
            return os.waitstatus_to_exitcode(status)
        await asyncio.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    return -signal.SIGKILL


@scheduled_task(cron="* * * * * *", kwargs={"name": "ticked"})
async def tick(ctx: Context, *, name: str = "by hand") -> str:
    """Every second: counts its runs in Redis."""
    await ctx["queue"].redis.incr(name)  # type: ignore[attr-defined]
    return name


if __name__ == "__main__":
    main()
