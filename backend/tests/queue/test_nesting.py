"""How many lists and objects of arguments and results may be inside each other."""

import datetime as dt
import sys
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from saq.job import Status
from saq.queue import Queue

from saqueduct import Context, InvalidArguments, TaskRegistry
from saqueduct.errors import InvalidResult
from saqueduct.postgres.records import Rows
from saqueduct.tasks.encoding import encode_result, is_of_any_depth
from saqueduct.tasks.job import make
from saqueduct.tasks.nesting import LEVELS, is_too_deep, may_be_too_deep
from saqueduct.tasks.redaction import REDACTED
from saqueduct.tasks.signature import Signature


class Tree(msgspec.Struct):
    inside: "Tree | None" = None


async def anything(ctx: Context, /, *, value: Any = None, tree: Tree | None = None, **more: Any) -> None: ...


async def named(ctx: Context, *, value: Any = None, other: int = 0) -> None: ...


async def flat(ctx: Context, *, rows: list[dict[str, int]]) -> None: ...


async def limited(
    ctx: Context,
    *,
    number: int,
    at: dt.datetime | None = None,
    prices: dict[str, Decimal] | None = None,
    text: str = "",
) -> None: ...


def lists(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def objects(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = {"inside": value}
    return value


def trees(levels: int) -> Tree:
    tree = Tree()
    for _ in range(levels - 1):
        tree = Tree(tree)
    return tree


@pytest.mark.parametrize(("name", "make"), [("value", lists), ("value", objects), ("more", lists), ("tree", trees)])
def test_arguments_may_have_so_many_levels(name: str, make: Any) -> None:
    signature = Signature(anything)
    signature.encode({name: make(LEVELS)})
    for levels in (LEVELS + 1, LEVELS + 500):
        with pytest.raises(InvalidArguments) as caught:
            signature.encode({"other": 1, name: make(levels)})
        assert list(caught.value.problems) == [name]
        assert f"more than {LEVELS} lists and objects" in caught.value.problems[name]


def test_arguments_deeper_than_json_can_be_written_are_refused() -> None:
    for value in (lists(5_000), objects(5_000), msgspec.Raw(b"[" * 5_000 + b"]" * 5_000)):
        with pytest.raises(InvalidArguments):
            Signature(anything).encode({"value": value})


@pytest.mark.parametrize("levels", [LEVELS + 1, 450, 900])
@pytest.mark.parametrize("name", ["number", "at", "prices", "text", "unknown"])
@pytest.mark.parametrize("shape", [lists, objects])
def test_deep_arguments_where_the_task_takes_few_levels_are_refused_by_name(
    shape: Callable[[int], Any], name: str, levels: int
) -> None:
    for value in (shape(levels), [None, shape(levels)], {"a": "nan", "b": shape(levels)}):
        with pytest.raises(InvalidArguments) as caught:
            Signature(limited).encode({"number": 1} | {name: value})
        assert list(caught.value.problems) == [name]


def test_many_values_beside_each_other_are_not_deep() -> None:
    rows = [{"a": 1}] * 1_000
    Signature(anything).encode({"value": rows, "text": "[" * 1_000})
    Signature(flat).encode({"rows": rows})
    assert may_be_too_deep(msgspec.json.encode(rows))
    assert not is_too_deep(rows)


def test_results_may_have_so_many_levels() -> None:
    assert encode_result("t", objects(LEVELS)) == objects(LEVELS)
    for value in (objects(LEVELS + 1), lists(LEVELS + 1)):
        with pytest.raises(InvalidResult, match="inside each other"):
            encode_result("t", value)


def test_only_types_that_limit_no_levels_are_searched() -> None:
    for type_ in (Any, object, dict[str, Any], list[Tree], Tree | None):
        assert is_of_any_depth(type_), type_
    for flat_type in (int, list[dict[str, list[int]]], tuple[list[int], list[int]], str | None):
        assert not is_of_any_depth(flat_type), flat_type


@pytest.mark.parametrize("levels", [LEVELS + 1, sys.getrecursionlimit(), 50_000])
def test_a_job_of_a_producer_that_checks_nothing_has_a_record(levels: int) -> None:
    registry = TaskRegistry()
    registry.task(named)
    job = make({"function": "named", "kwargs": {"value": lists(levels), "other": 1}, "key": "deep", "queued": 1})
    job.status, job.attempts = Status.COMPLETE, 1
    job.queue = cast("Queue", SimpleNamespace(name="default"))
    rows = Rows(registry)
    assert rows.packed([job]) == [None]
    row = rows.of(job)
    assert row is not None
    assert row.arguments is not None
    assert msgspec.json.decode(row.arguments) == {"value": REDACTED, "other": 1}


def test_arguments_with_as_many_levels_as_may_be_are_recorded() -> None:
    registry = TaskRegistry()
    registry.task(anything)
    # Flat, but with more brackets than levels may be.
    arguments = {"value": lists(LEVELS), "other": [[]] * LEVELS}
    job = make({"function": "anything", "kwargs": arguments, "key": "deep", "queued": 1})
    job.queue = cast("Queue", SimpleNamespace(name="default"))
    row = Rows(registry).of(job)
    assert row is not None
    assert row.arguments is not None
    assert msgspec.json.decode(row.arguments) == arguments


def test_a_record_of_many_values_beside_each_other_is_packed_like_others() -> None:
    registry = TaskRegistry()
    registry.task(named)
    table = {"value": [[number, "x"] for number in range(LEVELS + 1)]}
    job = make({"function": "named", "kwargs": table, "key": "wide", "queued": 1, "started": 1, "completed": 1})
    job.status, job.attempts = Status.COMPLETE, 1
    job.queue = cast("Queue", SimpleNamespace(name="default"))
    assert Rows(registry).packed([job]) != [None]
