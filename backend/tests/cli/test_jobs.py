"""`jobs`: lists out of Redis and of the records, everything about one, retry and abort."""

import datetime as dt
from collections.abc import Callable
from typing import Any

from app.queue.tasks import my_task
from saqueduct import Context, Queues, task
from tests.cli.conftest import Cli, JsonCli, Record
from tests.fixtures.poll import eventually

HOSTILE = "[bold]\x1b[2J\x1b]0;title\x07 \u202egnp.exe \x9b31m\nsecond"


def keys(answer: Any) -> list[str]:
    return [job["key"] for job in answer["jobs"]]


async def test_records_are_listed_newest_first_and_filtered(cli_json: JsonCli, record: Record) -> None:
    await record("old", queued_at=dt.datetime.now(dt.UTC) - dt.timedelta(hours=3), arguments={"user_id": 7})
    await record("new", queued_at=dt.datetime.now(dt.UTC) - dt.timedelta(hours=1), arguments={"user_id": 7, "to": "a"})
    await record("text", queued_at=dt.datetime.now(dt.UTC), arguments={"user_id": "7"}, tags=["vip"])
    await record("good", queued_at=dt.datetime.now(dt.UTC), status="complete", error=None, arguments={"user_id": 7})
    of_seven = ("jobs", "list", "--task", "my_task", "--status", "failed", "--arg", "user_id=7")
    assert keys(await cli_json(*of_seven)) == ["new", "old"]
    assert keys(await cli_json(*of_seven, "--since", "2h")) == ["new"]
    assert keys(await cli_json(*of_seven, "--until", "2h")) == ["old"]
    assert keys(await cli_json("jobs", "list", "--arg", 'user_id="7"')) == ["text"]
    assert keys(await cli_json("jobs", "list", "--tag", "vip")) == ["text"]
    assert keys(await cli_json("jobs", "list", "--status", "complete")) == ["good"]
    assert keys(await cli_json("jobs", "list", "--error", "valueerror", "--limit", "1")) == ["text"]


async def test_a_misspelled_task_of_a_filter_is_noted(cli: Cli, record: Record) -> None:
    await record("of-an-old-task", task="old_task")
    shown, stderr = await cli("jobs", "list", "--task", "my_tsk")
    assert (shown, stderr) == ("", "there is no task named 'my_tsk'; did you mean my_task?\nno jobs match\n")
    shown, stderr = await cli("jobs", "list", "--task", "old_task")
    assert "of-an-old-task" in shown
    assert "there is no task named 'old_task'" in stderr


async def test_pages_follow_each_other_to_the_end(cli: Cli, cli_json: JsonCli, record: Record) -> None:
    for number in range(5):
        await record(f"job-{number}")
    first = await cli_json("jobs", "list", "--limit", "3")
    second = await cli_json("jobs", "list", "--limit", "3", "--cursor", first["cursor"])
    assert (keys(first), keys(second)) == (["job-4", "job-3", "job-2"], ["job-1", "job-0"])
    assert second["cursor"] is None
    _, stderr = await cli("jobs", "list", "--limit", "3")
    assert stderr == f"more: --cursor {first['cursor']}\n"


async def test_jobs_that_have_not_ended_come_from_redis(cli_json: JsonCli, queues: Queues) -> None:
    for number in range(3):
        await my_task.options(key=f"waits-{number}").enqueue(user_id=number)
    await my_task.options(key="first", priority="high").enqueue(user_id=1)
    await my_task.options(key="later", delay=3600).enqueue(user_id=1)
    in_line = ["first", "waits-0", "waits-1", "waits-2"]
    assert keys(await cli_json("jobs", "list", "--status", "queued")) == [*in_line, "later"]
    found = keys(await cli_json("jobs", "list", "--status", "queued", "--arg", "user_id=1"))
    assert found == ["first", "waits-1", "later"]
    [later] = (await cli_json("jobs", "list", "--delayed"))["jobs"]
    due = dt.datetime.fromisoformat(later["due_at"])
    assert (later["key"], later["status"]) == ("later", "queued")
    assert 3500 < (due - dt.datetime.now(dt.UTC)).total_seconds() < 3605
    assert due.utcoffset() == dt.timedelta(0)
    assert await cli_json("jobs", "list") == {"jobs": [], "cursor": None, "searched_since": None}


async def test_delayed_jobs_are_queued_ones(cli: Cli) -> None:
    _, stderr = await cli("jobs", "list", "--delayed", "--status", "failed", status=2)
    assert "--delayed goes with --status queued, not failed" in stderr
    _, stderr = await cli("jobs", "list", "--status", "delayed", status=2)
    assert "'delayed' is not one of 'queued', 'active', 'aborting', 'complete', 'failed', 'aborted'" in stderr


async def test_pages_out_of_redis_follow_each_other_over_the_levels(cli_json: JsonCli, queues: Queues) -> None:
    for number in range(3):
        await my_task.options(key=f"waits-{number}").enqueue(user_id=number)
    await my_task.options(key="last", priority="low").enqueue(user_id=1)
    first = await cli_json("jobs", "list", "--status", "queued", "--limit", "2")
    second = await cli_json("jobs", "list", "--status", "queued", "--limit", "2", "--cursor", first["cursor"])
    assert [*keys(first), *keys(second)] == ["waits-0", "waits-1", "waits-2", "last"]
    assert second["cursor"] is None


async def test_a_running_job_is_listed_as_active(
    cli_json: JsonCli, worker: Callable[[], Any], own_tasks: None, queues: Queues
) -> None:
    @task(timeout=60)
    async def linger(ctx: Context) -> None:
        import asyncio

        await asyncio.Event().wait()

    async with worker():
        job = await linger.enqueue()

        async def active() -> bool:
            return keys(await cli_json("jobs", "list", "--status", "active")) == [job.key]

        await eventually(active)
        assert await cli_json("jobs", "abort", job.key, "--why", "no longer needed") == {
            "aborted": [job.key],
            "refused": {},
        }
        await eventually(job.done)
    assert "no longer needed" in ((await job.refresh()).error or "")


async def test_a_job_is_shown_with_its_attempts_and_its_replays(cli: Cli, cli_json: JsonCli, record: Record) -> None:
    attempts = [
        {"attempt": number, "error": f"ValueError: at {number}", "worker": "w", "started": 1000, "ended": 2000}
        for number in (1, 2)
    ]
    await record("first", errors=attempts, attempts=2, parent="mother", resolution="replayed", resolved_by="ada",
                 resolved_why="fixed", replayed_as="again")  # fmt: skip
    await record("again", status="complete", error=None, replay_of="first")
    answer = await cli_json("jobs", "show", "first")
    assert (answer["redis"], keys({"jobs": answer["records"]}), keys({"jobs": answer["replays"]})) == (
        None,
        ["first"],
        ["again"],
    )
    assert answer["records"][0]["errors"][1]["ended_at"] == "1970-01-01T00:00:02Z"
    shown, _ = await cli("jobs", "show", "first")
    for words in ("ValueError: at 1", "ValueError: at 2", "mother", "replayed by ada", ": fixed", "again"):
        assert words in shown
    shown, _ = await cli("jobs", "show", "again")
    assert "replay of" in shown


async def test_a_job_of_both_redis_and_records_is_shown_once(
    cli: Cli, cli_json: JsonCli, worker: Callable[[], Any], queues: Queues
) -> None:
    async with worker():
        job = await my_task.enqueue(user_id=7)
        await job.result(timeout=60)

        async def recorded() -> bool:
            return bool((await cli_json("jobs", "list"))["jobs"])

        await eventually(recorded)
    shown, _ = await cli("jobs", "show", job.key)
    assert shown.count(job.key) == 1
    assert "in Redis, recorded" in shown
    assert "attempts   1 of 1" in shown


async def test_an_unknown_key_is_reported_in_one_line(cli: Cli) -> None:
    stdout, stderr = await cli("jobs", "show", "nope", status=1)
    assert (stdout, stderr.count("\n")) == ("", 1)
    assert "error: no job has the key 'nope', neither in Redis nor in the records" in stderr


async def test_an_ended_job_is_retried_and_what_cannot_be_does_not_stop_the_others(
    cli: Cli, cli_json: JsonCli, queues: Queues
) -> None:
    ended, waits = [await my_task.options(key=key).enqueue(user_id=1) for key in ("ended", "waits")]
    await queues.abort(ended.key)
    stdout, stderr = await cli("jobs", "retry", "nope", waits.key, ended.key, status=1)
    assert stdout == "retried ended\n"
    assert "there is no job with the key 'nope'" in stderr
    assert "the job 'waits' is queued and cannot be retried" in stderr
    assert sorted(keys(await cli_json("jobs", "list", "--status", "queued"))) == ["ended", "waits"]


async def test_texts_of_jobs_cannot_steer_the_terminal(cli: Cli, record: Record) -> None:
    await record("hostile", error=HOSTILE, task=f"task{HOSTILE}", tags=[HOSTILE])
    for command in (("jobs", "list"), ("jobs", "show", "hostile"), ("jobs", "list", "--json"), ("dead", "list")):
        shown, _ = await cli(*command)
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(shown), command
        assert "[bold]" in shown


async def test_redacted_arguments_are_not_shown(cli: Cli, own_tasks: None, queues: Queues) -> None:
    @task(redact=("password",))
    async def log_in(ctx: Context, *, user: str, password: str) -> None: ...

    job = await log_in.enqueue(user="ada", password="swordfish")
    for command in (("jobs", "list", "--status", "queued", "--json"), ("jobs", "show", job.key)):
        shown, _ = await cli(*command)
        assert "ada" in shown
        assert "swordfish" not in shown
        assert "[redacted]" in shown
    shown, _ = await cli("jobs", "list", "--status", "queued", "--arg", "password=swordfish")
    assert shown == ""


async def test_a_strange_cursor_is_refused(cli: Cli) -> None:
    for status in ("failed", "queued"):
        _, stderr = await cli("jobs", "list", "--status", status, "--cursor", "!", status=1)
        assert stderr == "error: cursor: use the value from the previous page, or leave it out for the first page\n"


async def test_no_job_that_somebody_put_into_redis_breaks_a_list(cli: Cli, cli_json: JsonCli, queues: Queues) -> None:
    queue = queues.get("default")
    for number, fields in enumerate(
        ('"scheduled": 1e12', '"progress": NaN', '"queued": 1e30', '"kwargs": [1]', '"error": "\\udce9"', '"meta": 5')
    ):
        job_id = queue.job_id(f"odd-{number}")
        stored = f'{{"queue": "default", "key": "odd-{number}", "function": "my_task", "status": "queued", {fields}}}'
        await queue.redis.set(job_id, stored)
        await queue.redis.zadd(queue.namespace("incomplete"), {job_id: 1e12 + number})
    found = await cli_json("jobs", "list", "--delayed")
    assert keys(found) == [f"odd-{number}" for number in range(6)]
    assert [job["task"] for job in found["jobs"]].count("(unreadable)") == 1
    shown, _ = await cli("jobs", "list", "--delayed")
    assert "odd-5" in shown
    for number in range(6):
        assert f"odd-{number}" in (await cli("jobs", "show", f"odd-{number}"))[0]
