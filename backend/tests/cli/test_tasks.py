"""`tasks`: the list, and enqueue."""

from collections.abc import Callable
from typing import Any

from saqueduct import Context, Queues, get_registry, task
from tests.cli.conftest import Cli, JsonCli


async def test_every_task_is_listed_with_what_differs_from_the_defaults(cli: Cli, cli_json: JsonCli) -> None:
    shown, _ = await cli("tasks", "list")
    [row] = [line for line in shown.splitlines() if line.startswith("cleanup_sessions ")]
    assert "30 2 * * *" in row
    assert "timeout=60 retries=8 retry_delay=30" in shown
    found = {each["name"]: each for each in (await cli_json("tasks", "list"))["tasks"]}
    assert found.keys() == {task.name for task in get_registry().get_all_tasks()}
    assert found["my_task"]["parameters"]["required"] == ["user_id"]
    assert found["cleanup_sessions"]["options"]["timeout"] == 600


async def test_a_job_is_enqueued_by_name_with_pairs_or_json(cli: Cli, cli_json: JsonCli, queues: Queues) -> None:
    by_pairs = await cli_json("tasks", "enqueue", "my_task", "user_id=7", "--key", "seven")
    assert by_pairs == {"key": "seven", "job_id": "seven", "created": True}
    assert (await queues.find("seven")).kwargs == {"user_id": 7}
    by_json = await cli_json("tasks", "enqueue", "my_task", '{"user_id": 8}', "--delay", "1h")
    job = await queues.find(by_json["key"])
    assert job.kwargs == {"user_id": 8}
    assert [each["key"] for each in (await cli_json("jobs", "list", "--delayed"))["jobs"]] == [job.key]
    assert await cli("tasks", "enqueue", "my_task", "user_id=9", "--key", "seven") == ("exists already: seven\n", "")


async def test_values_are_read_as_the_parameter_takes_them(cli_json: JsonCli, queues: Queues, own_tasks: None) -> None:
    @task
    async def label(ctx: Context, *, text: str, count: int | None = None, names: list[str] | None = None) -> None: ...

    answer = await cli_json("tasks", "enqueue", "label", "text=007", "count=3", 'names=["a", "b"]')
    assert (await queues.find(answer["key"])).kwargs == {"text": "007", "count": 3, "names": ["a", "b"]}
    answer = await cli_json("tasks", "enqueue", "label", 'text="007"')
    assert (await queues.find(answer["key"])).kwargs == {"text": "007"}
    answer = await cli_json("tasks", "enqueue", "label", "text=a=b", "count=null")
    assert (await queues.find(answer["key"])).kwargs == {"text": "a=b", "count": None}


async def test_what_is_wrong_with_a_call_is_reported_in_one_line(cli: Cli) -> None:
    for arguments, words in (
        (("my_tusk",), "there is no task named 'my_tusk'; did you mean my_task"),
        (("my_task",), "invalid arguments for my_task: user_id: missing"),
        (("my_task", "user_id=x"), "user_id: Expected `int`, got `str`"),
        (("my_task", "user_id=1", "user_id=2"), "user_id given twice"),
        (("my_task", "{"), "invalid arguments for my_task: JSON: "),
        (("my_task", '{"user_id": "\udcff"}'), "invalid arguments for my_task: JSON: "),
        (("my_task", "user_id=\udcff"), "a lone surrogate is not valid text"),
        (("my_task", '{"user_id": ' + "[" * 5_000 + "]" * 5_000 + "}"), "JSON: the JSON is nested too deep"),
        (("my_task", "user_id=1", "--queue", "nope"), "there is no queue 'nope'; there are: default"),
    ):
        stdout, stderr = await cli("tasks", "enqueue", *arguments, status=1)
        assert (stdout, stderr.count("\n")) == ("", 1)
        assert words in stderr
    _, stderr = await cli("tasks", "enqueue", "my_task", "7", status=2)
    assert "'7' is not of the form name=value" in stderr


async def test_the_result_can_be_waited_for(cli: Cli, cli_json: JsonCli, worker: Callable[[], Any]) -> None:
    async with worker():
        shown, noted = await cli("tasks", "enqueue", "my_task", "user_id=7", "--key", "seven", "--wait")
        assert shown == '{"status":"success","user_id":7}\n'
        assert noted == "enqueued seven\n"
        answer = await cli_json("tasks", "enqueue", "my_task", "user_id=8", "--wait")
        assert answer["result"] == {"status": "success", "user_id": 8}
        _, stderr = await cli("tasks", "enqueue", "capture_payment", "payment_id=99", "--wait", "--key", "k", status=1)
        assert stderr.endswith(
            "error: the job 'k' of capture_payment failed: saqueduct.errors.GiveUp: there is no payment 99\n"
        )


async def test_a_wait_that_is_too_short_tells_why(cli: Cli, queues: Queues) -> None:
    waiting = ("tasks", "enqueue", "my_task", "user_id=7", "--wait", "--timeout", "50ms", "--key", "k")
    _, stderr = await cli(*waiting, status=1)
    assert "the job 'k' has not ended within 50ms: it is queued, no worker of its queue is live; it goes on" in stderr
    await queues.get("default").pause()
    _, stderr = await cli(*waiting, status=1)
    assert "it is queued, its queue is paused" in stderr
