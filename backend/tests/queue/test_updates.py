"""`job.update(...)` and what a task sets on its job: checked at the call, and never at the price of the job."""

from typing import Any, TypedDict, cast

import pytest
from saq import Job
from saq.job import Status

from saqueduct import Context, Queues, Unique, task
from saqueduct.tasks.job_meta import EXPIRES_AT, TAGS
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("only_own_tasks")

NAN, INFINITY = float("nan"), float("inf")
WRONG: list[tuple[dict[str, Any], str]] = [
    *(({"progress": value}, "progress must be a number") for value in (NAN, INFINITY, None, "x", True, -0.1, 50)),
    ({"meta": [1]}, "update: meta: "),
    ({"meta": {"a": object()}}, "update: meta: "),
    ({"meta": {"a": [NAN]}}, r"update: meta: meta\.a\[0\]: "),
    ({"meta": {"a": "\udce9"}}, r"update: meta: meta\.a: "),
    ({"meta": {EXPIRES_AT: 1}}, "are reserved for the queue"),
    ({"ttl": NAN}, "update: ttl: "),
    ({"ttl": "60"}, "update: ttl: "),
    ({"timeout": -1}, "update: timeout: "),
    ({"retries": None}, "update: retries: "),
    ({"scheduled": 1e12}, "update: scheduled: "),
    ({"error": 5}, "update: error: "),
    ({"result": {1, NAN}}, "update: result: "),
    ({"status": "complete"}, "status cannot be changed"),
    ({"attempts": 0}, "attempts cannot be changed"),
    ({"queued": 1}, "queued cannot be changed"),
    ({"key": "another"}, "key cannot be changed"),
    ({"function": "another"}, "function cannot be changed"),
    ({"kwargs": {}}, "kwargs cannot be changed"),
    ({"queue": None}, "a job has no field 'queue'|queue cannot be changed"),
    ({"colour": "red"}, "a job has no field 'colour'; there are: "),
    ({"lease": "mine"}, "a job has no field 'lease'"),
]


@pytest.mark.parametrize(("changes", "problem"), WRONG, ids=range(len(WRONG)))
async def test_a_wrong_update_is_refused_and_changes_nothing(
    jobs: JobKit, changes: dict[str, Any], problem: str
) -> None:
    seen: list[Any] = []

    @task
    async def updates(ctx: Context) -> str:
        job = ctx["job"]
        before = dict(vars(job))
        with pytest.raises(ValueError, match=problem):
            await job.update(**changes)
        seen.append((before == vars(job), await job.get_queue().job(job.key)))
        return "done"

    job = await jobs.run(updates)
    [(same, stored)] = seen
    assert (same, job.status, job.result) == (True, Status.COMPLETE, "done")
    assert (stored.progress, stored.meta) == (0.0, {})


async def test_a_right_update_is_stored(jobs: JobKit) -> None:
    seen: list[Any] = []

    @task(tags=("billing",))
    async def updates(ctx: Context) -> None:
        job = ctx["job"]
        await job.update(progress=0.5, meta={"step": 2}, ttl=60)
        seen.append(await job.get_queue().job(job.key))
        # With what the queue keeps there, as one that was read.
        await job.update(meta={**job.meta, "step": 3}, progress=1)

    job = await jobs.run(updates)
    [stored] = seen
    assert (stored.progress, stored.meta, stored.ttl) == (0.5, {"step": 2, TAGS: ["billing"]}, 60)
    assert job.meta == {"step": 3, TAGS: ["billing"]}


async def test_a_job_that_waits_is_updated_as_checked(queues: Queues) -> None:
    @task
    async def waits(ctx: Context) -> None: ...

    job = await (await waits.enqueue()).refresh()
    for changes in ({"progress": NAN}, {"colour": "red"}, {"status": "sleeping"}, {"key": "another"}):
        with pytest.raises(ValueError, match="update: "):
            await job.update(**cast("Any", changes))
    await job.update(status=Status.ACTIVE, progress=0.25)
    await job.refresh()
    assert (job.status, job.progress) == (Status.ACTIVE, 0.25)


def _clears(job: Job) -> None:
    job.meta.clear()


def _replaces(job: Job) -> None:
    job.meta = {"mine": 1}


def _lies(job: Job) -> None:
    job.meta |= {TAGS: ["another"], EXPIRES_AT: 1}


def _leaves_no_mapping(job: Job) -> None:
    job.meta = cast("Any", [1])


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("spoil", [_clears, _replaces, _lies, _leaves_no_mapping])
async def test_what_a_task_makes_of_meta_takes_nothing_from_the_engine(
    jobs: JobKit, queues: Queues, spoil: Any, fails: bool
) -> None:
    @task(tags=("billing",), unique=Unique(), durable=True, retries=2)
    async def spoils(ctx: Context) -> None:
        spoil(ctx["job"])
        if fails:
            raise ValueError("no use")

    handle = await spoils.enqueue()
    await jobs.drain()
    job = await handle.refresh()
    assert job.status is (Status.FAILED if fails else Status.COMPLETE)
    assert (job.attempts, job.meta[TAGS]) == (2 if fails else 1, ["billing"])
    # Its claim is given up.
    assert (await spoils.enqueue()).created


def _set(name: str, value: Any) -> Any:
    return lambda job: setattr(job, name, value)


def _loses_meta(job: Job) -> None:
    del job.meta


def _loses_arguments(job: Job) -> None:
    del job.kwargs


def _puts_an_object_into_meta(job: Job) -> None:
    job.meta["mine"] = cast("Any", object())


HARMLESS = {
    "meta is None": _set("meta", None),
    "another key": _set("key", "another"),
    "no key": _set("key", None),
    "no lease": _set("lease", ""),
    "retries": _set("retries", "x"),
    "retry_delay": _set("retry_delay", "x"),
    "queue": _set("queue", None),
}
SPOILT = {
    **HARMLESS,
    "meta is gone": _loses_meta,
    "an object in meta": _puts_an_object_into_meta,
    "arguments are gone": _loses_arguments,
    "an object in the arguments": _set("kwargs", {"name": "x", "more": object()}),
    "attempts": _set("attempts", "x"),
    "priority": _set("priority", None),
    "group_key": _set("group_key", object()),
}


@pytest.mark.parametrize("spoil", HARMLESS.values(), ids=HARMLESS)
async def test_a_task_that_spoils_what_is_not_stored_of_its_job_completes(jobs: JobKit, spoil: Any) -> None:
    @task
    async def spoils(ctx: Context, *, name: str = "") -> int:
        spoil(ctx["job"])
        return 5

    job = await jobs.run(spoils, name="x")
    assert (job.status, job.result) == (Status.COMPLETE, 5)


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_whatever_a_task_sets_on_its_job_it_fails_with_its_own_error(jobs: JobKit, spoil: Any) -> None:
    @task
    async def spoils(ctx: Context, *, name: str = "") -> int:
        spoil(ctx["job"])
        raise ValueError("the cause")

    job = await jobs.run(spoils, name="x")
    assert job.status is Status.FAILED
    assert "the cause" in (job.error or "")


async def test_what_cannot_be_stored_costs_no_attempt(jobs: JobKit) -> None:
    runs: list[str] = []

    @task(retries=3)
    async def spoils(ctx: Context, *, name: str) -> None:
        runs.append(name)
        ctx["job"].meta["mine"] = cast("Any", object())
        ctx["job"].group_key = cast("Any", object())
        raise ValueError("the cause")

    job = await jobs.run(spoils, name="x")
    assert (runs, job.attempts, job.meta) == (["x"] * 3, 3, {})


class Part(TypedDict):
    names: list[Any]


async def test_what_a_task_does_to_its_arguments_is_not_what_the_next_attempt_gets(jobs: JobKit) -> None:
    got: list[str] = []

    @task(retries=3)
    async def eats(
        ctx: Context, /, data: Any, named: dict[str, Any], part: Part, anything: object, **more: Any
    ) -> None:
        got.append(repr((data, named, part, anything, more)))
        data.clear()
        named["list"].append(object())
        part["names"].pop()
        cast("Any", anything)["x"] = float("nan")
        more["further"]["y"] = 1
        raise ValueError("the cause")

    arguments: dict[str, Any] = {"data": {"a": 1}, "named": {"list": []}, "part": {"names": [1]}, "anything": {"b": 2}}
    arguments["further"] = {"c": 3}
    job = await jobs.run(eats, **arguments)
    assert (len(set(got)), len(got), job.kwargs) == (1, 3, arguments)
