"""Jobs that send mails."""

import hashlib
from typing import Annotated

import msgspec
from saq import Job

from app.emails.errors import InvalidMail, PermanentMailError
from app.emails.service import EmailService
from app.queue.registry import scheduled_task, task
from saqueduct import INJECTED, Context, GiveUp

AtLeastOne = Annotated[int, msgspec.Meta(ge=1)]


# Retried for about an hour: servers that greylist accept a mail after some minutes (RFC 6647).
@task(timeout=60, retries=8, retry_delay=30, retry_backoff=1800)
async def send_email(
    ctx: Context, to: str, subject: str, body: str, *, emails: EmailService = INJECTED
) -> dict[str, str]:
    """Send a mail; a temporary refusal of the server is retried, a permanent one is not."""
    try:
        await emails.send(to=to, subject=subject, body=body, key=mail_key(ctx["job"]))
    except (InvalidMail, PermanentMailError) as error:
        raise GiveUp(str(error)) from error
    return {"status": "sent", "to": to}


@scheduled_task(cron="0 4 * * *", timeout=600)
async def cleanup_emails(ctx: Context, days_old: AtLeastOne = 90, *, emails: EmailService = INJECTED) -> dict[str, int]:
    """Delete the records of mails that were sent, or refused, more than `days_old` days ago."""
    return {"deleted_count": await emails.delete_older_than(days_old)}


def mail_key(job: Job) -> str:
    """The same for all attempts of a job, so that one that runs twice sends once.

    The time of the enqueue is part of it: a job's key may be used again once the job has ended, for another mail.
    """
    return "job:" + hashlib.sha256(f"{job.id}:{job.queued}".encode()).hexdigest()
