"""What the tests of campaigns share."""

import asyncio
import email.policy
from collections import Counter
from email import message_from_bytes
from email.message import EmailMessage
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.campaigns.models import Recipient
from app.campaigns.service import CampaignService

TEXTS = {"name": "Spring", "subject": "Spring is here", "body": "Come and see"}


async def started(session: AsyncSession, count: int) -> int:
    """A campaign with recipients, being sent."""
    service = CampaignService(session)
    campaign = await service.create(**TEXTS)
    await service.add_recipients(campaign.id, [f"r{number}@example.com" for number in range(count)])
    await service.start(campaign.id)
    await session.commit()
    return campaign.id


async def counts(session: AsyncSession, campaign_id: int) -> Counter[str]:
    await session.rollback()
    query = select(Recipient.status).where(Recipient.campaign_id == campaign_id)
    return Counter(status.value for status in (await session.scalars(query)).all())


class Mailer:
    """Takes mails, and raises what is laid out for an address; `hold` keeps a mail on its way."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.began: list[str] = []
        self.hold: asyncio.Event | None = None
        self.errors: dict[str, BaseException] = {}

    async def send(self, message: EmailMessage) -> None:
        self.began.append(str(message["To"]))
        if self.hold is not None:
            await self.hold.wait()
        if error := self.errors.get(str(message["To"])):
            raise error
        self.sent.append(str(message["To"]))


def mails(directory: Path) -> list[EmailMessage]:
    paths = sorted((directory / "mail").glob("*.eml"))
    return [message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in paths]
