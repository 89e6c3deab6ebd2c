"""Jobs that send mails."""

from app.emails.errors import InvalidMail, PermanentMailError
from app.emails.service import EmailService
from app.queue import INJECTED, Context, GiveUp, task


@task(timeout=60, retries=6, retry_delay=10, retry_backoff=600)
async def send_email(
    ctx: Context, *, to: str, subject: str, body: str, emails: EmailService = INJECTED
) -> dict[str, str]:
    """Send a mail; what the server refuses for now is tried again, what it refuses for good is not."""
    try:
        # The job's key: a job that runs twice sends once.
        await emails.send(to=to, subject=subject, body=body, key=f"job:{ctx['job'].key}")
    except (InvalidMail, PermanentMailError) as error:
        raise GiveUp(str(error)) from error
    return {"status": "sent", "to": to}
