"""Values of redacted parameters stay out of errors, logs and web pages."""

import datetime as dt
import json
import logging
import traceback
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import httpx
import msgspec
import pydantic
import pytest
import structlog
from saq import Job
from saq.job import Status
from sqlalchemy.ext.asyncio import AsyncSession

from app.logs import configure_logging
from app.settings import load_settings
from saqueduct import INJECTED, Context, InvalidArguments, Queues, RegistrationError, get_registry, task
from saqueduct.errors import PayloadMismatch
from saqueduct.tasks.redaction import NO_SECRETS, REDACTED, AbridgedJobs, Secrets, keep, scrub
from saqueduct.tasks.signature import Signature
from saqueduct.testing import JobKit

SECRET = "hunter2-Köln"


async def sign_in(ctx: Context, *, user: str, password: str = "changeme") -> str:  # noqa: S107
    return user


SIGN_IN = Signature(sign_in, redact=("password",))


@pytest.fixture(autouse=True)
def no_secrets_left() -> Iterator[None]:
    yield
    keep(NO_SECRETS)


def test_a_redacted_value_is_replaced_whole() -> None:
    shown = SIGN_IN.redacted({"user": "ada", "password": {"old": [SECRET]}})
    assert shown == {"user": "ada", "password": "[redacted]"}


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    with pytest.raises(RegistrationError, match=r"redact names 'pass', which is no .*user, password"):
        Signature(sign_in, redact=("pass",))


def test_an_injected_parameter_needs_no_redaction() -> None:
    async def job(ctx: Context, *, session: AsyncSession = INJECTED) -> None: ...

    with pytest.raises(RegistrationError, match="'session', which is injected and never shown"):
        Signature(job, redact=("session",))


def test_double_star_is_redacted_as_a_whole() -> None:
    async def job(ctx: Context, *, user: str, **keys: str) -> None: ...

    signature = Signature(job, redact=("keys",))
    assert signature.redacted({"user": "ada", "aws": SECRET}) == {"user": "ada", "aws": REDACTED}


def test_the_schema_marks_it_write_only_and_hides_its_default() -> None:
    properties = SIGN_IN.json_schema()["properties"]
    assert properties == {"user": {"type": "string"}, "password": {"type": "string", "writeOnly": True}}


class Key(pydantic.BaseModel):
    text: str

    @pydantic.field_validator("text")
    @classmethod
    def _refuse(cls, text: str) -> str:
        raise ValueError(f"{text} is bad")


class Unencodable:
    def __repr__(self) -> str:
        return SECRET


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        (Literal["a", "b"], SECRET),
        (dict[str, Literal["a"]], {"x": SECRET}),
        (Key, {"text": SECRET}),
        (Annotated[str, msgspec.Meta(max_length=3)], SECRET),
        (Any, Key.model_construct(text=SECRET, extra=object())),
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["encode", "decode", "receive", "decode_json"])
def test_errors_do_not_tell_the_value(declared: Any, value: Any, way: str) -> None:
    async def job(ctx: Context, *, password: Any, further: int) -> None: ...

    job.__annotations__["password"] = declared
    signature = Signature(job, redact=("password",))
    raw: Any = {"password": value}
    with pytest.raises(InvalidArguments) as caught:
        getattr(signature, way)(msgspec.json.encode(raw, enc_hook=str) if way == "decode_json" else raw)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    assert isinstance(caught.value, PayloadMismatch) is (way in ("receive", "decode_json"))


def test_errors_tell_the_declared_type_and_other_values() -> None:
    async def job(ctx: Context, *, plan: Literal["a"], key: Literal["b"]) -> None: ...

    with pytest.raises(InvalidArguments) as caught:
        Signature(job, redact=("key",)).encode({"plan": "x", "key": SECRET})
    assert caught.value.problems["plan"] == "Invalid enum value 'x'"
    assert caught.value.problems["key"] == "must be typing.Literal['b'], what was given is [redacted]"


NASTY = "a\n\"quoted\" 'täxt' \\ & more"


@pytest.mark.parametrize("value", [SECRET, NASTY, 4111111111111111, 12.125, b"\x00secret\xff"], ids=repr)
def test_a_value_is_found_in_whatever_form_it_shows(value: Any) -> None:
    secrets = Secrets(lambda: [{"deep": [value]}])
    forms = [f"{value}", f"{value!r}", str(KeyError(value)), json.dumps(str(value)), json.dumps(repr(value))]
    for form in forms:
        assert REDACTED in secrets.scrub(f"before {form} after")
        assert "a\n" not in secrets.scrub(form)
        assert "secret" not in secrets.scrub(form)


def test_bytes_are_found_as_they_travel_and_as_the_function_has_them() -> None:
    async def job(ctx: Context, *, key: bytes) -> None: ...

    signature = Signature(job, redact=("key",))
    raw = signature.encode({"key": b"\x01\x02secret"})
    scrubbed = signature.secrets(raw).scrub(f"{raw['key']} {b'x' + signature.decode(raw)['key']!r}")
    assert scrubbed == "[redacted] b'x[redacted]'"


def test_short_values_and_other_arguments_are_left() -> None:
    secrets = SIGN_IN.secrets({"user": "ada lovelace", "password": "abc"})
    assert secrets.scrub("ada lovelace abc") == "ada lovelace abc"


def test_of_two_values_the_longer_goes_first() -> None:
    assert Secrets(lambda: ["pass", "password"]).scrub("password") == REDACTED


def test_the_shortened_input_of_a_pydantic_error_is_hidden() -> None:
    long = "-".join(str(number) for number in range(50))
    with pytest.raises(pydantic.ValidationError) as caught:
        pydantic.TypeAdapter(int).validate_python(long)
    assert "0-1-2-3" in str(caught.value)
    assert "0-1-2-3" not in Secrets(lambda: [long]).scrub(str(caught.value))


def test_what_holds_nothing_secret_is_left_as_it_is() -> None:
    moment = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    value = {"at": moment, "n": [1, None, True]}
    assert Secrets(lambda: [SECRET]).scrub_value(value) == value


def log_a_failure(logger: Any) -> None:
    try:
        raise KeyError(SECRET)
    except KeyError:
        logger.exception("signing in with %s failed", SECRET)


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("logger", [logging.getLogger("app.test"), structlog.stdlib.get_logger("app.test")], ids=type)
def test_lines_that_a_job_logs_are_scrubbed(log_format: str, logger: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({"LOG_FORMAT": log_format}))
    keep(SIGN_IN.secrets({"user": "ada", "password": SECRET}))
    log_a_failure(logger)
    written = capsys.readouterr().err
    assert "hunter2" not in written
    assert "signing in with [redacted] failed" in written
    keep(NO_SECRETS)
    log_a_failure(logger)
    assert "hunter2" in capsys.readouterr().err


def test_outside_of_a_job_nothing_is_scrubbed() -> None:
    assert scrub(SECRET) == SECRET


@pytest.mark.parametrize(
    ("message", "args"),
    [("job %s", (Job("sign_in", kwargs={"password": SECRET}),)), (Job("sign_in", kwargs={"password": SECRET}), ())],
)
def test_jobs_are_logged_without_arguments(message: Any, args: Any) -> None:
    record = logging.LogRecord("saq", logging.ERROR, "", 0, message, (), None)
    record.args = args
    assert AbridgedJobs().filter(record)
    assert SECRET not in record.getMessage()
    assert "sign_in" in record.getMessage()


def test_jobs_by_name_are_logged_without_arguments() -> None:
    job = Job("sign_in", kwargs={"password": SECRET})
    record = logging.LogRecord("saq", logging.ERROR, "", 0, "%(job)s", ({"job": job},), None)
    assert AbridgedJobs().filter(record)
    assert SECRET not in record.getMessage()
    structured = logging.LogRecord("app", logging.ERROR, "", 0, {"event": "x", "job": job}, (), None)
    AbridgedJobs().filter(structured)
    assert SECRET not in str(structured.msg)


@pytest.fixture
async def waiting(own_tasks: None, queues: Queues) -> Job:
    """A job with a secret, of a task that redacts it."""
    registered = task(redact=("password",))(sign_in)
    registered.signature = SIGN_IN
    await registered.options(key="one", meta={"note": SECRET}).enqueue(user="ada", password=SECRET)
    return await queues.find("one")


async def test_the_ui_shows_no_redacted_value(waiting: Job, client: httpx.AsyncClient) -> None:
    for path in ("/saq/api/queues/default", "/saq/api/queues/default/jobs/one"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert "sign_in" in answer.text
        assert "ada" in answer.text
        assert SECRET not in answer.text
        assert REDACTED in answer.text


async def test_the_ui_shows_no_argument_of_an_unknown_task(queues: Queues, client: httpx.AsyncClient) -> None:
    queue = queues.get("default")
    job = Job("gone", key="two", kwargs={"token": SECRET}, queue=queue)
    await queue.redis.set(job.id, queue.serialize(job))
    answer = await client.get("/saq/api/queues/default/jobs/two")
    assert answer.json()["job"]["kwargs"] == "{'token': '[redacted]'}"


async def test_the_ui_retries_with_the_whole_arguments(waiting: Job, queues: Queues, client: httpx.AsyncClient) -> None:
    for action in ("abort", "retry"):
        assert (await client.post(f"/saq/api/queues/default/jobs/one/{action}")).status_code == 202
        job = await queues.find("one")
        assert job.kwargs == {"user": "ada", "password": SECRET}


async def test_a_failing_job_tells_its_secret_nowhere(jobs: JobKit) -> None:
    with get_registry().isolated():

        @task(redact=("password",))
        async def login(ctx: Context, *, password: str) -> None:
            raise ValueError(f"no login with {password!r}")

        job = await jobs.run("login", password=SECRET)
    assert job.status is Status.FAILED
    assert "no login with '[redacted]'" in (job.error or "")
    assert SECRET not in (job.error or "")


def test_the_decorator_refuses_to_redact_what_is_no_parameter() -> None:
    with pytest.raises(RegistrationError, match="pasword"), get_registry().isolated():

        @task(redact=("pasword",))
        async def login(ctx: Context, *, password: str) -> None: ...
