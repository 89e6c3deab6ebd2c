"""`schedules`: the list, triggering, pausing and resuming."""

from saqueduct import Queues
from tests.cli.conftest import Cli, JsonCli


async def test_every_schedule_is_listed(cli: Cli, cli_json: JsonCli, queues: Queues) -> None:
    found = {each["key"]: each for each in (await cli_json("schedules", "list"))["schedules"]}
    assert found.keys() == {state.key for state in await queues.schedules()}
    assert (found["ping"]["timing"], found["ping"]["next_tick"], found["ping"]["paused"]) == ("* * * * *", None, None)
    shown, _ = await cli("schedules", "list")
    assert "when a worker runs" in shown


async def test_a_schedule_is_triggered(cli: Cli, cli_json: JsonCli, queues: Queues) -> None:
    answer = await cli_json("schedules", "trigger", "batch_process")
    assert answer["created"]
    assert (await queues.find(answer["key"])).kwargs == {"batch_size": 100}
    shown, _ = await cli("schedules", "trigger", "batch_process")
    assert shown == f"exists already: {answer['key']}\n"
    shown, _ = await cli("schedules", "list")
    assert answer["key"] in shown


async def test_a_schedule_is_paused_and_resumed(cli: Cli, cli_json: JsonCli, queues: Queues) -> None:
    answer = await cli_json("schedules", "pause", "ping", "--by", "ada", "--why", "noise")
    assert (answer["paused"]["by"], answer["paused"]["why"]) == ("ada", "noise")
    assert answer["paused"]["since"].endswith("Z")
    shown, _ = await cli("schedules", "list")
    assert "ping is paused by ada since " in shown
    assert ": noise\n" in shown
    assert await cli("schedules", "resume", "ping") == ("resumed ping\n", "")
    assert await cli("schedules", "resume", "ping") == ("ping was not paused\n", "")


async def test_an_unknown_schedule_is_reported(cli: Cli) -> None:
    for verb in ("trigger", "pause", "resume"):
        _, stderr = await cli("schedules", verb, "pong", status=1)
        assert stderr.startswith("error: there is no schedule 'pong'; did you mean 'ping'?")
