"""Jobs about users."""

from typing import Annotated

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from app.emails.errors import InvalidMail, PermanentMailError
from app.queue.registry import scheduled_task, task
from app.users.errors import UserNotFound
from app.users.mails import UserMails
from app.users.models import UserStatus
from app.users.service import UserService
from saqueduct import INJECTED, Context, GiveUp

NotNegative = Annotated[int, msgspec.Meta(ge=0)]


@task(timeout=60, retries=6, retry_delay=10, retry_backoff=600)
async def send_welcome_email(ctx: Context, user_id: int, *, mails: UserMails = INJECTED) -> dict[str, str]:
    """Mail a new user a welcome; a temporary refusal of the mail server is retried."""
    try:
        await mails.welcome(user_id)
    except (UserNotFound, InvalidMail, PermanentMailError) as error:
        raise GiveUp(str(error)) from error
    return {"status": "sent"}


@task
async def update_user_status(
    ctx: Context, user_id: int, status: UserStatus, *, db_session: AsyncSession = INJECTED
) -> dict[str, int | str]:
    """Change a user's status; inactive and suspended users are logged out immediately."""
    try:
        user = await UserService(db_session).change_status(user_id, status)
    except UserNotFound as error:
        raise GiveUp(str(error)) from error
    return {"user_id": user.id, "status": user.status.value}


@scheduled_task(cron="30 2 * * *", timeout=600)
async def cleanup_sessions(
    ctx: Context, days_old: NotNegative = 30, *, db_session: AsyncSession = INJECTED
) -> dict[str, int]:
    """Delete sessions that expired or were revoked more than `days_old` days ago."""
    # Committed batch by batch: locks are held briefly, and an interrupted job keeps the work it has done.
    deleted = await UserService(db_session).delete_stale_sessions(days_old, after_batch=db_session.commit)
    return {"deleted_count": deleted}
