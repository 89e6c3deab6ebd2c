"""Tasks, and the form that enqueues."""

import re
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from saqueduct import InvalidArguments, TaskRegistry
from saqueduct.console.arguments_form import fields_of, read, report
from saqueduct.console.fields import Field
from saqueduct.console.forms import Form
from saqueduct.console.rendering import marked_up
from saqueduct.console.snippets import as_curl
from tests.console.conftest import Served, tasks
from tests.console.payments import pay
from tests.fixtures.poll import eventually_sync


def sent(**arguments: str) -> dict[str, Any]:
    fields = fields_of(tasks().get("build_report"))
    return read(fields, Form([(f"arg.{name}", value) for name, value in arguments.items()]))


def test_the_catalog_shows_documentation_and_options(served: Served) -> None:
    page = served.page("/tasks")
    assert "Send a mail to a customer." in page
    assert "tags: mail" in page
    # The first paragraph, and not its first line.
    assert "which could not be replayed." in re.sub(r"\s+", " ", page)
    assert "retry_delay: 5.0 s" in page


def test_a_form_is_read_as_the_types_of_the_arguments() -> None:
    assert sent(
        month="2026-05-01",
        kind="stock",
        rows="12345678901234567890",
        address="0",
        ids="[1, 2]",
        **{"address|0.street": "Main"},
    ) == {
        "month": "2026-05-01",
        "kind": "stock",
        "rows": 12345678901234567890,
        "address": {"street": "Main"},
        "ids": [1, 2],
    }
    assert sent(month="2026-05-01", rows="", token="") == {"month": "2026-05-01"}


PAY = TaskRegistry().task(pay)


def paid(arguments: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments of a form, and the problems of its fields."""
    fields = fields_of(PAY)
    names = {(name if name.startswith("zone.") else f"arg.{name}"): value for name, value in arguments.items()}
    found = read(fields, Form(names.items()))
    try:
        PAY.signature.receive(found)
    except InvalidArguments as error:
        report(fields, error.problems)
    return found, {field.name: field.problem for field in _every(fields) if field.problem}


def _every(fields: Iterable[Field]) -> Iterator[Field]:
    for field in fields:
        yield field
        yield from _every(field.children)


ACCOUNT = {"by": "1", "by|1.iban": "DE1", "at": "2026-05-01T09:00", "zone.at": "Europe/Berlin"}


def test_structs_and_unions_have_fields_of_their_own_and_times_a_zone() -> None:
    more = {"by|1.since": "2026-01-01T00:00:00.500", "zone.by|1.since": "-03:30", "code": "1", "code|1": "7"}
    assert paid({**ACCOUNT, **more, "bill.street": "Side", "bill.city": "Rome"}) == (
        {
            "by": {"type": "Account", "iban": "DE1", "since": "2026-01-01T00:00:00.500000-03:30"},
            "at": "2026-05-01T09:00:00+02:00",
            "code": "7",
            "bill": {"street": "Side", "city": "Rome"},
        },
        {},
    )
    assert paid({**ACCOUNT, "ship": "null", "bill.street": "Main"})[0]["ship"] is None
    assert paid({**ACCOUNT, "ship": "0", "ship|0.street": "Low", "bill.street": "Main"})[0]["ship"] == {"street": "Low"}


@pytest.mark.parametrize(
    ("sent", "problems"),
    [
        ({"by": "0", "by|0.number": "1", "by|0.address.street": ""}, {}),
        ({"code": "0", "code|0": "many"}, {"code|0": "must be a whole number"}),
        ({"code": "9"}, {}),
        ({"code": "x"}, {"code": "choose one of the kinds"}),
        ({"by|1.since": "soon"}, {"by|1.since": "must be a date and a time, such as 2026-05-01T09:00"}),
        ({"zone.at": "Mars"}, {"at": "there is no zone 'Mars': give one such as UTC, Europe/Berlin or +02:00"}),
        ({"at": "2026-03-29T02:30"}, {"at": "no clock in Europe/Berlin shows this time: it was set forward"}),
        ({"tree": "0", "tree|0.name": "a", "tree|0.below": "0"}, {}),
    ],
)
def test_a_problem_is_at_the_innermost_field(sent: dict[str, str], problems: dict[str, str]) -> None:
    assert paid({**ACCOUNT, "bill.street": "Main", **sent})[1] == problems


def test_a_problem_of_the_call_is_at_the_field_that_it_names() -> None:
    fields = fields_of(PAY)
    read(fields, Form([("arg.by", "1")]))
    other = report(
        fields, {"by": "Expected `str`, got `int` - at `by.iban`", "bill": "Object missing required field `street`"}
    )
    problems = {field.name: field.problem for field in _every(fields) if field.problem}
    assert other == ""
    assert problems == {"by|1.iban": "Expected `str`, got `int`", "bill.street": "is required"}


@pytest.mark.parametrize(
    "arguments",
    [
        {
            "by": {"type": "Card", "number": "1", "address": {"street": "Main", "city": "Bonn"}},
            "at": "2026-05-01T09:00:00",
        },
        {"by": {"type": "Account", "iban": "DE1"}, "at": "2026-05-01T09:00:00+05:30", "code": "text"},
        {"by": {"type": "Account", "iban": "DE1"}, "at": "2026-05-01T09:00:00.123456+00:00"},
        {"by": {"type": "Old", "rest": [1]}, "at": "2026-05-01T09:00:00+00:00", "code": [1]},
    ],
)
def test_a_form_that_is_filled_and_sent_has_the_same_arguments(arguments: dict[str, Any]) -> None:
    shown = fields_of(PAY, {"bill": {"street": "Main", "city": "Bonn"}, **arguments})
    sent = [(f"arg.{field.name}", field.value) for field in _every(shown)]
    sent += [(f"zone.{field.name}", field.zone) for field in _every(shown)]
    again = read(fields_of(PAY), Form(sent))
    assert {name: again[name] for name in arguments} == arguments


def test_the_form_of_a_task_has_a_fieldset_for_a_struct(served: Served) -> None:
    page = served.page("/task", name="build_report")
    assert re.search(r"<legend>\s*address", page)
    assert 'name="arg.address|0.street"' in page
    assert 'type="datetime-local"' in page
    assert 'name="zone.at"' in page
    form = {"name": "build_report", "arg.month": "2026-05-01", "arg.at": "2026-05-01T09:00", "zone.at": "Nowhere"}
    answer = served.submit("/task/enqueue", form)
    assert answer.status_code == 400
    assert "there is no zone &#39;Nowhere&#39;" in answer.text


def test_what_cannot_be_read_is_reported_at_its_field() -> None:
    fields = fields_of(tasks().get("build_report"))
    read(fields, Form([("arg.rows", "many"), ("arg.ids", "[1"), ("arg.month", "x")]))
    problems = {field.name: field.problem for field in fields if field.problem}
    assert problems.keys() == {"rows", "ids"}
    assert problems["rows"] == "must be a whole number"


def test_a_job_is_enqueued(served: Served) -> None:
    fields = {"arg.to": "form@example.com", "arg.subject": "From a form", "arg.urgent": "true"}
    said = served.note("/task/enqueue", {"name": "send_email", "key": "by form", "priority": "high", **fields})
    assert said == "Enqueued the job."
    eventually_sync(lambda: "sent to form@example.com" in served.page("/job", key="by form"))
    assert "&#34;From a form&#34;" in served.page("/job", key="by form")


def test_wrong_arguments_are_explained_at_their_fields_and_kept(served: Served) -> None:
    answer = served.submit("/task/enqueue", {"name": "build_report", "arg.month": "2026-99-99", "arg.rows": "7"})
    assert answer.status_code == 400
    assert "Some arguments do not fit. Nothing was enqueued." in answer.text
    assert "Invalid RFC3339 encoded date" in answer.text
    assert 'value="7"' in answer.text


@pytest.mark.parametrize("delay", ["soon", "-5"])
def test_a_delay_that_is_none_is_explained(served: Served, delay: str) -> None:
    answer = served.submit("/task/enqueue", {"name": "echo", "delay": delay})
    assert answer.status_code == 400
    assert "no duration" in answer.text


def test_all_that_is_wrong_is_said_at_once(served: Served) -> None:
    form = {"name": "build_report", "arg.rows": "many", "arg.kind": "none", "arg.address.street": "", "delay": "soon"}
    text = served.submit("/task/enqueue", {**form, "key": "k" * 513, "priority": "highest"}).text
    assert text.count('aria-invalid="true"') == 6
    assert "must be a whole number" in text
    assert "Delay: &#39;soon&#39; is no duration" in text
    assert "has 513 characters; it has 512 at most" in text
    assert "Priority: must be one of high, normal, low" in text


def test_further_arguments_are_a_json_object(served: Served) -> None:
    assert served.submit("/task/enqueue", {"name": "echo", "arg.further": "[1]"}).status_code == 400
    assert served.note("/task/enqueue", {"name": "echo", "arg.further": '{"a": 1}'}) == "Enqueued the job."


def test_an_unknown_task_is_a_page(served: Served) -> None:
    assert served.client.get("/console/task", params={"name": "<b>"}).status_code == 404


def test_a_redacted_value_does_not_come_back_to_its_sender(served: Served) -> None:
    form = {"name": "build_report", "arg.month": "never", "arg.token": "hush-hush"}
    answer = served.submit("/task/enqueue", form)
    assert answer.status_code == 400
    assert "hush-hush" not in answer.text
    assert "enter it again" in answer.text
    answer = served.submit("/task/enqueue", {"name": "hidden", "delay": "soon", "arg.further": '{"pin": "hush-hush"}'})
    assert answer.status_code == 400
    assert "hush-hush" not in answer.text


def test_a_redacted_value_that_was_shown_is_not_enqueued(served: Served) -> None:
    key = served.ended("hidden", plain="seen", pin="1234-5678", other="more")
    page = served.page("/task", name="hidden", key=key, queue="default")
    assert "[redacted]" not in page
    assert 'value="seen"' in page
    form = {"name": "build_report", "arg.month": "2026-05-01", "arg.token": "[redacted]"}
    answer = served.submit("/task/enqueue", form)
    assert answer.status_code == 400
    assert "pass it again" in answer.text
    replay = {"name": "hidden", "dead_letter": key, "queue": "default", "arg.plain": "seen"}
    answer = served.submit("/task/enqueue", replay)
    assert answer.status_code == 400
    assert "pin: is redacted and was not kept: pass it again" in answer.text


def test_the_zones_are_there_where_a_time_needs_one(served: Served) -> None:
    assert 'value="Europe/Berlin"' in served.page("/task", name="build_report")
    assert 'value="Europe/Berlin"' not in served.page("/task", name="send_email")


def test_what_a_docstring_has_in_backticks_is_code() -> None:
    assert marked_up("Delete `days` <b> and ``more``, not a ` alone") == (
        "Delete <code>days</code> &lt;b&gt; and <code>more</code>, not a ` alone"
    )


def test_a_request_to_copy_names_who_is_signed_in() -> None:
    job: Any = SimpleNamespace(task="send_email", arguments={"to": "ada"})
    assert as_curl(job, "http://127.0.0.1", None).startswith("curl -X POST http://127.0.0.1/tasks/send_email ")
    assert as_curl(job, "http://127.0.0.1", "olga o'neil").startswith("""curl -u 'olga o'"'"'neil' -X POST """)
