"""Injection by type with dishka: one scope a job. REDIS_URL says where Redis is.

litestar --app with_dishka:app run
litestar --app with_dishka:app workers run
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dishka import Provider, Scope, make_async_container, provide
from litestar import Litestar, post
from litestar.params import FromQuery
from saqueduct import INJECTED, Context, task
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin


@dataclass
class Mailbox:
    """One connection to a mail server, closed after the job."""

    sent: list[str] = field(default_factory=list)
    closed: bool = False

    async def send(self, to: str) -> None:
        self.sent.append(to)


class Mails(Provider):
    @provide(scope=Scope.REQUEST)
    async def mailbox(self) -> AsyncIterator[Mailbox]:
        mailbox = Mailbox()
        yield mailbox
        mailbox.closed = True


@task(retries=3)
async def welcome(ctx: Context, *, to: str, mailbox: Mailbox = INJECTED) -> list[str]:
    """`to` travels with the job; `mailbox` is injected, because JSON cannot carry it."""
    await mailbox.send(to)
    return mailbox.sent


@post("/welcome")
async def start(to: FromQuery[str]) -> dict[str, str]:
    job = await welcome.enqueue(to=to)
    return {"job_id": job.key}


app = Litestar([start], plugins=[SaqueductPlugin(SaqueductConfig(container=make_async_container(Mails())))])
