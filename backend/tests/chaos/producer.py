"""A producer that is killed: it commits rows of the ledger with their jobs, and dies at a given instant.

    python -m tests.chaos.producer FIRST INSTANT

It writes its transactions until it dies; every third is rolled back.
"""

import asyncio
import os
import random
import signal
import sys
from typing import Any

from sqlalchemy import text

from app.container import build_container
from app.db.session import SessionMaker
from app.settings import load_settings
from saqueduct.postgres.publisher import Publisher
from saqueduct.postgres.store import PostgresStore
from tests.chaos.tasks import entry, install
from tests.fixtures.composition import build_queues

INSTANTS = ("before the commit", "after the commit", "before Redis", "after Redis", "any")
"""Between the commit and the row's end, where the producer dies."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def die_there(*_: Any) -> None:
    die()


def prepare(instant: str, chance: random.Random) -> int:
    """Let the process die there; returns the transaction in which it does."""
    if instant == "after the commit":
        PostgresStore.committed = lambda self, pending: die()  # type: ignore[method-assign]
    elif instant == "before Redis":
        Publisher.written = die_there  # type: ignore[method-assign,assignment]
    elif instant == "after Redis":
        Publisher._note = die_there  # type: ignore[method-assign,assignment]
    elif instant == "any":
        signal.signal(signal.SIGALRM, lambda *_: die())
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.001, 0.05))
    return chance.randrange(1, 4)


async def main(first: int, instant: str) -> None:
    install()
    settings = load_settings()
    queues = build_queues(settings)
    container = build_container(settings, queues)
    await queues.connect()
    maker = await container.get(SessionMaker)
    last = 0
    for number in range(first, first + 1000):
        if number == first + 3:
            # The first three are enqueued unharmed.
            await asyncio.sleep(0.05)
            last = number + prepare(instant, random.Random(first))  # noqa: S311  (a run is to be repeated)
        async with maker() as session:
            await session.execute(text("INSERT INTO ledger VALUES (:number)"), {"number": number})
            await entry.within(session).enqueue(number=number)
            if instant == "before the commit" and number == last:
                die()
            if number % 3 == 2:
                await session.rollback()
            else:
                await session.commit()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
