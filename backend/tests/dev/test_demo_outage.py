"""`make demo` while PostgreSQL goes away."""

import asyncpg
import pytest
from click.testing import CliRunner

from app.dev.demo.__main__ import main
from saqueduct import Saqueduct


@pytest.mark.parametrize(("arguments", "step"), [([], "_filled"), (["--remove"], "_removed")])
def test_postgresql_that_goes_away_is_named_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], arguments: list[str], step: str
) -> None:
    async def lost(saqueduct: Saqueduct, seed: int = 0) -> None:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(f"app.dev.demo.__main__.{step}", lost)
    result = CliRunner().invoke(main, ["--seed", "1", *arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith("PostgreSQL went away: connection was closed"), result.output
    assert "Traceback" not in result.stderr
