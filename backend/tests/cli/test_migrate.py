"""`migrate`: makes the library's tables, and says where they are."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.postgres.table_check import REVISIONS
from tests.cli.test_applications import alone
from tests.litestar.applications import Project

SCHEMA = "of_the_command_line"

EXAMPLE = f"""
from litestar import Litestar
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin

config = SaqueductConfig(schema="{SCHEMA}")
app = Litestar(plugins=[SaqueductPlugin(config)])
"""


@pytest.fixture
async def example(
    tmp_path: Path, environment: dict[str, str], engine: AsyncEngine, empty_redis: None
) -> AsyncIterator[Project]:
    """An application whose schema does not exist yet."""
    yield Project(tmp_path, EXAMPLE, {name: environment[name] for name in ("REDIS_URL", "DATABASE_URL")})
    async with engine.begin() as connection:
        await connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))


def test_tables_are_made_once_and_then_up_to_date(example: Project) -> None:
    made = example.run("queue", "migrate")
    assert (made.returncode, made.stdout) == (0, f"made the tables: {REVISIONS[-1]}\n"), made.stderr
    again = alone(example, "--app", "example:config", "migrate")
    assert (again.returncode, again.stdout) == (0, f"the tables are up to date: {REVISIONS[-1]}\n"), again.stderr
    listed = example.run("queue", "jobs", "list", "--json")
    assert json.loads(listed.stdout) == {"jobs": [], "cursor": None, "searched_since": None}, listed.stderr


@pytest.mark.parametrize(
    "command",
    [
        "queue queues pause default",
        "queue jobs list --status queued",
        "queue workers list",
        "queue schedules list",
        "workers status",
    ],
)
def test_without_tables_commands_that_need_only_redis_work(example: Project, command: str) -> None:
    answer = example.run(*command.split())
    assert answer.returncode == 0, answer.stderr


@pytest.mark.parametrize(
    ("command", "status"), [("dead list", 2), ("jobs list", 2), ("queues stats", 2), ("jobs abort nothing", 1)]
)
def test_without_tables_commands_that_need_them_say_how_to_make_them(
    example: Project, command: str, status: int
) -> None:
    answer = alone(example, "--app", "example:config", *command.split())
    assert (answer.returncode, answer.stdout) == (status, "")
    tables = "outbox, job_records, job_audit, job_audit_batches, job_history"
    assert answer.stderr.startswith(f"error: the schema '{SCHEMA}' lacks Saqueduct's tables ({tables}): ")
    assert answer.stderr.endswith("`saqueduct --app APP migrate`\n")


def test_an_unknown_revision_is_refused_and_nothing_is_made(example: Project) -> None:
    refused = alone(example, "--app", "example:config", "migrate", "--revision", "nope")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "to the revision 'nope'" in refused.stderr
    assert json.loads(alone(example, "--app", "example:config", "migrate", "--json").stdout)["before"] is None


def test_without_postgresql_it_says_what_to_set(example: Project) -> None:
    refused = alone(example, "--app", "example:config", "migrate", DATABASE_URL="")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "set DATABASE_URL" in refused.stderr
