"""The arguments of a job in one line of a table."""

import re
from typing import Any

import pytest

from saqueduct.console.brief_arguments import MOST, brief_arguments
from tests.console.conftest import MARKUP, Served, code_in

LINES: list[tuple[dict[str, Any] | None, str]] = [
    (None, ""),
    ({}, ""),
    ({"to": "ada@example.com", "gift": True, "note": None}, "to: ada@example.com, gift: true, note: null"),
    ({"rate": 1.5, "empty": ""}, "rate: 1.5, empty: "),
    ({"items": [1, 2, 3, 4], "none": []}, "items: [1, 2, 3, …], none: []"),
    ({"at": {"street": "Main St.", "no": 7}}, "at: {street: Main St., no: 7}"),
    ({"deep": [[[1]]], "flat": {"a": {"b": {}}}}, "deep: [[[…]]], flat: {a: {b: {}}}"),
    ({"lines": "one\n\ttwo"}, "lines: one two"),
    ({"blank": "\n" * MOST + "more", "next": 1}, "blank: …, next: 1"),
    ({"exact": 10**18 - 1, "huge": 10**5000}, "exact: 999999999999999999, huge: …"),
]


@pytest.mark.parametrize(("arguments", "line"), LINES)
def test_arguments_are_one_line(arguments: dict[str, Any] | None, line: str) -> None:
    assert brief_arguments(arguments) == line


def test_long_arguments_are_cut() -> None:
    line = brief_arguments({f"name-{number}": "value" * 10**5 for number in range(1000)})
    assert (len(line), line[-1]) == (MOST, "…")


def test_a_row_shows_the_arguments_of_its_job_and_no_redacted_ones(served: Served) -> None:
    served.ended("build_report", month="2026-05-01", kind="stock", token="s3cr3t")
    served.ended("echo", text=MARKUP)
    page = served.page("/jobs")
    [line] = re.findall(r'<span class="given">(.*?month: .*?)</span>', page)
    # PostgreSQL orders the members of objects.
    assert sorted(line.split(", ")) == ["kind: stock", "month: 2026-05-01", "token: [redacted]"]
    assert "s3cr3t" not in page
    assert code_in(page) == []
