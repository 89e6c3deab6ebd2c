"""Mails over HTTP, for the admin."""

from typing import Annotated

from dishka import FromDishka
from litestar import Controller, Response, get, post
from litestar.params import JSONBody, QueryParameter

from app.emails.message import compose
from app.emails.schemas import EmailPage, EmailView, NewEmail
from app.emails.service import EmailService
from app.security import ADMIN, ADMIN_SECURITY
from app.settings import Settings
from app.web.scopes import inject
from saqueduct import Queues
from saqueduct.litestar.links import address_of
from saqueduct.litestar.routes.answers import EnqueuedJob

Limit = Annotated[int, QueryParameter(ge=1, le=100, description="at most that many")]
Before = Annotated[int | None, QueryParameter(ge=1, le=2**31 - 1, description="`next` of the page before")]


class EmailController(Controller):
    """Send mails, and see their status."""

    path = "/emails"
    tags = ("Emails",)
    opt = ADMIN
    security = ADMIN_SECURITY

    @post()
    @inject
    async def send(
        self, data: JSONBody[NewEmail], queues: FromDishka[Queues], settings: FromDishka[Settings]
    ) -> Response[EnqueuedJob]:
        """Enqueue a mail."""
        # Built here only to refuse invalid mails.
        compose(sender=settings.smtp.sender, to=data.to, subject=data.subject, body=data.body)
        job = await queues.enqueue("send_email", {"to": data.to, "subject": data.subject, "body": data.body})
        return Response(EnqueuedJob(job.key), headers={"Location": address_of(job.key)})

    @get()
    @inject
    async def page(self, emails: FromDishka[EmailService], limit: Limit = 50, before: Before = None) -> EmailPage:
        """Mails on record, newest first."""
        found = await emails.newest(limit + 1, before)
        items = [EmailView.of(record) for record in found[:limit]]
        return EmailPage(items, next=items[-1].id if len(found) > limit else None)
