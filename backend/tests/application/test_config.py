"""SaqueductConfig: its defaults, the environment, and what it refuses."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from saqueduct import ConfigurationError, SaqueductConfig
from saqueduct import config_checks as checks
from saqueduct.sizes import Sizes
from saqueduct.timings import ConsoleTimings, PostgresTimings, Timings

NUMBERS = [field for field in dataclasses.fields(SaqueductConfig) if "kind" in field.metadata]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "DATABASE_URL", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)


def test_urls_and_environment_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://redis.example.com")
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example.com/app")
    monkeypatch.setenv("ENVIRONMENT", "production")
    config = SaqueductConfig()
    assert config.redis_url == "redis://redis.example.com"
    assert config.database_url == "postgresql://db.example.com/app"
    assert config.production
    assert SaqueductConfig(redis_url="redis://other").redis_url == "redis://other"


def test_an_engine_keeps_database_url_of_the_environment_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example.com/app")
    assert SaqueductConfig(engine=create_async_engine("postgresql+asyncpg://other/app")).database_url == ""


PATHS = ("api_path", "console_path", "ui_path")


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
@pytest.mark.parametrize("wrong", [-1, "ten", True, None])
def test_a_number_out_of_bounds_is_an_error_with_its_field_and_unit(
    field: "dataclasses.Field[Any]", wrong: Any
) -> None:
    with pytest.raises(ConfigurationError, match=rf"{field.name}={wrong!r}: must be .*\({field.metadata['unit']}\)"):
        SaqueductConfig(**{field.name: wrong})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_payload_bytes": 65 * 1024 * 1024}, "from 1 to 67,108,864"),
        ({"concurrency": 1.5}, "must be a whole number"),
        ({"keep_failed_days": 10**9}, "from 1 to 36,500"),
        ({"database_lock_timeout": 10**9}, "from 0 to 86,400"),
        ({"grace_period": float("inf")}, "from 0 to 31,622,400"),
        ({"forgotten_after": 0}, "more than 0 to 31,622,400"),
        ({"traces": "off"}, "traces takes True or False, not 'off'"),
        ({"metrics": "no"}, "metrics takes True or False or None, not 'no'"),
        ({"admin_token": 5}, "admin_token takes a text, not int"),
        ({"trusted_proxies": 5}, "trusted_proxies takes a list, not 5"),
        ({"startup": print}, "startup takes a list"),
        ({"monitors": ["x"]}, "monitors takes a mapping.*, not list"),
        ({"timings": {}}, "timings takes a Timings"),
        ({"queues": 5}, "queues takes a list, not 5"),
        ({"trace_producer": []}, "trace_producer takes a text"),
        ({"queues": []}, "queues is empty"),
        ({"worker_queues": []}, "worker_queues is empty"),
        ({"guards": []}, "guards is empty, so that anyone could change jobs"),
        ({"queues": "default"}, "takes names in a list"),
        ({"worker_queues": ["mails"]}, "'mails' is not one of queues: there are default"),
        ({"worker_queues": ["defualt"]}, "'defualt' is not one of queues: did you mean 'default'?"),
        ({"redis_url": "http://localhost"}, "redis_url: "),
        ({"database_url": "mysql://localhost"}, "must start with postgresql://"),
        ({"database_url": "postgresql://a/b", "engine": object()}, "database_url and engine each name a database"),
        ({"cron_timezone": "Berlin"}, "'Berlin' is not an IANA time zone"),
        *(({name: "jobs"}, f"{name}: 'jobs' does not start with a slash") for name in PATHS),
        ({"environment": "staging"}, "neither development nor production"),
        ({"timings": Timings(lease=0)}, r"timings.lease=0: must be a number, more than 0 \(seconds\)"),
        ({"timings": Timings(renewal=3.0)}, r"timings.lease=8: must be three times timings.renewal \(3\)"),
        ({"timings": Timings(recovery_wait=1.0)}, r"timings.recovery_wait=1: must be timings.renewal \(2\) or more"),
        (
            {"timings": Timings(postgres=PostgresTimings(write=0))},
            r"timings.postgres.write=0: must be a number, more than 0 \(seconds\)",
        ),
        (
            {"timings": Timings(console=ConsoleTimings(answer=float("inf")))},
            r"timings.console.answer=inf: must be a number, more than 0 \(seconds\)",
        ),
        ({"timings": Timings(peek=5.0)}, "timings.peek=5: must be 4 or less"),
        ({"sizes": {}}, "sizes takes a Sizes"),
        (
            {"sizes": Sizes(waiting_records=0)},
            "sizes.waiting_records=0: must be a whole number, from 1 to 1,000,000,000",
        ),
        (
            {"sizes": Sizes(job_bytes=10**9)},
            "sizes.job_bytes=1000000000: must be a whole number, from 1 to 167,772,160",
        ),
        (
            {"sizes": Sizes(waiting_records=10_000)},
            r"sizes.full_records=20,000: must be less than sizes.waiting_records \(10,000\)",
        ),
        *(({name: "  "}, f"{name} is blank") for name in checks.SECRETS),
        *(({name: "caf\udce9"}, f"{name} contains NUL, or bytes that are not UTF-8") for name in checks.SECRETS),
        ({"admin_username": "ada "}, "admin_username: a person's name has 1 to 200 printable characters"),
        ({"admin_username": "a:b"}, "admin_username: must be a name without a colon"),
        ({"queues": ["a\x00b"]}, "queues: 'a.*b' is no name of a queue"),
        ({"queues": ["caf\udce9"]}, "queues: 'caf.*' is no name of a queue"),
        ({"queues": ["x" * 513]}, "queues: 'x*' is no name of a queue, which has .* 512 bytes at most"),
    ],
)
def test_what_does_not_fit_is_an_error_that_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SaqueductConfig(**fields)


def test_a_variable_that_is_not_set_is_like_a_field_left_out() -> None:
    assert SaqueductConfig(redis_url=None, alert_mail_to=None, version=None) == SaqueductConfig()  # type: ignore[arg-type]


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SaqueductConfig(concurrency=0, grace_period=-1, cron_timezone="Mars")
    assert str(caught.value).count("\n  - ") == 3


def test_passwords_are_not_shown() -> None:
    config = SaqueductConfig(redis_url="redis://:hush@localhost", database_url="postgresql://me:hush@localhost/app")
    assert "hush" not in repr(config)


def test_the_reference_lists_every_setting() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/reference/configuration.md").read_text()
    missing = [field.name for field in dataclasses.fields(SaqueductConfig) if f"`{field.name}`" not in page]
    assert missing == []
