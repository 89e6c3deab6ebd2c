"""Records and dead letters over HTTP."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct import Context, EngineQueue, Queues, QueueUnavailable, get_registry, task
from saqueduct.testing import JobKit
from saqueduct.timings import PostgresTimings
from tests.fixtures.poll import eventually
from tests.postgres.store.conftest import Look, record_of

BROKEN = {"now": True}


with get_registry().isolated():

    @task(tags=("import",))
    async def import_file(ctx: Context, *, user_id: int, path: str = "a.csv") -> str:
        """Fails until it is fixed."""
        if BROKEN["now"]:
            raise ValueError(f"cannot read {path}")
        return f"imported {path}"

    @task(redact=("token",))
    async def call_out(ctx: Context, *, token: str) -> str:
        if token == "wrong":
            raise ValueError("refused")
        return "called"


@pytest.fixture(autouse=True)
def tasks(own_tasks: None) -> None:
    BROKEN["now"] = True
    get_registry().add(import_file)
    get_registry().add(call_out)


async def failed(jobs: JobKit, records: Look, **arguments: Any) -> str:
    job = await import_file.enqueue(**arguments)
    await jobs.drain()
    await record_of(records, job.key, "failed")
    return job.key


async def test_jobs_are_listed_by_task_status_and_arguments_newest_first(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    keys = [await failed(jobs, records, user_id=number) for number in range(3)]
    answer = await client.get("/jobs", params={"task": "import_file", "status": "failed"})
    assert [job["job_id"] for job in answer.json()["jobs"]] == keys[::-1]
    answer = await client.get("/jobs", params={"q": '{"user_id": 1}'})
    assert [job["job_id"] for job in answer.json()["jobs"]] == [keys[1]]
    assert (await client.get("/jobs", params={"q": "user_id=2"})).json()["jobs"][0]["job_id"] == keys[2]
    assert (await client.get("/jobs", params={"status": "complete"})).json()["jobs"] == []
    assert len((await client.get("/jobs", params={"tag": "import", "queue": "default"})).json()["jobs"]) == 3


async def test_pages_follow_one_another_without_gaps(client: httpx.AsyncClient, jobs: JobKit, records: Look) -> None:
    keys = [await failed(jobs, records, user_id=number) for number in range(5)]
    seen, cursor = [], None
    while True:
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = (await client.get("/jobs", params=params)).json()
        seen += [job["job_id"] for job in answer["jobs"]]
        cursor = answer["cursor"]
        if cursor is None:
            break
    assert seen == keys[::-1]


@pytest.mark.sizes(searched_records=2)
async def test_a_page_of_a_task_reads_a_portion_of_the_day_and_leads_on(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    BROKEN["now"] = False
    rare = await import_file.enqueue(user_id=1)
    await jobs.drain()
    await record_of(records, rare.key, "complete")
    for _ in range(3):
        handle = await call_out.enqueue(token="right")
        await jobs.drain()
        await record_of(records, handle.key, "complete")
    seen: list[tuple[list[str], bool]] = []
    cursor = None
    while not seen or cursor is not None:
        params = {"task": "import_file"} | ({"cursor": cursor} if cursor else {})
        answer = (await client.get("/jobs", params=params)).json()
        seen.append(([job["job_id"] for job in answer["jobs"]], answer["searched_since"] is not None))
        cursor = answer["cursor"]
    assert seen == [([], True), ([rare.key], True), ([], False)]


async def test_times_bound_the_list(client: httpx.AsyncClient, jobs: JobKit, records: Look) -> None:
    key = await failed(jobs, records, user_id=1)
    [row] = await records()
    at = row.queued_at.isoformat()
    assert [job["job_id"] for job in (await client.get("/jobs", params={"since": at})).json()["jobs"]] == [key]
    assert (await client.get("/jobs", params={"until": at})).json()["jobs"] == []


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"cursor": "nonsense"}, "invalid-cursor"),
        ({"q": "nonsense"}, "invalid-search"),
        ({"status": "lost"}, "invalid-search"),
        ({"limit": "0"}, "invalid"),
        ({"task": "a\0"}, "invalid-search"),
        ({"error": "\0"}, "invalid-search"),
        ({"q": '{"a": ["\\u0000"]}'}, "invalid-search"),
        ({"q": "[" * 3000}, "invalid-search"),
        ({"q": "a=" + "b" * 5000}, "invalid-search"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "invalid-search"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "invalid-search"),
        ({"cursor": "WzEsImFcdTAwMDAiLCJkZWZhdWx0Il0"}, "invalid-cursor"),
    ],
)
async def test_what_cannot_be_read_is_named(client: httpx.AsyncClient, params: dict[str, str], code: str) -> None:
    answer = await client.get("/jobs", params=params)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_live_jobs_are_listed_from_redis(client: httpx.AsyncClient, queues: Queues) -> None:
    handles = [await import_file.enqueue(user_id=number) for number in range(3)]
    answer = (await client.get("/jobs", params={"status": "queued", "limit": "2"})).json()
    assert [job["job_id"] for job in answer["jobs"]] == [handle.key for handle in handles[:2]]
    answer = (await client.get("/jobs", params={"status": "queued", "cursor": answer["cursor"]})).json()
    assert len(answer["jobs"]) == 1
    answer = (await client.get("/jobs", params={"status": "queued", "q": "user_id=1"})).json()
    assert [job["arguments"] for job in answer["jobs"]] == [{"user_id": 1}]
    assert (await client.get("/jobs", params={"status": "queued", "cursor": "9:0"})).status_code == 400


async def test_a_job_that_redis_has_forgotten_is_shown_from_its_record(
    client: httpx.AsyncClient, jobs: JobKit, queues: Queues, records: Look
) -> None:
    key = await failed(jobs, records, user_id=1)
    live = (await client.get(f"/jobs/{key}")).json()
    await queues.get("default").redis.flushall()
    remembered = (await client.get(f"/jobs/{key}")).json()
    # Redis has no version of the code that failed.
    assert remembered["errors"][0].pop("version")
    assert remembered == {**live, "retries": 1}
    assert remembered["error"] == "ValueError: cannot read a.csv"
    assert (await client.get("/jobs/nobody")).status_code == 404


async def test_a_dead_letter_is_replayed_once_and_its_history_shows_both(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    key = await failed(jobs, records, user_id=1)
    [letter] = (await client.get("/dead-letters")).json()["jobs"]
    assert (letter["job_id"], letter["task"]) == (key, "import_file")
    BROKEN["now"] = False
    answer = await client.post(
        f"/dead-letters/{key}/replay", json={"why": "fixed", "by": "ada", "arguments": {"path": "b.csv"}}
    )
    assert answer.status_code == 201
    again = answer.json()["job_id"]
    assert answer.headers["Location"] == f"/jobs/{again}"
    twice = await client.post(f"/dead-letters/{key}/replay")
    assert (twice.status_code, twice.json()["code"]) == (409, "job-conflict")
    await eventually(lambda: jobs.all_enqueued(import_file))
    await jobs.drain()
    await record_of(records, again, "complete")
    newest, oldest = (await client.get(f"/jobs/{key}/history")).json()
    assert (newest["job_id"], newest["status"], newest["replay_of"]) == (again, "complete", key)
    assert newest["arguments"] == {"user_id": 1, "path": "b.csv"}
    assert newest["tags"] == ["import"]
    assert (oldest["resolution"], oldest["resolved_by"], oldest["resolved_why"]) == ("replayed", "ada", "fixed")
    assert oldest["replayed_as"] == again
    assert (await client.get("/dead-letters")).json()["jobs"] == []


async def test_of_two_replays_at_once_one_goes_through(client: httpx.AsyncClient, jobs: JobKit, records: Look) -> None:
    key = await failed(jobs, records, user_id=1)
    answers = await asyncio.gather(*(client.post(f"/dead-letters/{key}/replay") for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    await eventually(lambda: jobs.all_enqueued(import_file))
    assert len(jobs.all_enqueued(import_file)) == 1


async def test_redacted_arguments_must_be_given_anew(client: httpx.AsyncClient, jobs: JobKit, records: Look) -> None:
    job = await call_out.enqueue(token="wrong")
    await jobs.drain()
    await record_of(records, job.key, "failed")
    answer = await client.post(f"/dead-letters/{job.key}/replay")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["token"])
    answer = await client.post(f"/dead-letters/{job.key}/replay", json={"arguments": {"token": "right one"}})
    assert answer.status_code == 201


async def test_arguments_that_do_not_fit_leave_the_dead_letter_as_it_was(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    key = await failed(jobs, records, user_id=1)
    answer = await client.post(f"/dead-letters/{key}/replay", json={"arguments": {"user_id": "x"}})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["user_id"])
    assert len((await client.get("/dead-letters")).json()["jobs"]) == 1
    assert jobs.all_enqueued(import_file) == []


async def test_all_that_match_are_replayed_by_a_job_at_a_rate(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    keys = [await failed(jobs, records, user_id=number, path=f"{number % 2}.csv") for number in range(4)]
    BROKEN["now"] = False
    body = {"which": {"task": "import_file", "error": "0.CSV"}, "rate": 1000, "why": "fixed"}
    answer = await client.post("/dead-letters/replay", json=body)
    assert answer.status_code == 202
    await jobs.drain()
    record = await record_of(records, answer.json()["job_id"], "complete")
    assert record.result == {"replayed": 2, "refused": {}}
    await eventually(lambda: len(jobs.all_enqueued(import_file)) in (0, 2))
    letters = (await client.get("/dead-letters")).json()["jobs"]
    assert [letter["job_id"] for letter in letters] == [keys[3], keys[1]]


async def test_arguments_given_anew_for_many_are_in_no_record(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    job = await call_out.enqueue(token="wrong")
    await jobs.drain()
    await record_of(records, job.key, "failed")
    body = {"which": {"task": "call_out"}, "arguments": {"token": "t0p-secret"}}
    answer = await client.post("/dead-letters/replay", json=body)
    await jobs.drain()
    record = await record_of(records, answer.json()["job_id"], "complete")
    assert (record.arguments["arguments"], record.result["replayed"]) == ("[redacted]", 1)
    assert "t0p-secret" not in repr(await records())


async def test_a_database_error_does_not_tell_redacted_arguments(engine: AsyncEngine, queues: Queues) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("ALTER TABLE outbox RENAME TO outbox_away"))
    try:
        with pytest.raises(QueueUnavailable) as refused:
            await call_out.options(durable=True).enqueue(token="t0p-secret")
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE outbox_away RENAME TO outbox"))
    assert "t0p-secret" not in str(refused.value)


async def test_a_discarded_dead_letter_rests(client: httpx.AsyncClient, jobs: JobKit, records: Look) -> None:
    key = await failed(jobs, records, user_id=1)
    answer = await client.request("DELETE", f"/dead-letters/{key}", json={"why": "the user is gone"})
    assert answer.status_code == 204
    assert (await client.get("/dead-letters")).json()["jobs"] == []
    [record] = (await client.get(f"/jobs/{key}/history")).json()
    assert (record["resolution"], record["resolved_why"]) == ("discarded", "the user is gone")
    assert (await client.delete(f"/dead-letters/{key}")).status_code == 409
    assert (await client.delete("/dead-letters/nobody")).status_code == 404


async def test_a_dead_letter_that_is_retried_by_hand_is_none_any_more(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    key = await failed(jobs, records, user_id=1)
    BROKEN["now"] = False
    assert (await client.post(f"/jobs/{key}/retry")).status_code == 202
    await jobs.drain()
    await record_of(records, key, "complete")
    assert (await client.get("/dead-letters")).json()["jobs"] == []


async def test_a_dead_letter_is_either_retried_or_replayed(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    retried, replayed = [await failed(jobs, records, user_id=number) for number in range(2)]
    assert (await client.post(f"/jobs/{retried}/retry")).status_code == 202
    refused = await client.post(f"/dead-letters/{retried}/replay")
    assert (refused.status_code, refused.json()["code"]) == (409, "job-conflict")
    again = (await client.post(f"/dead-letters/{replayed}/replay")).json()["job_id"]
    refused = await client.post(f"/jobs/{replayed}/retry")
    assert refused.status_code == 409
    assert refused.json()["detail"] == f"the job {replayed!r} is replayed as {again!r} and cannot be retried"
    await jobs.drain()
    letters = (await client.get("/dead-letters")).json()["jobs"]
    # Both fail once more, the first under its own key.
    assert {letter["job_id"] for letter in letters} == {retried, again}
    assert [letter["resolution"] for letter in letters] == [None, None]


async def test_a_retry_that_redis_does_not_take_leaves_the_dead_letter(
    client: httpx.AsyncClient, jobs: JobKit, records: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await failed(jobs, records, user_id=1)

    async def away(*_: Any, **__: Any) -> None:
        raise QueueUnavailable("Redis is away")

    monkeypatch.setattr(EngineQueue, "enqueue_many", away)
    assert (await client.post(f"/jobs/{key}/retry")).status_code == 503
    assert len((await client.get("/dead-letters")).json()["jobs"]) == 1


@pytest.mark.parametrize("path", ["/jobs/a%00b", "/jobs/a%00b/history"])
async def test_a_key_that_no_job_can_have_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404
    assert (await client.post("/dead-letters/a%00b/replay")).status_code == 404
    assert (await client.delete("/dead-letters/a%00b")).status_code == 404


async def test_a_replay_into_a_queue_that_there_is_not_is_refused(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    key = await failed(jobs, records, user_id=1)
    one = await client.post(f"/dead-letters/{key}/replay", json={"queue": "nowhere"})
    many = await client.post("/dead-letters/replay", json={"all": True, "queue": "nowhere"})
    for answer in (one, many):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-queue")


async def test_a_result_is_shown_without_what_is_redacted_whoever_remembers_it(
    client: httpx.AsyncClient, queues: Queues, jobs: JobKit, records: Look
) -> None:
    @task(redact=("token",))
    async def echo(ctx: Context, *, token: str) -> str:
        return f"called with {token}"

    job = await echo.enqueue(token="t0p-secret")
    await jobs.drain()
    await record_of(records, job.key, "complete")
    assert await job.result(timeout=60) == "called with t0p-secret"
    live = (await client.get(f"/jobs/{job.key}")).json()["result"]
    await queues.get("default").redis.flushall()
    assert (await client.get(f"/jobs/{job.key}")).json()["result"] == live == "called with [redacted]"


async def test_what_a_task_redacts_later_is_hidden_in_its_old_records_too(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    async def log_in(ctx: Context, *, password: str) -> None:
        raise ValueError(f"{password} is wrong")

    job = await task(log_in).enqueue(password="sw0rdfish")
    await jobs.drain()
    await record_of(records, job.key, "failed")
    assert "sw0rdfish" in (await client.get("/dead-letters")).text
    others = [each for each in get_registry().get_all_tasks() if each.name != "log_in"]
    get_registry().clear()
    for each in others:
        get_registry().add(each)
    task(redact=("password",))(log_in)
    for path in ("/jobs", "/dead-letters", f"/jobs/{job.key}/history"):
        answer = await client.get(path)
        assert job.key in answer.text
        assert "sw0rdfish" not in answer.text


@pytest.mark.timings(postgres=PostgresTimings(search=0.2))
async def test_a_search_that_takes_too_long_is_given_up(client: httpx.AsyncClient, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("LOCK TABLE job_records IN ACCESS EXCLUSIVE MODE"))
        answer = await client.get("/jobs", params={"error": "anything"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-search")
    assert "narrow it by status" in answer.json()["detail"]


async def test_a_body_that_is_nested_too_deep_is_refused(client: httpx.AsyncClient) -> None:
    body = '{"arguments": {"user_id": ' + "[" * 50_000 + "]" * 50_000 + "}}"
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/dead-letters/any/replay", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert "nested too deep" in answer.json()["detail"]


@pytest.mark.parametrize(
    "which",
    [
        {"status": "nope"},
        {"status": 1},
        {"task": "\0"},
        {"error": "\0"},
        {"error": 5},
        {"arguments": {"a": "\0"}},
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-14:00"},
    ],
    ids=str,
)
async def test_a_filter_in_a_body_that_cannot_match_is_400_naming_what_is_wrong(
    client: httpx.AsyncClient, jobs: JobKit, which: dict[str, Any]
) -> None:
    answer = await client.post("/dead-letters/replay", json={"which": which})
    assert answer.status_code == 400
    assert [error["key"].split(".")[0] for error in answer.json()["errors"]] == ["which"]
    jobs.refute_enqueued()


@pytest.mark.parametrize("words", [{"by": "a\0b"}, {"why": "\0"}], ids=str)
async def test_words_that_postgresql_cannot_keep_are_refused(
    client: httpx.AsyncClient, jobs: JobKit, records: Look, words: dict[str, str]
) -> None:
    key = await failed(jobs, records, user_id=1)
    answers = [
        await client.post(f"/dead-letters/{key}/replay", json=words),
        await client.request("DELETE", f"/dead-letters/{key}", json=words),
        await client.post("/dead-letters/replay", json={"all": True, **words}),
        await client.post("/queues/default/pause", json=words),
        await client.post("/schedules/batch_process/pause", json=words),
    ]
    assert [answer.status_code for answer in answers] == [400] * len(answers)


@pytest.mark.parametrize("given", ["1764187200", "1764187200.5", "1e9", "2026", "-5", "20260501", "yesterday", ""])
@pytest.mark.parametrize("name", ["since", "until"])
async def test_a_number_in_a_query_is_no_time(client: httpx.AsyncClient, name: str, given: str) -> None:
    for path in ("/jobs", "/dead-letters"):
        answer = await client.get(path, params={name: given})
        assert (answer.status_code, answer.json()["detail"].startswith(f"{name}: {given!r} is neither")) == (400, True)


@pytest.mark.parametrize("given", [1764187200, 1764187200.5, "1764187200", True])
async def test_a_number_in_a_body_is_no_time(client: httpx.AsyncClient, jobs: JobKit, given: object) -> None:
    which = {"since": given}
    answers = [
        await client.post("/dead-letters/replay", json={"which": which}),
        await client.post("/tasks/replay_dead_letters", json={"which": which, "by": "ada"}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    jobs.refute_enqueued()


async def test_times_in_a_query_may_be_durations_before_now(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    key = await failed(jobs, records, user_id=1)
    found = [
        (await client.get("/dead-letters", params=query)).json()["jobs"]
        for query in ({"since": "1h30m"}, {"until": "2h"}, {"since": "2020-01-01"}, {"until": "2020-01-01T00:00Z"})
    ]
    assert [[job["key"] for job in page] for page in found] == [[key], [], [key], []]


async def test_a_time_without_an_offset_in_a_body_is_utc(
    client: httpx.AsyncClient, jobs: JobKit, records: Look
) -> None:
    await failed(jobs, records, user_id=1)
    answer = await client.post("/dead-letters/replay", json={"which": {"until": "2020-01-01T00:00:00"}})
    await jobs.drain()
    record = await record_of(records, answer.json()["job_id"], "complete")
    assert (record.result["replayed"], record.arguments["which"]["until"]) == (0, "2020-01-01T00:00:00Z")
