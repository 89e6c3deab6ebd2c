"""An application whose own Alembic includes the library's branch."""

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from saqueduct.errors import MigrationFailed
from saqueduct.postgres import migrate
from saqueduct.postgres.engine import sqlalchemy_url
from saqueduct.postgres.table_check import REVISIONS

INI = """
[alembic]
script_location = %(here)s/migrations
path_separator = newline
version_locations =
    %(here)s/migrations/versions
    saqueduct.postgres:migrations/versions
"""

ENV = """
import asyncio

from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.ext.asyncio import create_async_engine

from saqueduct.postgres.migrate import include_name

metadata = MetaData()
Table("books", metadata, Column("id", Integer, primary_key=True))


def run(connection):
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=include_name({schema!r}),
        saqueduct_schema={schema!r},
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate():
    engine = create_async_engine({url!r})
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    finally:
        await engine.dispose()


asyncio.run(migrate())
"""

BOOKS = """
import sqlalchemy as sa
from alembic import op

revision = "books"
down_revision = None
branch_labels = ("shop",)
depends_on = None


def upgrade():
    op.create_table("books", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade():
    op.drop_table("books")
"""


@pytest.fixture(params=[None, "jobs"])
def schema(request: pytest.FixtureRequest) -> str | None:
    return str(request.param) if request.param else None


@pytest.fixture
def alembic(tmp_path: Path, empty_url: str, schema: str | None) -> Config:
    """Of an application that has a table of its own."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text(INI)
    (tmp_path / "migrations" / "env.py").write_text(ENV.format(url=sqlalchemy_url(empty_url), schema=schema))
    (versions / "books.py").write_text(BOOKS)
    return Config(tmp_path / "alembic.ini")


async def exists(database: AsyncEngine, name: str) -> bool:
    async with database.connect() as connection:
        return await connection.scalar(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name}) is True


async def test_its_alembic_makes_the_tables_and_removes_them(
    alembic: Config, empty_database: AsyncEngine, schema: str | None
) -> None:
    outbox = f"{schema or 'public'}.outbox"
    await asyncio.to_thread(command.upgrade, alembic, "heads")
    assert await exists(empty_database, outbox)
    async with empty_database.connect() as connection:
        await migrate.check(connection, schema)
    # What its own metadata lacks is not to be dropped.
    await asyncio.to_thread(command.check, alembic)
    await asyncio.to_thread(command.downgrade, alembic, "saqueduct@base")
    assert not await exists(empty_database, outbox)
    assert await exists(empty_database, "books")
    await asyncio.to_thread(command.upgrade, alembic, "saqueduct@head")
    assert await exists(empty_database, outbox)


async def test_the_librarys_own_command_leaves_them_to_it(alembic: Config, empty_url: str, schema: str | None) -> None:
    await asyncio.to_thread(command.upgrade, alembic, "heads")
    assert await migrate.current(empty_url, schema) == REVISIONS[-1]
    with pytest.raises(MigrationFailed, match=rf"alembic_version has {REVISIONS[-1]}.*alembic upgrade heads"):
        await migrate.upgrade(empty_url, schema)
    # Those of another schema are none of its business.
    await migrate.upgrade(empty_url, "others")


@pytest.mark.parametrize("schema", [None], indirect=True)
def test_without_the_filter_the_tables_would_be_dropped(alembic: Config) -> None:
    env = Path(str(alembic.config_file_name)).with_name("migrations") / "env.py"
    env.write_text(env.read_text().replace("include_name=", "include_nothing="))
    command.upgrade(alembic, "heads")
    with pytest.raises(CommandError, match=r"remove_table.*outbox|outbox.*remove_table"):
        command.check(alembic)


def test_the_branch_is_the_one_that_the_library_knows(alembic: Config) -> None:
    assert ScriptDirectory.from_config(alembic).get_revision("saqueduct@head").revision == REVISIONS[-1]


async def test_the_first_revision_of_the_application_is_its_own(alembic: Config, tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    (versions / "books.py").unlink()
    template = Path(command.__file__).parent / "templates" / "generic" / "script.py.mako"
    (tmp_path / "migrations" / "script.py.mako").write_text(template.read_text())
    await asyncio.to_thread(command.upgrade, alembic, "heads")
    first = await asyncio.to_thread(
        command.revision, alembic, "first", True, head="base", branch_label="shop", version_path=str(versions)
    )
    assert isinstance(first, Script)
    assert (Path(first.path).parent, first.down_revision) == (versions, None)
    second = await asyncio.to_thread(command.revision, alembic, "second", head="shop@head")
    assert isinstance(second, Script)
    assert (Path(second.path).parent, second.down_revision) == (versions, first.revision)
