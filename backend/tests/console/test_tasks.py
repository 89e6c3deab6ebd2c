"""Tasks, and the form that enqueues."""

from typing import Any

import pytest

from saqueduct.console.arguments_form import fields_of, read
from saqueduct.console.forms import Form
from tests.console.conftest import Served, tasks
from tests.fixtures.poll import eventually_sync


def sent(**arguments: str) -> dict[str, Any]:
    fields = fields_of(tasks().get("build_report"))
    return read(fields, Form([(f"arg.{name}", value) for name, value in arguments.items()]))


def test_the_catalog_shows_documentation_and_options(served: Served) -> None:
    page = served.page("/tasks")
    assert "Send a mail to a customer." in page
    assert "tags=[&#34;mail&#34;]" in page


def test_a_form_is_read_as_the_types_of_the_arguments() -> None:
    assert sent(
        month="2026-05-01", kind="stock", rows="12345678901234567890", address='{"street": "Main"}', ids="[1, 2]"
    ) == {
        "month": "2026-05-01",
        "kind": "stock",
        "rows": 12345678901234567890,
        "address": {"street": "Main"},
        "ids": [1, 2],
    }
    assert sent(month="2026-05-01", rows="", token="") == {"month": "2026-05-01"}


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
