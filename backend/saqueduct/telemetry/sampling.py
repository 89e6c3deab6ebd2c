"""Sampling: whether a span will be sampled, before it is made.

To start a span that is not sampled costs OpenTelemetry's SDK more than a job costs a worker. So the sampler is asked
first, or only its ratio is used where its description says that this is all it does.
"""

import math
import random
import re
from collections.abc import Sequence
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Tracer, set_span_in_context

# The descriptions are defined by OpenTelemetry's specification, "Built-in samplers".
_ROOT = re.compile(
    r"ParentBased\{root:(.*),remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,"
    r"localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler\}"
)
_RATIO = re.compile(r"TraceIdRatioBased\{([0-9.e-]+)\}")
_FIXED = {"AlwaysOnSampler": 1.0, "AlwaysOffSampler": 0.0}

NEVER = 2.0**53
"""A gap that no process reaches the end of, exact as a float."""

EMPTY = Context()
"""In which a span is the root of its trace."""


class Sampling:
    """Decides before a span of this tracer is made.

    It replaces the sampler of the SDK's tracer, which belongs to this library alone, and passes its questions on; spans
    that are made in a block of it are sampled without a second question, whose answer could be another one.

        if sampling.root():
            with sampling:
                span = tracer.start_span(...)

    Args:
        tracer: of the SDK; another one gets a span for each question.
    """

    def __init__(self, tracer: Tracer) -> None:
        sampler = getattr(tracer, "sampler", None)
        if isinstance(sampler, Sampling):
            sampler = sampler._sampler
        self._sampler: Any = sampler
        self._decided = False
        self._always: Any = None
        """The SDK's sampler that samples all."""
        self.ratio: float | None = None
        """The share of spans without parent that is sampled, by chance; None: the sampler has other rules."""
        self._gap = 0.0
        """How many of the next spans without parent are not sampled, before one is."""
        self._follows = False
        if sampler is not None:
            # Here: the library needs the SDK for nothing else.
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON

            self._always = ALWAYS_ON
            description = sampler.get_description()
            self._follows = (found := _ROOT.fullmatch(description)) is not None
            self.ratio = _ratio(found[1] if found else description)
            self._gap = 0.0 if self.ratio is None else _gap(self.ratio)
            setattr(tracer, "sampler", self)  # noqa: B010  (the API's Tracer has no such attribute)

    def root(self) -> bool:
        """True if a span without parent is to be sampled."""
        if self._gap >= 1.0:
            self._gap -= 1.0
            return False
        return bool(self.roots(1))

    def roots(self, count: int) -> list[int]:
        """Which of the next so many spans without parent are to be sampled: their positions, from 0."""
        if self.ratio is None:
            return [position for position in range(count) if self._asked(EMPTY, random.getrandbits(128))]
        position, found = self._gap, list[int]()
        while position < count:
            found.append(int(position))
            position += 1.0 + _gap(self.ratio)
        self._gap = position - count
        return found

    def below(self, parent: SpanContext) -> bool:
        """True if a span below this one is to be sampled."""
        if self._follows:
            return parent.trace_flags.sampled
        return self._asked(set_span_in_context(NonRecordingSpan(parent), EMPTY), parent.trace_id)

    def _asked(self, context: Context, trace_id: int) -> bool:
        if self._sampler is None:
            return True
        return bool(self._sampler.should_sample(context, trace_id, "").decision.is_sampled())

    def __enter__(self) -> None:
        """Spans that are made in this block are sampled; it must not await anything."""
        self._decided = True

    def __exit__(self, *_: object) -> None:
        self._decided = False

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: Any = None,
    ) -> Any:
        """As the SDK's samplers."""
        sampler = self._always if self._decided else self._sampler
        return sampler.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """As the SDK's samplers."""
        return str(self._sampler.get_description())


def _gap(ratio: float) -> float:
    """How many spans in a row are not sampled, by chance, if each one is with this probability.

    As long as if each had its own random number: the gaps of such trials have a geometric distribution. Jobs that start
    together so need none.
    """
    if ratio >= 1.0:
        return 0.0
    if ratio <= 0.0:
        return math.inf
    return math.floor(min(math.log(1.0 - random.random()) / math.log1p(-ratio), NEVER))  # noqa: S311


def _ratio(description: str) -> float | None:
    """How many root spans a sampler with this description samples; None: it has other rules."""
    found = _RATIO.fullmatch(description)
    return float(found[1]) if found else _FIXED.get(description)
