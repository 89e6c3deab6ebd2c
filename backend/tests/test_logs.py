"""What the logs must not tell."""

import json
import logging

import pytest
from saq import Job

from app.logs import configure_logging
from app.queue.redaction import AbridgedJobs
from app.settings import load_settings


def test_a_failing_jobs_arguments_are_not_logged() -> None:
    record = logging.LogRecord("saq", logging.ERROR, "", 0, "Error processing job %s", (), None)
    record.args = (Job("register", kwargs={"password": "hunter2"}),)
    assert AbridgedJobs().filter(record)
    assert "hunter2" not in record.getMessage()
    assert "register" in record.getMessage()


def test_saq_never_logs_below_info(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_LEVEL": "DEBUG"}))
    assert not logging.getLogger("saq").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("app.queue").isEnabledFor(logging.DEBUG)


def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_FORMAT": "json"}))
    password = "hunter2"
    try:
        raise ValueError("broken\nin two" if password else "")
    except ValueError:
        logging.getLogger("app.queue").exception("it failed: %s", "why")
    [line] = capsys.readouterr().err.splitlines()
    assert password not in line
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["logger"]) == ("it failed: why", "error", "app.queue")
    assert entry["exception"][0]["exc_value"] == "broken\nin two"
