"""Campaigns over HTTP."""

import datetime as dt
from typing import Annotated

import msgspec

from app.campaigns.models import Campaign
from app.campaigns.service import Invalid, Progress

MAX_RECIPIENTS = 10_000
"""Addresses of one call; further ones go into further calls."""

LONGEST_BODY = 200_000
"""Characters of a campaign's mail."""

CAMPAIGN_BYTES = 6 * LONGEST_BODY + 10_000
"""Largest request that makes a campaign: JSON may take six bytes for a character."""

RECIPIENTS_BYTES = MAX_RECIPIENTS * 300
"""Largest request that adds recipients: an address has 254 characters at most."""


class NewCampaign(msgspec.Struct, forbid_unknown_fields=True):
    """A campaign to make."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*(?!\n)$")]
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    body: Annotated[str, msgspec.Meta(max_length=LONGEST_BODY)]


class NewRecipients(msgspec.Struct, forbid_unknown_fields=True):
    """Addresses to add."""

    emails: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MAX_RECIPIENTS)]


class RecipientsAdded(msgspec.Struct):
    """The result for the addresses; invalid ones are named by their place in the list, from 0."""

    added: int
    duplicates: int
    invalid: list[Invalid]


class ProgressView(msgspec.Struct):
    """Recipients by status; `done` from 0.0 to 1.0."""

    total: int
    pending: int
    sending: int
    sent: int
    failed: int
    unknown: int
    done: float


class CampaignView(msgspec.Struct):
    """A campaign and its progress."""

    id: int
    name: str
    subject: str
    status: str
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    progress: ProgressView

    @classmethod
    def of(cls, campaign: Campaign, progress: Progress) -> "CampaignView":
        return cls(
            id=campaign.id,
            name=campaign.name,
            subject=campaign.subject,
            status=campaign.status.value,
            started_at=campaign.started_at,
            finished_at=campaign.finished_at,
            progress=ProgressView(total=progress.total, done=progress.done, **progress.counts),
        )
