"""A module that runs on a database that is up to date."""

import pytest

from tests.dev.test_commands import BACKEND
from tests.fixtures import python

CALENDAR = ("-m", "app.dev.migrated", "calendar", "2026", "1")


def test_the_module_has_the_terminal_to_itself(environment: dict[str, str]) -> None:
    run = python.run(CALENDAR, cwd=BACKEND, env=environment)
    assert (run.returncode, run.stdout.splitlines()[0].strip(), run.stderr) == (0, "January 2026", "")


@pytest.mark.parametrize(
    ("url", "status", "why"),
    [("", 2, "DATABASE_URL is not set"), ("postgresql://nobody@127.0.0.1:1/nothing", 1, "check the server")],
    ids=["not set", "unavailable"],
)
def test_it_does_not_run_where_the_migrations_fail(
    environment: dict[str, str], url: str, status: int, why: str
) -> None:
    run = python.run(CALENDAR, cwd=BACKEND, env={**environment, "DATABASE_URL": url})
    assert (run.returncode, run.stdout) == (status, "")
    assert why in run.stderr
    assert run.stderr.endswith("the migrations failed: see above\n")
    assert "Traceback" not in run.stderr
