"""Contexts of spans as jobs carry them: `traceparent` and `tracestate` of W3C Trace Context."""

import re
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from saqueduct.tasks.job_meta import ATTEMPT_TRACE, TRACEPARENT, TRACESTATE

# Version, trace id, parent id, flags: W3C Trace Context, section 3.2.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def encoded(context: SpanContext) -> str:
    """The `traceparent` of a span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def decoded(traceparent: Any, tracestate: Any = None) -> SpanContext | None:
    """The span of another process; None: this is no `traceparent`."""
    found = _TRACEPARENT.fullmatch(traceparent) if isinstance(traceparent, str) else None
    if found is None:
        return None
    trace_id, span_id, flags, _ = found.groups()
    state = TraceState.from_header([tracestate]) if isinstance(tracestate, str) else None
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)), state)


def producer_of(meta: Mapping[str, Any]) -> SpanContext | None:
    """The span that enqueued the job with this `meta`."""
    return decoded(meta.get(TRACEPARENT), meta.get(TRACESTATE))


def last_attempt_of(meta: Mapping[str, Any]) -> SpanContext | None:
    """The span of the last attempt of the job with this `meta`."""
    return decoded(meta.get(ATTEMPT_TRACE))
