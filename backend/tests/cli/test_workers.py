"""`workers list`."""

from collections.abc import Callable
from typing import Any

from app.queue.tasks import my_task
from saqueduct import Queues
from tests.cli.conftest import Cli, JsonCli
from tests.fixtures.poll import eventually


async def test_without_a_worker_it_says_so(cli: Cli) -> None:
    assert await cli("workers", "list") == ("", "no worker is live\n")


async def test_a_live_worker_is_listed_with_what_it_has_done(
    cli: Cli, cli_json: JsonCli, worker: Callable[[], Any]
) -> None:
    async with worker():
        await (await my_task.enqueue(user_id=1)).result(10)
        [queue] = {view["queue"] for view in (await eventually(lambda: _listed(cli_json)))}
        assert queue == "default"
        stdout, _ = await cli("workers", "list", "--queue", "default")
        assert "Complete" in stdout


async def test_a_queue_that_there_is_not_is_an_error(cli: Cli) -> None:
    _, stderr = await cli("workers", "list", "--queue", "nowhere", status=1)
    assert "nowhere" in stderr


async def _listed(cli_json: JsonCli) -> list[dict[str, Any]]:
    answer = await cli_json("workers", "list")
    assert answer["problems"] == []
    return list(answer["workers"])


async def test_a_worker_is_paused_and_resumed(
    cli: Cli, cli_json: JsonCli, worker: Callable[[], Any], queues: Queues
) -> None:
    async with worker():
        [view] = await eventually(lambda: _listed(cli_json))
        await eventually(queues.workers.processes)
        assert "slow" in (await cli("workers", "pause", view["id"], "--why", "slow"))[0]
        assert "is paused by" in (await cli("workers", "list"))[0]
        assert await cli("workers", "resume", view["id"]) == (f"resumed {view['id']}\n", "")
        assert await cli("workers", "resume", view["id"]) == (f"{view['id']} was not paused\n", "")
