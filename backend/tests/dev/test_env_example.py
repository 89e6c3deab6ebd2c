"""`.env.example` names every setting once, with its default and a comment."""

import io
import re

import msgspec
import pytest
from dotenv import dotenv_values

from app.queue.config import load_config
from app.settings import REPOSITORY, Settings
from saqueduct.common.secret import Secret

EXAMPLE = (REPOSITORY / ".env.example").read_text()
LINE = re.compile(r"^#?([A-Z_]+)=", re.MULTILINE)


def defaults() -> dict[str, str]:
    """Variable -> default, as `.env` spells it."""
    return {
        variable: spell(getattr(getattr(Settings(), name), field))
        for name, section in Settings.sections().items()
        for variable, field in section.variables().items()
    }


def spell(value: object) -> str:
    text = value.reveal() if isinstance(value, Secret) else str(msgspec.to_builtins(value))
    return text.removeprefix(f"{REPOSITORY}/")


def test_every_setting_is_there_once() -> None:
    assert sorted(LINE.findall(EXAMPLE)) == sorted(Settings.variables())


@pytest.mark.parametrize("variable", Settings.variables())
def test_the_default_is_the_real_one(variable: str) -> None:
    uncommented = LINE.sub(r"\1=", EXAMPLE)
    assert dotenv_values(stream=io.StringIO(uncommented), interpolate=False)[variable] == defaults()[variable]


@pytest.mark.parametrize("variable", Settings.variables())
def test_a_comment_says_what_it_is(variable: str) -> None:
    lines = EXAMPLE.splitlines()
    [index] = [index for index, line in enumerate(lines) if re.match(f"#?{variable}=", line)]
    assert lines[index - 1].startswith("# ")


def test_a_copy_changes_nothing() -> None:
    assert dotenv_values(stream=io.StringIO(EXAMPLE)) == {}


def test_all_defaults_spelled_out_are_a_configuration(
    monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str
) -> None:
    # The library reads the environment too: what a setting takes must not be an error there.
    needed = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "SECRET_KEY": "0123456789" * 4}
    for variable, value in (defaults() | needed).items():
        monkeypatch.setenv(variable, value)
    config = load_config()
    assert config.metrics
    assert config.metrics_port is None
