"""`dead`: lists, replays and discards, one by one and many at once."""

import os
import pty
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue.tasks import my_task
from saqueduct import Context, Queues, Unique, task
from saqueduct.postgres import dead_letters
from tests.cli.conftest import APP, Cli, JsonCli, Record
from tests.fixtures.poll import eventually
from tests.fixtures.python import Python
from tests.processes.stack import BACKEND, process


async def resolutions(session: AsyncSession) -> dict[str, tuple[str, str, str] | None]:
    rows = await session.execute(text("SELECT key, resolution, resolved_by, resolved_why FROM job_records"))
    await session.rollback()
    return {key: (what, by, why) if what else None for key, what, by, why in rows}


async def test_only_dead_letters_are_listed_newest_first(cli: Cli, cli_json: JsonCli, record: Record) -> None:
    await record("one")
    await record("two", error='Traceback (most recent call last):\n  File "x", line 1, in f\nsmtplib.Refused: no')
    await record("good", status="complete", error=None)
    await record("done with", resolution="discarded")
    assert [job["key"] for job in (await cli_json("dead", "list"))["jobs"]] == ["two", "one"]
    assert [job["key"] for job in (await cli_json("dead", "list", "--error", "REFUSED"))["jobs"]] == ["two"]
    shown, _ = await cli("dead", "list")
    assert "Refused: no" in shown
    assert "Traceback" not in shown


async def test_a_dead_letter_is_shown_and_another_job_is_not(cli: Cli, record: Record) -> None:
    await record("one", error="Traceback (most recent call last):\n  ...\nValueError: no")
    await record("good", status="complete", error=None)
    shown, _ = await cli("dead", "show", "one")
    assert "  Traceback (most recent call last):\n" in shown
    _, stderr = await cli("dead", "show", "good", status=1)
    assert stderr == "error: there is no dead letter with the key 'good'; `dead list` lists them\n"


async def test_the_audit_does_not_count_those_for_which_another_job_exists(
    cli_json: JsonCli, record: Record, queues: Queues, own_tasks: None
) -> None:
    @task(unique=Unique(by=("user_id",)))
    async def rebuild(ctx: Context, *, user_id: int) -> None: ...

    for key, user_id in (("one", 1), ("two", 2)):
        await record(key, task="rebuild", arguments={"user_id": user_id})
    await rebuild.options(delay=3600).enqueue(user_id=1)
    answer = await cli_json("dead", "replay", "--all", "--yes", "--by", "ada", status=1)
    assert (answer["replayed"], list(answer["refused"])) == (1, ["one"])
    [entry] = (await cli_json("audit", "list", "--action", "replay"))["entries"]
    assert entry["count"] == 1
    of = {key: (await cli_json("audit", "list", "--target", key))["entries"] for key in ("one", "two")}
    assert {key: len(entries) for key, entries in of.items()} == {"one": 0, "two": 1}


async def test_a_dead_letter_is_replayed_with_another_argument(
    cli: Cli, cli_json: JsonCli, record: Record, queues: Queues, session: AsyncSession
) -> None:
    await record("one")
    answer = await cli_json("dead", "replay", "one", "--set", "user_id=9", "--why", "fixed", "--by", "ada")
    job = await queues.find(answer["replayed"]["one"])
    assert (job.kwargs, job.status.value) == ({"user_id": 9}, "queued")
    assert await resolutions(session) == {"one": ("replayed", "ada", "fixed")}
    refused = await cli_json("dead", "replay", "one", status=1)
    assert (refused["replayed"], list(refused["refused"])) == ({}, ["one"])
    _, stderr = await cli("dead", "replay", "one", status=1)
    assert "error: the job 'one' is already replayed and cannot be replayed or discarded again" in stderr


async def test_a_redacted_argument_must_be_given_anew(
    cli: Cli, cli_json: JsonCli, record: Record, queues: Queues, own_tasks: None
) -> None:
    @task(redact=("password",))
    async def log_in(ctx: Context, *, password: str) -> None: ...

    # The command has a registry in common with this test.
    await record("one", task="log_in", arguments={"password": "[redacted]"})
    _, stderr = await cli("dead", "replay", "one", status=1)
    assert "password: is redacted and was not kept: pass it again" in stderr
    assert "pass it again, with --set password=VALUE" in stderr
    answer = await cli_json("dead", "replay", "one", "--set", "password=123")
    assert (await queues.find(answer["replayed"]["one"])).kwargs == {"password": "123"}


async def test_many_are_replayed_and_run(
    cli: Cli, record: Record, session: AsyncSession, worker: Callable[[], Any]
) -> None:
    for number in range(10):
        await record(f"{number}")
    await record("other", task="ping", arguments=None)
    async with worker():
        shown, _ = await cli("dead", "replay", "--task", "my_task", "--rate", "200", "--yes")
        assert shown == "replayed 10 dead letters\n"

        async def complete() -> bool:
            found = await session.execute(text("SELECT count(*) FROM job_records WHERE status = 'complete'"))
            await session.rollback()
            return bool(found.scalar() == 10)

        await eventually(complete)
    assert (await resolutions(session))["other"] is None


async def test_what_cannot_be_replayed_is_reported_and_stays(
    cli: Cli, cli_json: JsonCli, record: Record, session: AsyncSession
) -> None:
    await record("good")
    await record("bad", arguments={"user_id": "x"})
    await record("gone", task="no_longer")
    answer = await cli_json("dead", "replay", "--all", "--yes", status=1)
    assert answer["replayed"] == 1
    assert {key: "user_id" in why or "no_longer" in why for key, why in answer["refused"].items()} == {
        "bad": True,
        "gone": True,
    }
    _, stderr = await cli("dead", "replay", "--all", "--yes", status=1)
    assert "error: gone: there is no task named 'no_longer'" in stderr


async def test_many_are_discarded(cli_json: JsonCli, record: Record, session: AsyncSession) -> None:
    for number in range(3):
        await record(f"{number}", arguments={"user_id": number})
    answer = await cli_json("dead", "discard", "--arg", "user_id=1", "--yes", "--by", "ada", "--why", "a test")
    assert answer == {"discarded": 1, "refused": {}}
    assert await resolutions(session) == {"0": None, "1": ("discarded", "ada", "a test"), "2": None}
    assert await cli_json("dead", "discard", "0", "2", "--by", "ada") == {"discarded": ["0", "2"], "refused": {}}


@pytest.mark.parametrize("verb", ["replay", "discard"])
async def test_nothing_happens_unasked(
    cli: Cli, cli_json: JsonCli, record: Record, session: AsyncSession, verb: str
) -> None:
    await record("one")
    await record("two")
    _, stderr = await cli("dead", verb, "--all", status=1)
    assert stderr == f"error: {verb} 2 dead letters needs a confirmation: add --yes, or --dry-run to count them\n"
    assert await cli_json("dead", verb, "--all", "--dry-run") == {"count": 2}
    shown, _ = await cli("dead", verb, "--error", "nothing like it", "--yes")
    assert shown == f"{verb}ed 0 dead letters\n"
    for arguments in ((), ("one", "--all"), ("--all", "--task", "ping"), ("one", "--task", "ping"), ("--error", "")):
        _, stderr = await cli("dead", verb, *arguments, status=2)
        assert f"say what to {verb}: keys, or filters such as --task, or --all" in stderr
    assert await resolutions(session) == {"one": None, "two": None}


def type_into(command: str, typed: str, environment: dict[str, str]) -> tuple[str, int]:
    """What a command shows on a terminal until it asks, and how it ends after the answer."""
    leader, follower = pty.openpty()
    with Python(
        ["-m", "saqueduct.cli", "--app", APP, *command.split()],
        cwd=BACKEND,
        env={**environment, "PATH": os.environ["PATH"], "TERM": "xterm"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ) as process:
        os.close(follower)
        shown = ""
        while "[y/N]" not in shown:
            shown += os.read(leader, 1000).decode()
        os.write(leader, typed.encode())
        status = process.wait(timeout=30)
    os.close(leader)
    return shown, status


@pytest.mark.parametrize(("answer", "status", "left"), [("y", 0, 0), ("n", 1, 2)])
async def test_a_person_is_asked_on_a_terminal(
    cli: Cli, cli_json: JsonCli, record: Record, environment: dict[str, str], answer: str, status: int, left: int
) -> None:
    await record("one")
    await record("two")
    shown, ended = type_into("dead discard --all", f"{answer}\n", environment)
    assert ended == status
    assert "Discard 2 dead letters?" in shown
    assert await cli_json("dead", "discard", "--all", "--dry-run") == {"count": left}


async def test_the_first_letters_of_a_replay_do_not_wait_for_the_last(cli_json: JsonCli, record: Record) -> None:
    for number in range(3):
        await record(f"{number}")
    await cli_json("dead", "replay", "--all", "--rate", "0.001", "--yes")
    queued = (await cli_json("jobs", "list", "--status", "queued"))["jobs"]
    delayed = (await cli_json("jobs", "list", "--delayed"))["jobs"]
    assert ([job["replay_of"] for job in queued], [job["replay_of"] for job in delayed]) == (
        ["0", "1", "2"],
        ["1", "2"],
    )
    assert my_task.name == queued[0]["task"]


async def test_an_interrupted_replay_tells_how_far_it_got(
    cli_json: JsonCli, record: Record, environment: dict[str, str], tmp_path: Path
) -> None:
    for number in range(dead_letters.BATCH + 1):
        await record(f"{number}")
    command = ("-m", "saqueduct.cli", "--app", APP, "dead", "replay", "--all", "--yes", "--rate", "0.1")
    with process(command, environment, tmp_path / "log") as replaying:

        async def one_is_left() -> bool:
            return bool((await cli_json("dead", "replay", "--all", "--dry-run"))["count"] == 1)

        await eventually(one_is_left)
        assert replaying.stop(signal.SIGINT) == 1
    assert "replayed 100 dead letters\n" in replaying.output
    assert "Traceback" not in replaying.output
