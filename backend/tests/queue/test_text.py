"""Text of users and errors: data that cannot be stored is refused, errors and remarks are escaped."""

from typing import Any

import httpx
import msgspec
import pytest
from saq.job import Status

from saqueduct import Context, GiveUp, InvalidArguments, JobFailed, Queues, RegistrationError, task
from saqueduct.common.text import printable, storable
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.models import JobRecord
from saqueduct.postgres.record_filter import RecordFilter
from saqueduct.testing import JobKit
from tests.fixtures.poll import eventually

pytestmark = pytest.mark.usefixtures("only_own_tasks")

HALF = b"caf\xe9".decode("utf-8", "surrogateescape")
ESCAPED = "caf\\udce9"


def _in_the_message() -> None:
    raise ValueError(f"cannot parse {HALF}")


def _in_a_note() -> None:
    error = ValueError("no use")
    error.add_note(f"about {HALF}")
    raise error


def _in_the_cause() -> None:
    raise ValueError("no use") from KeyError(f"{HALF}")


def _in_a_group() -> None:
    raise ExceptionGroup("several", [ValueError(HALF)])


def _with_nul() -> None:
    raise ValueError("cannot parse caf\\udce9 \x00")


RAISED = [_in_the_message, _in_a_note, _in_the_cause, _in_a_group, _with_nul]


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("fail", RAISED)
async def test_every_attempt_counts_and_all_who_show_its_error_agree(
    jobs: JobKit, client: httpx.AsyncClient, queues: Queues, session: Any, fail: Any, durable: bool
) -> None:
    runs: list[int] = []

    @task(retries=3, durable=durable)
    async def fails(ctx: Context) -> None:
        runs.append(1)
        fail()

    job = await jobs.run(fails)
    assert (len(runs), job.status) == (3, Status.FAILED)
    assert ESCAPED in (job.error or "")
    assert "\x00" not in (job.error or "")
    answer = await client.get(f"/jobs/{job.key}")
    assert (answer.status_code, answer.json()["attempts"]) == (200, 3)

    async def look() -> JobRecord | None:
        session.expire_all()
        found = await JobHistory(session).latest(job.key)
        return found if found is not None and found.status == "failed" and len(found.errors or ()) == 3 else None

    record = await eventually(look)
    assert (record.attempts, record.error) == (3, job.error)


async def test_a_reason_to_give_up_is_escaped(jobs: JobKit) -> None:
    @task
    async def gives_up(ctx: Context) -> None:
        raise GiveUp(HALF)

    handle = await gives_up.enqueue()
    await jobs.drain()
    with pytest.raises(JobFailed, match=r"caf\\udce9"):
        await handle.result(timeout=60)


async def test_an_aborts_reason_is_escaped(queues: Queues) -> None:
    @task
    async def waits(ctx: Context) -> None: ...

    handle = await waits.enqueue()
    await queues.abort(handle.key, f"{HALF}\x00")
    assert (await handle.refresh()).error == f"{ESCAPED}\\x00"


async def test_the_error_of_saqs_own_api_is_escaped(queues: Queues) -> None:
    @task
    async def waits(ctx: Context) -> None: ...

    job = await (await waits.enqueue()).refresh()
    await job.finish(Status.FAILED, error=HALF)
    await job.refresh()
    assert (job.status, job.error) == (Status.FAILED, ESCAPED)


class Card(msgspec.Struct):
    holder: str


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (HALF, "value"),
        ({"a": [1, HALF]}, r"value\.a\[1\]"),
        ({HALF: 1}, r"the name value\.caf"),
        ([Card(HALF)], r"value\[0\]\.holder"),
    ],
)
async def test_arguments_that_no_utf8_can_carry_are_refused_with_their_place(
    queues: Queues, value: Any, place: str
) -> None:
    @task
    async def takes(ctx: Context, *, value: Any) -> None: ...

    with pytest.raises(InvalidArguments, match=f"{place}.*: a lone surrogate"):
        await takes.enqueue(value=value)
    assert await queues.get("default").count("incomplete") == 0


async def test_a_result_that_no_utf8_can_carry_fails_each_attempt_with_its_place(jobs: JobKit) -> None:
    runs: list[int] = []

    @task(retries=2)
    async def returns(ctx: Context) -> Any:
        runs.append(1)
        return {"names": [HALF]}

    job = await jobs.run(returns)
    assert (len(runs), job.status) == (2, Status.FAILED)
    assert "names[0]: a lone surrogate" in (job.error or "")


@pytest.mark.parametrize("text", [HALF, "a\x00b"])
async def test_keys_tags_and_groups_that_cannot_be_stored_are_refused(queues: Queues, text: str) -> None:
    @task
    async def waits(ctx: Context) -> None: ...

    queue = queues.get("default")
    with pytest.raises(ValueError, match="key: "):
        waits.options(key=text)
    with pytest.raises(ValueError, match="key: "):
        await queue.enqueue("waits", key=text)
    with pytest.raises(ValueError, match="tags: "):
        waits.options(tags=(text,))
    with pytest.raises(RegistrationError, match="tags: "):
        task(tags=(text,))(_nothing)
    with pytest.raises(ValueError, match="group_key: "):
        await queue.enqueue("waits", group_key=text)
    assert await queue.count("incomplete") == 0


async def _nothing(ctx: Context) -> None: ...


async def test_meta_that_json_cannot_carry_is_refused_with_its_place(queues: Queues) -> None:
    @task
    async def waits(ctx: Context) -> None: ...

    for meta, place in (({"a": HALF}, r"meta\.a: a lone"), ({"a": [float("nan")]}, r"meta\.a\[0\]: JSON has no NaN")):
        with pytest.raises(ValueError, match=place):
            waits.options(meta=meta)
        with pytest.raises(ValueError, match=place):
            await queues.get("default").enqueue("waits", meta=meta)


async def test_a_key_that_there_cannot_be_is_not_found(queues: Queues, session: Any) -> None:
    assert await queues.get("default").fetch(HALF) is None
    assert await JobHistory(session).find(HALF) == []
    searches: list[dict[str, Any]] = [{"task": HALF}, {"arguments": {"a": HALF}}, {"tag": "a\x00"}]
    for which in searches:
        with pytest.raises(ValueError, match="no record contains"):
            RecordFilter(**which)
    # The six characters are no NUL.
    RecordFilter(arguments={"a": "\\u0000"})


async def test_who_pauses_a_queue_and_why_is_escaped(queues: Queues) -> None:
    pause = await queues.get("default").pause(HALF, f"{HALF}\x00")
    assert (pause.by, pause.why) == (ESCAPED, f"{ESCAPED}\\x00")


@pytest.mark.parametrize("text", ["", "plain\n\t", "ä€\U0001f600", "\x1b[1m"])
def test_text_that_can_be_stored_stays_as_it_is(text: str) -> None:
    assert storable(text) is text or storable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("a\rb\x1b[2J", "a\\rb\\x1b[2J"),
        ("a\x85b\u2028c", "a\\x85b\\u2028c"),
        ("a\x00b", "a\\x00b"),
        ("tab\tä€", "tab\tä€"),
        (HALF, ESCAPED),
    ],
)
def test_what_is_printed_has_no_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_lines_of_a_traceback_stay_lines() -> None:
    assert printable("a\nb\x1b", newlines=True) == "a\nb\\x1b"
