"""The text that Prometheus scrapes."""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from saqueduct import Saqueduct
from saqueduct.telemetry import metrics
from saqueduct.telemetry.prometheus import rendered
from saqueduct.telemetry.system_state import DatabaseState, SystemReader
from tests.fixtures.poll import eventually
from tests.telemetry.conftest import Open, whole

REPOSITORY = Path(__file__).resolve().parents[3]
ALL = (*metrics.OF_THE_PROCESS, *metrics.OF_THE_WHOLE)
TEXT = "text/plain; version=0.0.4"


async def scraped(saqueduct: Saqueduct) -> str:
    """The text after a job has run."""
    assert saqueduct.metrics is not None
    await saqueduct.queues.enqueue("add", {"a": 1, "b": 2})
    async with saqueduct.working():
        queue = saqueduct.queues.get("default")

        async def done() -> bool:
            return not await queue.count("incomplete") and bool(await queue.redis.exists(queue.namespace("vitals")))

        await eventually(done)
        text, _ = rendered(await saqueduct.metrics.all(), TEXT)
    return text.decode()


async def test_every_metric_is_in_the_text_with_its_type_and_labels(measured: Saqueduct) -> None:
    # Lag and last tick come with the first tick of a schedule.
    families = {each.name: each for each in text_string_to_metric_families(await scraped(measured))}
    for metric in ALL:
        family = families[metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name]
        assert family.type == metric.kind
        assert family.documentation == metric.text
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


async def test_the_buckets_are_those_of_the_documents(measured: Saqueduct) -> None:
    families = {each.name: each for each in text_string_to_metric_families(await scraped(measured))}
    bounds = [each.labels["le"] for each in families["saqueduct_job_run_seconds"].samples if "le" in each.labels]
    assert [float(bound) for bound in bounds[:-1]] == list(metrics.RUN_BUCKETS)
    assert bounds[-1] == "+Inf"
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    *first, last = (f"{bound:g}" for bound in metrics.RUN_BUCKETS)
    assert f"{', '.join(first)} and {last} seconds" in " ".join(page.split())


async def test_promtool_has_no_objection(measured: Saqueduct) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: it is in Debian's package prometheus")
    text = await scraped(measured)
    checked = await asyncio.create_subprocess_exec(promtool, "check", "metrics", stdin=PIPE, stdout=PIPE, stderr=STDOUT)
    said, _ = await checked.communicate(text.encode())
    assert (checked.returncode, said) == (0, b"")


def test_the_documents_describe_every_metric_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    rows = set(re.findall(r"^\| `(saqueduct_\w+)`", page, re.MULTILINE))
    assert rows == {metric.name for metric in ALL}


def test_no_label_names_a_worker_host_job_or_tenant() -> None:
    assert {label for metric in ALL for label in metric.labels} == {
        "queue", "task", "outcome", "status", "state", "schedule"
    }  # fmt: skip


async def test_dead_letters_and_the_outbox_are_counted(measured: Saqueduct) -> None:
    await measured.queues.enqueue("gives_up")
    async with measured.working():

        async def dead() -> bool:
            return (await whole(measured, metrics.DEAD_LETTERS)) == {("default",): 1}

        await eventually(dead)
    assert await whole(measured, metrics.OUTBOX_OLDEST) == {(): 0}


async def test_a_committed_job_that_redis_does_not_have_has_an_age(measured: Saqueduct) -> None:
    from sqlalchemy import text

    assert measured.store is not None
    async with measured.store.sessions() as session:
        columns = "queue, key, queued, job, durable, created_at"
        row = "'default', 'left', 1, '{}', false, now() - interval '90 seconds'"
        await session.execute(text(f"INSERT INTO outbox ({columns}) VALUES ({row})"))  # noqa: S608  (constants)
        await session.commit()
    assert 90 <= (await whole(measured, metrics.OUTBOX_OLDEST))[()] < 150


async def test_without_postgresql_its_metrics_are_missing(open_measured: Open) -> None:
    async with open_measured(database_url="") as saqueduct:
        assert saqueduct.metrics is not None
        names = {family.metric.name for family in await saqueduct.metrics.all()}
    assert "saqueduct_redis_up" in names
    assert not names & {"saqueduct_postgresql_up", "saqueduct_dead_letters", "saqueduct_records_waiting"}


async def test_while_redis_does_not_answer_the_text_says_so(open_measured: Open) -> None:
    async with open_measured() as saqueduct:
        assert saqueduct.metrics is not None
        for queue in saqueduct.queues:
            await queue.redis.connection_pool.disconnect()

            async def refused(*_: object, **__: object) -> None:
                raise ConnectionError("no Redis here")

            queue.scripts.run = refused  # type: ignore[method-assign]
        families = {family.metric: family.samples for family in await saqueduct.metrics.of_the_whole()}
        assert [sample.value for sample in families[metrics.REDIS_UP]] == [0.0]
        assert families[metrics.QUEUE_JOBS] == []


async def test_while_postgresql_does_not_answer_it_is_down(measured: Saqueduct) -> None:
    def no_session() -> None:
        raise ConnectionError("no PostgreSQL here")

    reader = SystemReader(measured.queues, no_session)  # type: ignore[arg-type]
    assert await reader.database() == DatabaseState(up=False)
