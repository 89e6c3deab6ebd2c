"""The spans of jobs that are sent and run, from OpenTelemetry's SDK over a real worker."""

import asyncio
import contextvars
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanKind, StatusCode
from saq import Job
from sqlalchemy.ext.asyncio import AsyncSession

from saqueduct import Context, Saqueduct, SaqueductConfig, Unique, enqueue_many, get_registry, task
from saqueduct.errors import ConfigurationError, DuplicateJob
from saqueduct.postgres.dead_letters import DeadLetters
from saqueduct.postgres.history import JobHistory
from saqueduct.postgres.record_filter import RecordFilter, trace_of_attempt
from saqueduct.tasks.job_meta import RECOVERIES, TRACEPARENT
from tests.fixtures.poll import eventually
from tests.telemetry.conftest import Open
from tests.telemetry.traces import Spans, context_of, links, parent, place

SEND, CREATE, PROCESS = "send default", "create default", "process default"


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
async def traced(open_measured: Open, spans: Spans) -> AsyncIterator[Saqueduct]:
    """Queues whose jobs are traced."""
    async with open_traced(open_measured, spans) as saqueduct:
        yield saqueduct


def open_traced(open_measured: Open, spans: Spans, **settings: Any) -> Any:
    return open_measured(metrics=None, traces=True, tracer_provider=spans.provider, **settings)


async def worked_off(saqueduct: Saqueduct) -> None:
    """Run jobs until there are no more."""
    queue = saqueduct.queues.get("default")
    async with saqueduct.working():

        async def none_left() -> bool:
            return not await queue.count("incomplete")

        await eventually(none_left)


async def enqueue(saqueduct: Saqueduct, name: str, **options: Any) -> str:
    arguments = {"a": 1, "b": 2} if name == "add" else {}
    return (await saqueduct.queues.enqueue(name, arguments, **options)).key


async def test_a_job_is_sent_in_a_producer_span_to_which_its_attempt_links(traced: Saqueduct, spans: Spans) -> None:
    with spans.tracer.start_as_current_span("GET /") as request:
        key = await enqueue(traced, "add")
    await worked_off(traced)
    sent, ran = spans.one(SEND), spans.one(PROCESS)
    assert (sent.kind, ran.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert parent(sent) == place(request.get_span_context())
    assert parent(ran) is None
    assert links(ran) == [place(sent)]
    assert context_of(ran).trace_id != context_of(sent).trace_id
    assert sent.attributes is not None
    assert sent.attributes["messaging.message.id"] == key


async def test_the_attributes_are_those_of_the_conventions(traced: Saqueduct, spans: Spans, redis_url: str) -> None:
    key = await enqueue(traced, "add")
    await worked_off(traced)
    found = dict(spans.one(PROCESS).attributes or {})
    waited = found.pop("messaging.saq.wait_seconds")
    assert isinstance(waited, float)
    assert waited >= 0
    assert len(str(found.pop("messaging.client.id"))) > 5
    assert found == {
        "messaging.system": "saq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": key,
        "server.address": redis_url.removeprefix("unix://"),
        "messaging.saq.task": "add",
        "messaging.saq.attempt": 1,
        "messaging.saq.retries": 1,
        "messaging.saq.recoveries": 0,
        "messaging.saq.outcome": "complete",
    }


async def test_a_failed_attempt_links_to_the_one_before_and_says_no_more_than_the_type_of_its_error(
    traced: Saqueduct, spans: Spans
) -> None:
    await enqueue(traced, "fails")
    await worked_off(traced)
    first, second = spans.named(PROCESS)
    assert links(second) == [place(spans.one(SEND)), place(first)]
    outcomes = [(each.attributes or {})["messaging.saq.outcome"] for each in (first, second)]
    assert outcomes == ["retried", "failed"]
    for each in (first, second):
        assert (each.attributes or {})["error.type"] == "ValueError"
        assert each.status.status_code is StatusCode.ERROR
        assert "no luck" not in each.to_json()


async def test_many_jobs_have_a_create_span_each_to_which_the_send_span_links(traced: Saqueduct, spans: Spans) -> None:
    add = get_registry().get("add")
    with spans.tracer.start_as_current_span("GET /") as request:
        await enqueue_many([add.call({"a": n, "b": n}) for n in range(3)])
    await worked_off(traced)
    sent, created = spans.one(SEND), spans.named(CREATE)
    assert sent.kind is SpanKind.CLIENT
    assert {each.kind for each in created} == {SpanKind.PRODUCER}
    assert links(sent) == [place(each) for each in created]
    assert (sent.attributes or {})["messaging.batch.message_count"] == 3
    assert {parent(each) for each in (sent, *created)} == {place(request.get_span_context())}
    assert sorted(links(each)[0] for each in spans.named(PROCESS)) == sorted(place(each) for each in created)


async def test_without_create_spans_all_jobs_of_a_call_share_its_context(open_measured: Open, spans: Spans) -> None:
    async with open_traced(open_measured, spans, trace_creates=False) as traced:
        add = get_registry().get("add")
        await enqueue_many([add.call({"a": n, "b": n}) for n in range(3)])
        await worked_off(traced)
    sent = spans.one(SEND)
    assert sent.kind is SpanKind.PRODUCER
    assert [links(each) for each in spans.named(PROCESS)] == 3 * [[place(sent)]]
    assert spans.named(CREATE) == []


async def test_an_attempt_can_be_a_child_of_its_producer(open_measured: Open, spans: Spans) -> None:
    async with open_traced(open_measured, spans, trace_producer="child") as traced:
        await enqueue(traced, "add")
        await worked_off(traced)
    sent, ran = spans.one(SEND), spans.one(PROCESS)
    assert parent(ran) == place(sent)
    assert links(ran) == [place(sent)]


async def test_an_attempt_can_have_no_relation_to_its_producer(open_measured: Open, spans: Spans) -> None:
    async with open_traced(open_measured, spans, trace_producer="none") as traced:
        await enqueue(traced, "add")
        await worked_off(traced)
    assert (parent(spans.one(PROCESS)), links(spans.one(PROCESS))) == (None, [])


@pytest.mark.long
async def test_a_tick_has_no_producer_and_its_attempt_names_the_schedule(traced: Saqueduct, spans: Spans) -> None:
    queue = traced.queues.get("default")
    async with traced.working():
        await eventually(lambda: queue.redis.zcard(queue.namespace("schedules:ticks")))
        await queue.redis.zadd(queue.namespace("schedules:ticks"), {"tidy": await queue.time() - 1})
        await eventually(lambda: spans.named(PROCESS))
    ran = spans.one(PROCESS)
    assert (ran.attributes or {})["messaging.saq.schedule"] == "tidy"
    assert (parent(ran), links(ran), spans.named(SEND)) == (None, [], [])


async def test_a_schedule_that_is_run_by_hand_names_it_as_well(traced: Saqueduct, spans: Spans) -> None:
    await traced.queues.trigger_schedule("tidy")
    await worked_off(traced)
    assert (spans.one(PROCESS).attributes or {})["messaging.saq.schedule"] == "tidy"


async def test_what_a_task_enqueues_is_below_its_attempt(traced: Saqueduct, spans: Spans) -> None:
    @task
    async def enqueues(ctx: Context) -> None:
        await ctx["queue"].enqueue("add", a=1, b=2)

    @task
    def enqueues_in_thread(ctx: Context) -> None:
        get_registry().get("add").delay(a=1, b=2)

    for name in ("enqueues", "enqueues_in_thread"):
        await enqueue(traced, name)
    await worked_off(traced)
    runs = {(each.attributes or {})["messaging.saq.task"]: each for each in spans.named(PROCESS)}
    parents = {parent(each) for each in spans.named(SEND)}
    assert parents == {None, place(runs["enqueues"]), place(runs["enqueues_in_thread"])}


async def test_spans_of_100_jobs_at_once_do_not_mix(open_measured: Open, spans: Spans) -> None:
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark")
    together = asyncio.Barrier(100)

    @task(timeout=60)
    async def with_spans(ctx: Context, *, n: int) -> None:
        mark.set(ctx["job"].key)
        await together.wait()
        with spans.tracer.start_as_current_span("inside", attributes={"job": mark.get()}):
            await asyncio.sleep(0)
        with spans.tracer.start_as_current_span("inside", attributes={"job": ctx["job"].key}):
            if n % 3 == 0:
                raise ValueError
            if n % 3 == 1:
                raise asyncio.CancelledError

    @task(timeout=60)
    def in_thread(ctx: Context) -> None:
        with spans.tracer.start_as_current_span("inside", attributes={"job": ctx["job"].key}):
            pass

    async with open_traced(open_measured, spans, concurrency=100) as traced:
        many = get_registry().get("with_spans")
        await enqueue_many([many.call({"n": n}) for n in range(100)])
        await worked_off(traced)
        await enqueue_many([get_registry().get("in_thread").call({}) for _ in range(50)])
        await worked_off(traced)
    assert not trace.get_current_span().get_span_context().is_valid
    runs = {(each.attributes or {})["messaging.message.id"]: each for each in spans.named(PROCESS)}
    inside = spans.named("inside")
    assert (len(runs), len(inside)) == (150, 250)
    for each in inside:
        assert parent(each) == place(runs[(each.attributes or {})["job"]])


async def test_a_job_that_is_not_sampled_carries_nothing_and_has_no_span(open_measured: Open) -> None:
    spans = Spans(ALWAYS_OFF)

    @task
    async def opens_a_span(ctx: Context) -> dict[str, Any]:
        with spans.tracer.start_as_current_span("inside"):
            return dict(ctx["job"].meta)

    async with open_traced(open_measured, spans) as traced:
        job = await opens_a_span.enqueue()
        await worked_off(traced)
        assert await job.result(timeout=60) == {}
    assert spans.names == []


async def test_with_a_ratio_a_job_follows_its_producer(open_measured: Open) -> None:
    spans = Spans(TraceIdRatioBased(0.0))
    recorded = trace.SpanContext(5, 7, is_remote=True, trace_flags=trace.TraceFlags(1))
    async with open_traced(open_measured, spans) as traced:
        await enqueue(traced, "add")
        with trace.use_span(trace.NonRecordingSpan(recorded)):
            await enqueue(traced, "add")
        await worked_off(traced)
    assert sorted(spans.names) == [PROCESS, SEND]
    assert links(spans.one(PROCESS)) == [place(spans.one(SEND))]


class Particular(Sampler):
    """Samples all but one trace, for which it raises."""

    def should_sample(self, parent_context: Any, trace_id: int, *arguments: Any, **more: Any) -> SamplingResult:
        if trace_id == 5:
            raise RuntimeError("not this one")
        return ALWAYS_ON.should_sample(parent_context, trace_id, *arguments, **more)

    def get_description(self) -> str:
        return "particular"


async def test_a_sampler_that_raises_for_one_job_costs_the_others_of_its_batch_no_span(open_measured: Open) -> None:
    provider = TracerProvider(sampler=Particular())
    async with open_measured(metrics=None, traces=True, tracer_provider=provider) as traced:
        jobs = [get_registry().get("add").job({"a": 1, "b": 2}) for _ in range(3)]
        for trace_id, job in zip((4, 5, 6), jobs, strict=True):
            job.meta[TRACEPARENT] = f"00-{trace_id:032x}-{7:016x}-01"
        tracer = traced.queues.get("default").core.tracer
        assert tracer is not None
        assert list(tracer.sampled(jobs)) == [0, 2]


async def test_jobs_that_start_together_follow_each_its_own_producer(open_measured: Open) -> None:
    sampled, unsampled, none = (f"00-{5:032x}-{7:016x}-01", f"00-{6:032x}-{7:016x}-00", None)
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.5)))
    async with open_measured(metrics=None, traces=True, tracer_provider=provider) as traced:
        carried = [sampled, none, unsampled] * 1000
        jobs = [get_registry().get("add").job({"a": 1, "b": 2}) for _ in carried]
        for job, producer in zip(jobs, carried, strict=True):
            job.meta |= {TRACEPARENT: producer} if producer else {}
        tracer = traced.queues.get("default").core.tracer
        assert tracer is not None
        found = Counter(carried[position] for position in tracer.sampled(jobs))
    assert (found[sampled], found[unsampled]) == (1000, 0)
    # Six standard deviations of the binomial distribution.
    assert abs(found[none] - 500) < 6 * 15.8


async def test_a_job_that_did_not_start_by_itself_is_a_root_for_itself(open_measured: Open, spans: Spans) -> None:
    """Started within a span, a worker runs nothing in it."""
    async with open_traced(open_measured, spans) as traced:
        await enqueue(traced, "add")
        with spans.tracer.start_as_current_span("main"):
            await worked_off(traced)
    assert parent(spans.one(PROCESS)) is None


async def test_the_job_of_saqs_own_class_can_be_enqueued_again(traced: Saqueduct, spans: Spans) -> None:
    queue, job = traced.queues.get("default"), Job(function="add", kwargs={"a": 1, "b": 2})
    assert await queue.enqueue(job) is not None
    assert job.meta == {}
    await worked_off(traced)
    assert await queue.enqueue(job) is not None
    await worked_off(traced)
    assert len(spans.named(PROCESS)) == 2
    assert all(links(each) for each in spans.named(PROCESS))


async def test_a_failed_enqueue_fails_its_span(traced: Saqueduct, spans: Spans) -> None:
    add = get_registry().get("add").options(unique=Unique(on_conflict="raise"))
    await add.enqueue(a=1, b=2)
    with pytest.raises(DuplicateJob):
        await add.enqueue(a=1, b=2)
    assert [(each.attributes or {}).get("error.type") for each in spans.named(SEND)] == [
        None,
        "saqueduct.errors.DuplicateJob",
    ]


async def test_the_record_keeps_the_trace_and_is_found_by_it(
    traced: Saqueduct, spans: Spans, session: AsyncSession
) -> None:
    key = await enqueue(traced, "add")
    await worked_off(traced)
    assert traced.store is not None
    await traced.store.recorder.flush(10)
    traces = [f"{context_of(spans.one(name)).trace_id:032x}" for name in (SEND, PROCESS)]
    history = JobHistory(session)
    found = [(await history.page(RecordFilter(trace=each))).records for each in traces]
    assert [[each.key for each in records] for records in found] == [[key], [key]]
    record = found[0][0]
    assert (record.trace_id, trace_of_attempt(record.attempt_trace)) == tuple(traces)
    assert not (await history.page(RecordFilter(trace=32 * "1"))).records


async def test_a_replay_links_to_its_dead_letter(traced: Saqueduct, spans: Spans, session: AsyncSession) -> None:
    key = await enqueue(traced, "gives_up")
    await worked_off(traced)
    assert traced.store is not None
    await traced.store.recorder.flush(10)
    letters = DeadLetters(session, traced.queues, get_registry())
    await letters.replay(key, by="a test")
    await session.commit()
    await eventually(lambda: len(spans.named(SEND)) == 2)
    await worked_off(traced)
    dead, replayed = spans.named(PROCESS)
    assert links(replayed) == [place(spans.one(CREATE)), place(dead)]


async def test_a_job_that_is_retried_by_hand_links_to_its_last_attempt(traced: Saqueduct, spans: Spans) -> None:
    key = await enqueue(traced, "gives_up")
    await worked_off(traced)
    queue = traced.queues.get("default")
    job = await queue.job(key)
    assert job is not None
    await queue.retry_by_hand(job)
    await worked_off(traced)
    first, again = spans.named(PROCESS)
    assert links(again) == [place(spans.named(SEND)[1]), place(first)]


async def test_the_outbox_is_published_in_a_span_that_links_to_the_transaction(
    traced: Saqueduct, spans: Spans, session: AsyncSession
) -> None:
    add = get_registry().get("add")
    with spans.tracer.start_as_current_span("POST /") as request:
        await add.within(session).enqueue(a=1, b=2)
        await session.commit()
    await eventually(lambda: spans.named(SEND))
    created, sent = spans.one(CREATE), spans.one(SEND)
    assert (created.kind, sent.kind) == (SpanKind.PRODUCER, SpanKind.CLIENT)
    assert parent(created) == place(request.get_span_context())
    assert links(sent) == [place(created)]
    await worked_off(traced)
    assert links(spans.one(PROCESS)) == [place(created)]


async def test_what_a_dead_process_left_in_the_outbox_links_to_the_transaction(
    traced: Saqueduct, spans: Spans, session: AsyncSession
) -> None:
    store, queue = traced.store, traced.queues.get("default")
    assert store is not None
    async with session.begin():
        job = get_registry().get("add").job({"a": 1, "b": 2})
        await queue.enqueuer.prepare([job])
        queue.core.tracer.sending([job], kept=True)  # type: ignore[union-attr]
        await store.outbox.write(session, queue, [job])
    await store.relay.look([queue], 0.0)
    assert links(spans.one(SEND)) == [place(spans.one(CREATE))]


async def test_a_durable_job_is_sent_in_one_span(traced: Saqueduct, spans: Spans) -> None:
    await get_registry().get("add").options(durable=True).enqueue(a=1, b=2)
    await worked_off(traced)
    assert links(spans.one(PROCESS)) == [place(spans.one(SEND))]


async def test_a_released_job_did_not_fail(traced: Saqueduct, spans: Spans) -> None:
    running = asyncio.Event()

    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        running.set()
        await asyncio.Event().wait()

    traced.config.grace_period = 0.0
    await enqueue(traced, "waits")
    async with traced.working():
        await running.wait()
    ran = spans.one(PROCESS)
    assert (ran.attributes or {})["messaging.saq.outcome"] == "released"
    assert ran.status.status_code is StatusCode.UNSET


async def test_an_aborted_job_fails_its_span(traced: Saqueduct, spans: Spans) -> None:
    running = asyncio.Event()

    @task(timeout=60)
    async def waits(ctx: Context) -> None:
        running.set()
        await asyncio.Event().wait()

    job = await waits.enqueue()
    [worker] = traced.build_workers()
    worker.timers["abort"] = 0.05  # type: ignore[typeddict-item]
    working = asyncio.create_task(worker.start())
    await running.wait()
    await job.abort()
    await eventually(lambda: spans.named(PROCESS))
    worker.request_stop()
    await working
    assert (spans.one(PROCESS).attributes or {})["error.type"] == "aborted"


async def test_a_recovered_job_says_how_often(traced: Saqueduct, spans: Spans) -> None:
    job = get_registry().get("add").job({"a": 1, "b": 2})
    job.meta[RECOVERIES] = 1
    await traced.queues.get("default").enqueue_many([job])
    await worked_off(traced)
    assert (spans.one(PROCESS).attributes or {})["messaging.saq.recoveries"] == 1


def test_traces_are_off_by_default() -> None:
    assert not SaqueductConfig(redis_url="redis://localhost").traces
    with pytest.raises(ConfigurationError, match="trace_producer"):
        SaqueductConfig(redis_url="redis://localhost", trace_producer="parent")  # type: ignore[arg-type]
