"""Spans that a test has collected."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanContext


class Spans:
    """A tracer provider, and the spans that have ended.

    Args:
        sampler: of root spans; all by default.
    """

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ParentBased(sampler), shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("tests")

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with a name, in the order of their ends."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one with a name."""
        [span] = self.named(name)
        return span

    @property
    def names(self) -> list[str]:
        """Of all of them."""
        return [span.name for span in self._exporter.get_finished_spans()]


def context_of(span: ReadableSpan) -> SpanContext:
    """The context of a span that has ended."""
    context: SpanContext | None = span.context
    assert context is not None
    return context


def links(span: ReadableSpan) -> list[tuple[int, int]]:
    """Trace and span that a span links to, of each link."""
    return [place(link.context) for link in span.links]


def place(context: SpanContext | ReadableSpan) -> tuple[int, int]:
    """Trace and span."""
    found: SpanContext = context_of(context) if isinstance(context, ReadableSpan) else context
    return found.trace_id, found.span_id


def parent(span: ReadableSpan) -> tuple[int, int] | None:
    """Trace and span of its parent; None: it is a root."""
    return None if span.parent is None else place(span.parent)
