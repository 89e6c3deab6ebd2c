"""What the logs must not tell."""

import json
import logging

import pytest
from saq import Job

from app.logs import configure_logging
from app.queue.redaction import AbridgedJobs
from app.queue.testing import JobKit
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


async def test_jobs_that_go_well_are_told_of_when_it_is_asked(jobs: JobKit, capsys: pytest.CaptureFixture[str]) -> None:
    for level, events in (("INFO", []), ("DEBUG", ["job started", "job ended"])):
        configure_logging(load_settings({"LOG_LEVEL": level, "LOG_FORMAT": "json"}))
        job = await jobs.run("ping")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        told = [line for line in lines if line["logger"] == "app.jobs"]
        assert [line["event"] for line in told] == events
    assert {(line["task"], line["job"], line["attempt"]) for line in told} == {("ping", job.key, 1)}
    assert told[-1]["status"] == "complete"
    assert told[-1]["seconds"] >= 0
