"""What the logs must not contain."""

import json
import logging

import msgspec
import pytest
import structlog
from saq import Job

from app.logs import configure_logging
from app.settings import load_settings
from saqueduct.tasks.redaction import AbridgedJobs
from saqueduct.testing import JobKit


def test_a_failing_jobs_arguments_are_not_logged() -> None:
    record = logging.LogRecord("saq", logging.ERROR, "", 0, "Error processing job %s", (), None)
    record.args = (Job("register", kwargs={"password": "hunter2"}),)
    assert AbridgedJobs().filter(record)
    assert "hunter2" not in record.getMessage()
    assert "register" in record.getMessage()


def test_saq_never_logs_below_info(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_LEVEL": "DEBUG"}))
    assert not logging.getLogger("saq").isEnabledFor(logging.DEBUG)
    assert logging.getLogger("saqueduct").isEnabledFor(logging.DEBUG)


def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_FORMAT": "json"}))
    password = "hunter2"
    try:
        raise ValueError("broken\nin two" if password else "")
    except ValueError:
        logging.getLogger("saqueduct").exception("it failed: %s", "why")
    [line] = capsys.readouterr().err.splitlines()
    assert password not in line
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["logger"]) == ("it failed: why", "error", "saqueduct")
    assert entry["exception"][0]["exc_value"] == "broken\nin two"


async def test_jobs_that_go_well_are_logged_when_it_is_asked(jobs: JobKit, capsys: pytest.CaptureFixture[str]) -> None:
    for level, events in (
        ("INFO", []),
        ("DEBUG", [*(f"job KEY of ping {what}" for what in ("enqueued", "started", "ended: complete"))]),
    ):
        configure_logging(load_settings({"LOG_LEVEL": level, "LOG_FORMAT": "json"}))
        job = await jobs.run("ping")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        logged = [line for line in lines if line["logger"] == "saqueduct.jobs"]
        assert [line["event"].replace(job.key, "KEY") for line in logged] == events
    assert {(line["task"], line["queue"], line["job"]) for line in logged} == {("ping", "default", job.key)}
    assert [line.get("attempt") for line in logged] == [None, 1, 1]
    assert logged[-1]["status"] == "complete"
    assert logged[-1]["seconds"] >= 0


FORGED = "2026-01-01T00:00:00.000000Z [info     ] all is well"
SPOILT = f"a\n{FORGED}\r\x1b[2J\x9b\u2028\x00b\udce9"


def _logs_and_fails() -> None:
    logger = logging.getLogger("saqueduct")
    logger.warning("the job %s was lost", SPOILT)
    try:
        raise ValueError(f"cannot parse {SPOILT}")
    except ValueError:
        logger.exception("job %s failed", SPOILT)
    structlog.get_logger("saqueduct").info("plain", key=SPOILT, short="x\x1b[2J")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_no_text_of_a_user_looks_like_a_line_of_the_log(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(load_settings({"LOG_FORMAT": log_format}))
    _logs_and_fails()
    written = capsys.readouterr().err
    assert not set(written) & set("\r\x1b\x9b\u2028\x00\udce9")
    assert "all is well" in written
    assert not [line for line in written.splitlines() if line.startswith(FORGED)]


def test_a_traceback_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_FORMAT": "console"}))
    _logs_and_fails()
    lines = [line.strip() for line in capsys.readouterr().err.splitlines()]
    first = lines.index("Traceback (most recent call last):")
    assert lines[first + 2] == 'raise ValueError(f"cannot parse {SPOILT}")'
    assert lines[first + 3] == "ValueError: cannot parse a"


def test_a_stack_keeps_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_FORMAT": "console"}))
    logging.getLogger("saqueduct.worker").error(
        "job a blocks it", extra={"stack": '  File "x.py", line 1\n    sleep()'}
    )
    assert capsys.readouterr().err.splitlines()[-2:] == ['  File "x.py", line 1', "    sleep()"]


def test_lines_of_json_are_json_for_strict_readers(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_FORMAT": "json"}))
    _logs_and_fails()
    taken, failed, plain = (msgspec.json.decode(line) for line in capsys.readouterr().err.splitlines())
    assert taken["event"].startswith("the job a\\n2026-01-01T")
    assert failed["exception"][0]["exc_value"].startswith("cannot parse a\n2026-01-01T")
    assert plain["short"] == "x\\x1b[2J"
