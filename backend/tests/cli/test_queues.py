"""`queues`: numbers, watching, pausing, resuming and draining."""

import datetime as dt
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.queue.tasks import my_task
from saqueduct import Context, Queues, task
from saqueduct.postgres.models import OutboxJob
from tests.cli.conftest import APP, Cli, JsonCli, Record
from tests.fixtures.poll import eventually
from tests.processes.stack import process

STATS = ("-m", "saqueduct.cli", "--app", APP, "queues", "stats", "--watch", "--every", "0.1s")


async def test_a_queue_is_reported_in_numbers(
    cli: Cli, cli_json: JsonCli, queues: Queues, record: Record, session: AsyncSession
) -> None:
    for number in range(2):
        await my_task.enqueue(user_id=number)
    await my_task.options(delay=60).enqueue(user_id=3)
    await record("one")
    await record("good", status="complete", error=None)
    session.add(OutboxJob(queue="default", key="k", queued=1, job="{}", durable=False))
    await session.commit()
    [found] = (await cli_json("queues", "stats"))["queues"]
    oldest = found.pop("oldest")
    assert found == {
        "name": "default", "queued": 2, "active": 0, "scheduled": 1, "workers": 0, "dead": 1, "outbox": 1,
        "paused": None,
    }  # fmt: skip
    assert 0 <= oldest < 60
    shown, _ = await cli("queues", "stats", "default")
    assert shown.splitlines()[0].split() == [
        "Queue",
        "Queued",
        "Active",
        "Delayed",
        "Workers",
        "Dead",
        "Outbox",
        "Oldest",
    ]
    assert shown.splitlines()[1].split()[:7] == ["default", "2", "0", "1", "0", "1", "1"]


async def test_a_queue_is_paused_and_resumed(cli: Cli, cli_json: JsonCli, queues: Queues) -> None:
    shown, _ = await cli("queues", "pause", "default", "--by", "ada", "--why", "mail is down")
    assert shown.startswith("paused default by ada since ")
    assert shown.endswith(": mail is down\n")
    [found] = (await cli_json("queues", "stats"))["queues"]
    assert (found["paused"]["by"], found["paused"]["why"]) == ("ada", "mail is down")
    assert dt.datetime.fromisoformat(found["paused"]["since"]).utcoffset() == dt.timedelta(0)
    shown, _ = await cli("queues", "stats")
    assert "default is paused by ada since " in shown
    assert await cli_json("queues", "resume", "default") == {"name": "default", "was_paused": True}
    assert await cli("queues", "resume", "default") == ("default was not paused\n", "")


async def test_a_queue_is_drained_once_nothing_runs(
    cli: Cli, cli_json: JsonCli, queues: Queues, worker: Callable[[], Any], own_tasks: None
) -> None:
    @task(timeout=60)
    async def linger(ctx: Context) -> None:
        while not await queues.get("default").redis.exists("go on"):
            pass

    queue = queues.get("default")
    async with worker():
        job = await linger.enqueue()

        async def runs() -> bool:
            return await queue.count("active") == 1

        await eventually(runs)
        shown, _ = await cli("queues", "drain", "default", "--timeout", "0.2s", status=1)
        assert shown == "paused default; 1 still active after 200ms\n"
        await queue.redis.set("go on", 1)
        assert await cli_json("queues", "drain", "default", "--timeout", "30s") == {"name": "default", "active": 0}
        assert await job.done()
    assert await queue.paused() is not None


async def test_an_unknown_queue_is_reported(cli: Cli) -> None:
    for verb in ("stats", "pause", "resume", "drain"):
        _, stderr = await cli("queues", verb, "nope", status=1)
        assert stderr == "error: there is no queue 'nope'; there are: default\n"


async def test_watching_goes_on_until_an_interrupt(
    environment: dict[str, str], queues: Queues, session: AsyncSession, tmp_path: Path
) -> None:
    with process((*STATS, "--json"), environment, tmp_path / "json.log") as watching:
        await eventually(lambda: watching.output.count("\n") >= 2)
        assert watching.stop(signal.SIGINT) == 0
    lines = [json.loads(line) for line in watching.output.splitlines()]
    assert [line["queues"][0]["queued"] for line in lines[:2]] == [0, 0]
    assert lines[0]["at"] < lines[1]["at"]
    with process(STATS, environment, tmp_path / "table.log") as watching:
        await eventually(lambda: "Queued" in watching.output)
        assert watching.stop(signal.SIGINT) == 0
    assert "Traceback" not in watching.output
