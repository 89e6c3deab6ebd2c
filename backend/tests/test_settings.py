"""Environment -> settings."""

import re
from pathlib import Path

import pytest

from app.queue.config import build_config
from app.settings import Settings, SettingsError, load_settings
from saqueduct.common.secret import Secret
from saqueduct.postgres.engine import sqlalchemy_url

PRODUCTION = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "x" * 32,
    "ADMIN_PASSWORD": "secret admin",
    "REDIS_URL": "rediss://cache.example.com",
    "DATABASE_URL": "postgresql://user:pw@db.example.com/app",
    "SMTP_HOST": "smtp.example.com",
    "WEB_ALLOWED_HOSTS": "jobs.example.com",
}


def test_an_empty_environment_is_development_on_defaults() -> None:
    settings = load_settings({})
    assert not settings.production
    assert (settings.web.port, settings.worker.concurrency, settings.queue_names) == (8000, 10, ("default",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEB_PORT", "0"),
        ("WEB_PORT", "web"),
        ("WORKER_CONCURRENCY", "0"),
        ("LOG_LEVEL", "loud"),
        ("WORKER_CRON_TIMEZONE", "Mars/Base"),
        ("REDIS_URL", "http://x"),
        ("DATABASE_URL", "mysql://x"),
        ("WORKER_QUEUES", "other"),
        ("QUEUE_NAMES", " , "),
        ("ENVIRONMENT", "staging"),
    ],
)
def test_an_invalid_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({name: value})


ODD = (
    "",
    " ",
    "0",
    "-1",
    "9" * 24,
    "2147483648",
    "é→😀",
    "1.5",
    "inf",
    "1e3",
    "a\nb",
    ",",
    "true",
    "http://x y",
    "a:b",
)


def _refusals(environ: dict[str, str]) -> list[str]:
    try:
        build_config(load_settings(environ))
    except SettingsError as error:
        return error.problems
    return []


@pytest.mark.parametrize("name", Settings.variables())
def test_an_odd_value_is_accepted_by_all_or_refused_by_its_variable(name: str) -> None:
    for value in ODD:
        problems = _refusals({name: value})
        assert all(name in problem for problem in problems), (value, problems)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SMTP_SECURITY", "ssl", "must be starttls or tls or none"),
        ("QUEUE_KEEP_FAILED_DAYS", "999999999", "<= 36500"),
        ("WEB_STATEMENT_TIMEOUT", "2147484", "<= 86400"),
        ("USERS_REFRESH_TOKEN_DAYS", "999999999", "<= 36500"),
        ("WEB_HOST", "", "0.0.0.0 for all"),
        ("METRICS_HOST", "", "0.0.0.0 for all"),
        ("DEV_DIR", " ", "name a folder"),
        ("ADMIN_USERNAME", "a:b", "without a colon"),
        ("ADMIN_USERNAME", "ada ", "printable characters"),
        ("ADMIN_PROXY_ROLE_HEADER", "X-Role", "needs ADMIN_PROXY_USER_HEADER"),
        ("ALERT_WEBHOOK", "hooks.example.com", "http://"),
        ("SMTP_HOST", "smtp://mail.example.com:25", "without smtp:// and port"),
        ("ADMIN_PASSWORD", " ", "is blank"),
        ("METRICS_TOKEN", "\t", "is blank"),
        ("WORKER_CONCURRENCY", "caf\udce9", "not UTF-8"),
        ("SECRET_KEY", "caf\udce9", "not UTF-8"),
        ("QUEUE_NAMES", "a\x00b", "control characters"),
    ],
)
def test_what_would_fail_later_is_refused_with_the_remedy(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}.*{re.escape(words)}"):
        load_settings({name: value})


@pytest.mark.parametrize("host", ["10.0.0.7", "::1", "localhost", "web.internal"])
def test_addresses_to_listen_on(host: str) -> None:
    assert load_settings({"WEB_HOST": host}).web.host == host


@pytest.mark.parametrize("line", ["WEB_PORT", "WEB_PORT 9000", ": 9000", "export WEB_PORT"])
def test_a_line_of_the_env_file_that_sets_nothing_is_named_and_not_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# comment\n\nLOG_LEVEL=DEBUG\n{line}\nWORKER_PROCESSES=2\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({}, tmp_path / ".env")
    assert caught.value.problems == [".env, line 4: write it as NAME=value, or begin it with # to leave it out"]


def test_an_env_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"ADMIN_PASSWORD=caf\xe9\n")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load_settings({}, tmp_path / ".env")


def test_an_env_file_of_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfWEB_PORT=9000\r\nLOG_LEVEL=DEBUG\r\n")
    settings = load_settings({}, tmp_path / ".env")
    assert (settings.web.port, settings.app.log_level) == (9000, "DEBUG")


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"WEB_PORT": "x" * 5_000})
    assert "WEB_PORT" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_every_invalid_value_is_named_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"WEB_PORT": "x", "WORKER_PROCESSES": "none"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["WEB_PORT", "WORKER_PROCESSES"]


def test_an_unknown_variable_in_the_env_file_is_named_with_a_near_one(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WORKER_CONCURENCY=5\n")
    with pytest.raises(SettingsError, match="WORKER_CONCURENCY is not a setting; did you mean WORKER_CONCURRENCY"):
        load_settings({}, tmp_path / ".env")


def test_the_environment_overrides_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WEB_PORT=9000\nWORKER_CONCURRENCY=3\n")
    settings = load_settings({"WEB_PORT": "9001"}, tmp_path / ".env")
    assert (settings.web.port, settings.worker.concurrency) == (9001, 3)


def test_production_starts_with_all_it_needs() -> None:
    assert load_settings(PRODUCTION).production


@pytest.mark.parametrize("name", [name for name in PRODUCTION if name != "ENVIRONMENT"])
def test_production_refuses_to_start_without(name: str) -> None:
    environment = {key: value for key, value in PRODUCTION.items() if key != name}
    with pytest.raises(SettingsError, match=name):
        load_settings(environment)


def test_production_refuses_a_short_secret_key_without_telling_it() -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY") as caught:
        load_settings(PRODUCTION | {"SECRET_KEY": "too short to sign"})
    assert "too short to sign" not in str(caught.value)


@pytest.mark.parametrize("name", ["https://jobs.example.com", "jobs.example.com:443", "a b", "*example.com", "a/b"])
def test_a_host_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"WEB_ALLOWED_HOSTS: .* is no host name"):
        load_settings({"WEB_ALLOWED_HOSTS": f"jobs.example.com,{name}"})


@pytest.mark.parametrize("address", ["*", "proxy", "10.0.0.1/8", "10.0.0.0/33"])
def test_a_proxy_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match=r"WEB_TRUSTED_PROXIES: .* is not an address"):
        load_settings({"WEB_TRUSTED_PROXIES": f"10.0.0.1,{address}"})


def test_all_bodies_together_are_allowed_as_much_as_one() -> None:
    with pytest.raises(SettingsError, match="WEB_MAX_BODIES_BYTES is less than WEB_MAX_BODY_BYTES"):
        load_settings({"WEB_MAX_BODIES_BYTES": "1000"})


def test_servers_are_asked_for_by_name() -> None:
    with pytest.raises(SettingsError, match="REDIS_URL is not set") as caught:
        load_settings({}).require_servers()
    assert len(caught.value.problems) == 2


def test_secrets_do_not_show() -> None:
    shown = repr(load_settings(PRODUCTION))
    for secret in ("xxxx", "secret admin", "user:pw"):
        assert secret not in shown
    assert f"{Secret('hunter2')}" == "Secret('***')"


def test_an_empty_secret_matches_nothing() -> None:
    assert not Secret("").matches("")
    assert Secret("a").matches("a")
    assert not Secret("a").matches("b")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgres://u:p@h:1/d?sslmode=require", "postgresql+asyncpg://u:p@h:1/d?ssl=require"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql://postgres@/d?host=/run/pg", "postgresql+asyncpg://postgres@/d?host=%2Frun%2Fpg"),
    ],
)
def test_database_urls_are_spelled_for_asyncpg(given: str, wanted: str) -> None:
    assert sqlalchemy_url(given) == wanted


def test_every_field_is_documented_by_its_variable() -> None:
    source = Path(__file__).parents[1].joinpath("app", "settings/sections.py").read_text()
    for name in Settings.variables():
        assert f'"""{name}. ' in source, name
