"""advanced-alchemy: jobs that are enqueued in a transaction, and sessions that are injected into tasks.

DATABASE_URL and REDIS_URL say where PostgreSQL and Redis are.

litestar --app with_advanced_alchemy:app queue migrate     # makes the tables of the library
litestar --app with_advanced_alchemy:app run
litestar --app with_advanced_alchemy:app workers run
"""

import os

from advanced_alchemy.extensions.litestar import AsyncSessionConfig, SQLAlchemyAsyncConfig, SQLAlchemyPlugin, base
from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from saqueduct import INJECTED, Context, GiveUp, task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped


class Note(base.BigIntBase):
    __tablename__ = "notes"

    text: Mapped[str]
    words: Mapped[int | None]


@task(retries=3)
async def count_words(ctx: Context, *, note_id: int, db_session: AsyncSession = INJECTED) -> int:
    """`db_session` is the job's own: it commits after a success and rolls back after a failure."""
    note = await db_session.get(Note, note_id)
    if note is None:
        raise GiveUp(f"there is no note {note_id}")
    words = len(note.text.split())
    note.words = words
    return words


@post("/notes")
async def create(text: FromQuery[str], db_session: NamedDependency[AsyncSession]) -> dict[str, object]:
    note = Note(text=text)
    db_session.add(note)
    await db_session.flush()
    # The job exists if and only if the transaction of the request commits.
    job = await count_words.within(db_session).enqueue(note_id=note.id)
    return {"id": note.id, "job_id": job.key}


@get("/notes/{note_id:int}")
async def show(note_id: FromPath[int], db_session: NamedDependency[AsyncSession]) -> dict[str, object]:
    note = await db_session.get(Note, note_id)
    if note is None:
        raise NotFoundException(f"there is no note {note_id}")
    return {"text": note.text, "words": note.words}


alchemy = SQLAlchemyAsyncConfig(
    connection_string=os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"),
    session_config=AsyncSessionConfig(expire_on_commit=False),
    before_send_handler="autocommit",
    create_all=True,
)
config = SaqueductConfig(sqlalchemy_config=alchemy)
app = Litestar([create, show], plugins=[SQLAlchemyPlugin(config=alchemy), SaqueductPlugin(config)])
