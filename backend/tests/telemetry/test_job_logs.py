"""What lines of the log say about jobs, and what job records keep of them."""

import io
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Context, Saqueduct, task
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.job_details import JobDetails
from saqueduct.tasks.job_log import BYTES, LINES, JobLog, keep_line, recorded
from saqueduct.tasks.log_context import JobLogFilter, add_job
from saqueduct.tasks.redaction import REDACTED
from tests.fixtures.poll import eventually
from tests.telemetry.conftest import Open
from tests.telemetry.traces import Spans, context_of

logger = logging.getLogger("tests.jobs")


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
async def traced(open_measured: Open, spans: Spans) -> AsyncIterator[Saqueduct]:
    async with open_measured(metrics=None, traces=True, tracer_provider=spans.provider) as saqueduct:
        yield saqueduct


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What the logger of the tests writes, with all fields."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        logging.Formatter("%(message)s %(job)s %(task)s %(queue)s %(attempt)s %(trace_id)s %(span_id)s")
    )
    handler.addFilter(JobLogFilter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)


async def worked_off(saqueduct: Saqueduct) -> None:
    """Run jobs until there are no more, and write their records."""
    queue = saqueduct.queues.get("default")
    async with saqueduct.working():

        async def none_left() -> bool:
            return not await queue.count("incomplete")

        await eventually(none_left)
    assert saqueduct.store is not None
    await saqueduct.store.recorder.flush(10)


async def details(saqueduct: Saqueduct, session: AsyncSession, key: str) -> JobDetails:
    record = await JobHistory(session).latest(key)
    assert record is not None
    return JobDetails.of_record(saqueduct.queues, record)


def lines(found: JobDetails) -> list[tuple[Any, ...]]:
    return [(line["attempt"], line["level"], line["logger"], line["text"]) for line in found.logs]


async def test_each_line_of_a_job_names_job_and_trace_in_async_tasks_and_in_threads(
    traced: Saqueduct, spans: Spans, written: io.StringIO
) -> None:
    @task
    async def logs(ctx: Context) -> None:
        logger.info("async")

    @task
    def logs_in_thread(ctx: Context) -> None:
        logger.info("thread")

    keys = {each.name: (await each.enqueue()).key for each in (logs, logs_in_thread)}
    await worked_off(traced)
    expected = set()
    for span in spans.named("process default"):
        name = str((span.attributes or {})["messaging.saq.task"])
        ids = f"{context_of(span).trace_id:032x} {context_of(span).span_id:016x}"
        expected.add(f"{'async' if name == 'logs' else 'thread'} {keys[name]} {name} default 1 {ids}")
    assert set(written.getvalue().splitlines()) == expected


def test_outside_of_a_job_there_is_nothing_to_add(written: io.StringIO) -> None:
    logger.info("outside")
    assert written.getvalue().split() == ["outside"]
    assert add_job(None, "info", {"event": "outside"}) == {"event": "outside"}


def test_in_a_span_of_the_application_a_line_has_its_trace(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("GET /") as span:
        event = add_job(None, "info", {"event": "inside"})
    context = span.get_span_context()
    assert event["trace_id"] == f"{context.trace_id:032x}"
    assert event["span_id"] == f"{context.span_id:016x}"


async def test_the_line_that_says_that_a_job_is_enqueued_has_its_key(
    traced: Saqueduct, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "saqueduct.jobs"):
        job = await traced.queues.enqueue("add", {"a": 1, "b": 2})
    [record] = [each for each in caplog.records if each.name == "saqueduct.jobs"]
    assert (record.__dict__["job"], record.__dict__["task"]) == (job.key, "add")
    assert record.getMessage() == f"job {job.key} of add enqueued"


async def test_the_record_keeps_what_each_attempt_logged(
    traced: Saqueduct, written: io.StringIO, session: AsyncSession
) -> None:
    @task(record_logs=True, retries=2)
    async def logs(ctx: Context) -> None:
        logger.info("attempt %d", ctx["job"].attempts)
        if ctx["job"].attempts == 1:
            raise ValueError("once")

    key = (await logs.enqueue()).key
    await worked_off(traced)
    found = await details(traced, session, key)
    assert lines(found) == [(1, "info", "tests.jobs", "attempt 1"), (2, "info", "tests.jobs", "attempt 2")]
    assert "logs" not in found.errors[0]


async def test_the_record_of_a_job_that_succeeds_at_once_keeps_its_lines_too(
    traced: Saqueduct, written: io.StringIO, session: AsyncSession
) -> None:
    @task(record_logs=True)
    def logs(ctx: Context) -> None:
        logger.warning("nul \x00 and surrogate \udce9")
        structlog.wrap_logger(logger, processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter]).warning(
            "structured", n=7
        )

    key = (await logs.enqueue()).key
    await worked_off(traced)
    texts = [text for _, _, _, text in lines(await details(traced, session, key))]
    assert texts == ["nul \\x00 and surrogate \\udce9", "structured n=7"]


async def test_a_setting_keeps_the_lines_of_all_tasks_but_those_that_refuse(
    open_measured: Open, written: io.StringIO, session: AsyncSession
) -> None:
    @task
    async def logs(ctx: Context) -> None:
        logger.info("kept")

    @task(record_logs=False)
    async def keeps_nothing(ctx: Context) -> None:
        logger.info("not kept")

    async with open_measured(record_logs=True) as saqueduct:
        keys = [(await each.enqueue()).key for each in (logs, keeps_nothing)]
        await worked_off(saqueduct)
        kept = [lines(await details(saqueduct, session, key)) for key in keys]
    assert kept == [[(1, "info", "tests.jobs", "kept")], []]


async def test_redacted_arguments_are_in_no_kept_line(
    traced: Saqueduct, written: io.StringIO, session: AsyncSession
) -> None:
    @task(record_logs=True, redact=("password",))
    async def logs(ctx: Context, *, password: str) -> None:
        logger.info("it is %s", password)
        try:
            raise ValueError(password)
        except ValueError:
            logger.exception("failed for %r", ctx["job"])

    key = (await logs.enqueue(password="hunter22")).key
    await worked_off(traced)
    first, second = (text for _, _, _, text in lines(await details(traced, session, key)))
    assert first == f"it is {REDACTED}"
    assert second.endswith(f"ValueError: {REDACTED}")
    assert "hunter22" not in second


def test_of_many_lines_the_last_are_kept() -> None:
    log = JobLog()
    for number in range(LINES + 50):
        log.add("info", "tests", str(number), 0.0)
    assert [line["text"] for line in log.lines()] == [str(number) for number in range(50, LINES + 50)]


def test_lines_are_kept_up_to_a_size() -> None:
    log = JobLog()
    for _ in range(3):
        log.add("info", "tests", "ä" * (BYTES // 5), 0.0)
    assert len(log.lines()) == 2
    log.add("info", "tests", "b" + "ä" * BYTES, 0.0)
    [line] = log.lines()
    assert len(line["text"].encode()) == BYTES


async def test_structlog_alone_keeps_lines_with_a_processor() -> None:
    class Job:
        logs: JobLog | None = None

    own = structlog.wrap_logger(None, processors=[keep_line, lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])

    async def logs(ctx: Any) -> None:
        own.info("alone", n=1)

    job = Job()
    await recorded(logs)({"job": job})
    assert job.logs is not None
    assert [(line["level"], line["text"]) for line in job.logs.lines()] == [("info", "alone n=1")]
