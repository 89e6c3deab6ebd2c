"""`Job.meta`: the engine's entries and the user's are apart."""

import time
from typing import Any

import pytest
from saq import Job
from saq.job import Status

from saqueduct import Concurrency, Context, Queues, get_registry, task
from saqueduct.queue.queue import EngineQueue
from saqueduct.tasks import job_meta as entries
from saqueduct.tasks.job import EngineJob
from saqueduct.tasks.job_meta import EXPIRES_AT, LIMITS, PREFIX, TAGS, ReservedMeta
from saqueduct.testing import JobKit

pytestmark = pytest.mark.usefixtures("only_own_tasks")

NAMES = [value for name, value in vars(entries).items() if name.isupper() and name != "PREFIX"]


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    @task
    async def harmless(ctx: Context) -> None: ...

    return queues.get("default")


def test_every_entry_of_the_engine_has_its_prefix() -> None:
    assert NAMES
    assert all(name.startswith(PREFIX) for name in NAMES)


@pytest.mark.parametrize("by_default", [True, False])
def test_a_job_that_is_not_durable_has_no_entry_about_it(by_default: bool) -> None:
    @task(durable=by_default)
    async def kept(ctx: Context) -> None: ...

    assert kept.options(durable=False).job({}).meta == {}
    assert kept.options(durable=True).job({}).meta == {entries.DURABLE: True}


@pytest.mark.parametrize("value", [1, "billing", None, ["a"], True, {"a": 1}])
async def test_names_that_the_engine_uses_without_its_prefix_are_the_users(jobs: JobKit, value: Any) -> None:
    @task(durable=True, tags=("billing",))
    async def plain(ctx: Context) -> int:
        return 7

    mine = {name.removeprefix(PREFIX): value for name in NAMES}
    job = await jobs.run(plain.options(meta=mine))
    assert (job.status, job.result) == (Status.COMPLETE, 7)
    assert {name: job.meta[name] for name in mine} == mine
    assert job.meta[TAGS] == ["billing"]


@pytest.mark.parametrize("name", [EXPIRES_AT, f"{PREFIX}anything", PREFIX])
async def test_the_prefix_is_refused_wherever_meta_comes_in(queue: EngineQueue, name: str) -> None:
    given = {name: 1}
    with pytest.raises(ReservedMeta, match="are reserved for the queue"):
        get_registry().get("harmless").options(meta=given)
    with pytest.raises(ReservedMeta):
        await queue.enqueue("harmless", meta=given)
    for job in (Job("harmless", meta=given), Job("harmless")):
        with pytest.raises(ReservedMeta):
            await queue.enqueue(job, meta=given)
    with pytest.raises(ReservedMeta):
        await queue.enqueue(Job("harmless", meta=given))
    with pytest.raises(ReservedMeta):
        await queue.enqueue_many([Job("harmless", meta=given)])
    with pytest.raises(ReservedMeta):
        await queue.enqueue(EngineJob(function="harmless"), meta=given)
    assert await queue.count("incomplete") == 0


async def test_without_a_registry_too(queues: Queues) -> None:
    queue = EngineQueue(queues.get("default").redis, "plain")
    with pytest.raises(ReservedMeta):
        await queue.enqueue("anything", meta={EXPIRES_AT: 1})
    assert await queue.count("incomplete") == 0


@pytest.mark.parametrize("meta", ["text", 5, [1]])
async def test_meta_that_is_no_mapping_is_refused(queue: EngineQueue, meta: Any) -> None:
    with pytest.raises(ValueError, match="meta takes a mapping"):
        await queue.enqueue("harmless", meta=meta)


def _adds(job: Job) -> None:
    job.meta[EXPIRES_AT] = 1


def _changes(job: Job) -> None:
    job.meta[TAGS].append("another")


def _replaces(job: Job) -> None:
    job.meta = {TAGS: []}


@pytest.mark.parametrize("spoil", [_adds, _changes, _replaces])
async def test_a_hook_may_not_touch_the_engines_entries(queues: Queues, spoil: Any) -> None:
    @task(tags=("billing",))
    async def tagged(ctx: Context) -> None: ...

    async def hook(job: Job) -> None:
        spoil(job)

    queues.get("default").register_before_enqueue(hook)
    with pytest.raises(ReservedMeta):
        await tagged.enqueue()
    assert await queues.get("default").count("incomplete") == 0


def _changes_within(job: Job) -> None:
    job.meta[LIMITS][0][1] = "another"


async def test_a_hook_may_not_change_the_limits_of_a_job(queues: Queues) -> None:
    @task(limits=(Concurrency(1, by="account"),))
    async def limited(ctx: Context, *, account: str) -> None: ...

    async def hook(job: Job) -> None:
        _changes_within(job)

    queues.get("default").register_before_enqueue(hook)
    with pytest.raises(ReservedMeta):
        await limited.enqueue(account="a1")
    assert await queues.get("default").count("incomplete") == 0


@pytest.mark.parametrize("again", [True, False])
async def test_a_job_may_not_change_its_limits(jobs: JobKit, again: bool) -> None:
    @task(limits=(Concurrency(1, by="account", name="one"),), retries=2)
    async def spoils(ctx: Context, *, account: str) -> None:
        _changes_within(ctx["job"])
        if again and ctx["job"].attempts == 1:
            raise RuntimeError("once more")

    job = await jobs.run(spoils, account="a1")
    assert (job.status, job.attempts) == (Status.COMPLETE, 2 if again else 1)
    assert job.meta[LIMITS] == spoils.job({"account": "a1"}).meta[LIMITS]


async def test_a_job_may_not_change_the_engines_entries_that_an_update_has_left(jobs: JobKit) -> None:
    @task(limits=(Concurrency(1, by="account", name="one"),), tags=("billing",))
    async def spoils(ctx: Context, *, account: str) -> None:
        await ctx["job"].update(meta={"mine": 1})
        _changes_within(ctx["job"])
        _changes(ctx["job"])

    job = await jobs.run(spoils, account="a1")
    assert job.meta == {"mine": 1, **spoils.job({"account": "a1"}).meta}


async def test_a_hook_that_sets_meta_anew_takes_no_entry_of_the_engine_away(queues: Queues) -> None:
    @task(tags=("billing",))
    async def tagged(ctx: Context) -> None: ...

    async def hook(job: Job) -> None:
        job.meta = {"mine": 1}

    queues.get("default").register_before_enqueue(hook)
    handle = await tagged.options(expires=60).enqueue()
    meta = (await handle.refresh()).meta
    assert (meta["mine"], meta[TAGS]) == (1, ["billing"])
    assert meta[EXPIRES_AT] == pytest.approx(time.time() + 60, abs=5)
