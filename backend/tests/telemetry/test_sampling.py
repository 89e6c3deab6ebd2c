"""Which spans without parent are sampled."""

import itertools
import math

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import get_tracer

from saqueduct.telemetry.sampling import Sampling

SPANS = 200_000


def sampling(ratio: float) -> Sampling:
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)))
    return Sampling(get_tracer("tests", tracer_provider=provider))


def is_likely(sampled: int, ratio: float) -> bool:
    """Within five standard deviations of the binomial distribution: by chance once in two million runs."""
    return abs(sampled - SPANS * ratio) <= 5 * math.sqrt(SPANS * ratio * (1 - ratio))


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.99])
def test_the_share_of_the_ratio_is_sampled(ratio: float) -> None:
    sampled = sampling(ratio)

    assert is_likely(sum([sampled.root() for _ in range(SPANS)]), ratio)


@pytest.mark.parametrize("ratio", [0.01, 0.3])
def test_spans_that_are_asked_for_together_are_sampled_at_the_same_share(ratio: float) -> None:
    sampled, found = sampling(ratio), 0

    for _ in range(SPANS // 8):
        positions = sampled.roots(8)
        assert positions == sorted(set(positions) & set(range(8)))
        found += len(positions)

    assert is_likely(found, ratio)


def test_each_span_has_the_same_chance_whatever_was_before() -> None:
    sampled = sampling(0.3)

    answers = [sampled.root() for _ in range(SPANS // 2)]
    for _ in range(SPANS // 200):
        together = sampled.roots(100)
        answers += [position in together for position in range(100)]

    after_one = [answer for before, answer in itertools.pairwise(answers) if before]
    assert abs(sum(after_one) / len(after_one) - 0.3) < 5 * math.sqrt(0.3 * 0.7 / len(after_one))


@pytest.mark.parametrize(("ratio", "answer"), [(0.0, False), (1.0, True), (1e-300, False)])
def test_none_or_all_are_sampled_at_the_ends(ratio: float, answer: bool) -> None:
    sampled = sampling(ratio)

    assert sampled.roots(1000) == [position for position in range(1000) if answer]
    assert {sampled.root() for _ in range(1000)} == {answer}
