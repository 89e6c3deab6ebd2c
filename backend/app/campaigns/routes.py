"""Campaigns over HTTP, for the admin."""

from typing import Annotated

from dishka import FromDishka
from litestar import Controller, Response, get, post
from litestar.params import JSONBody, PathParameter
from sqlalchemy.ext.asyncio import AsyncSession

from app.campaigns.schemas import (
    CAMPAIGN_BYTES,
    RECIPIENTS_BYTES,
    CampaignView,
    NewCampaign,
    NewRecipients,
    RecipientsAdded,
)
from app.campaigns.service import CampaignService
from app.security import ADMIN, ADMIN_SECURITY
from app.web.scopes import inject
from saqueduct import Queues
from saqueduct.litestar.links import address_of
from saqueduct.litestar.routes.answers import EnqueuedJob

CampaignId = Annotated[int, PathParameter(ge=1, le=2**31 - 1)]


class CampaignController(Controller):
    """Campaigns: make one, add recipients, send it, see how far it is."""

    path = "/campaigns"
    tags = ("Campaigns",)
    opt = ADMIN
    security = ADMIN_SECURITY

    @post(request_max_body_size=CAMPAIGN_BYTES)
    @inject
    async def create(
        self, data: JSONBody[NewCampaign], campaigns: FromDishka[CampaignService]
    ) -> Response[CampaignView]:
        """Make a draft."""
        campaign = await campaigns.create(name=data.name, subject=data.subject, body=data.body)
        view = CampaignView.of(campaign, await campaigns.progress(campaign.id))
        return Response(view, headers={"Location": f"/campaigns/{campaign.id}"})

    @get("/{campaign_id:int}")
    @inject
    async def show(self, campaign_id: CampaignId, campaigns: FromDishka[CampaignService]) -> CampaignView:
        """A campaign, and its recipients by status."""
        return CampaignView.of(await campaigns.get(campaign_id), await campaigns.progress(campaign_id))

    @post(
        "/{campaign_id:int}/recipients",
        operation_id="add_recipients",
        status_code=200,
        request_max_body_size=RECIPIENTS_BYTES,
    )
    @inject
    async def add_recipients(
        self, campaign_id: CampaignId, data: JSONBody[NewRecipients], campaigns: FromDishka[CampaignService]
    ) -> RecipientsAdded:
        """Add the valid addresses of a list to a draft; the answer names the others."""
        added = await campaigns.add_recipients(campaign_id, data.emails)
        return RecipientsAdded(added.added, added.duplicates, added.invalid)

    @post("/{campaign_id:int}/send", status_code=202)
    @inject
    async def send(
        self,
        campaign_id: CampaignId,
        campaigns: FromDishka[CampaignService],
        session: FromDishka[AsyncSession],
        queues: FromDishka[Queues],
    ) -> Response[EnqueuedJob]:
        """Send it. May be repeated: no recipient gets a second mail."""
        await campaigns.start(campaign_id)
        # With the session: a worker finds the campaign started, and no campaign is started without its job.
        key = f"campaign:{campaign_id}"
        job = await queues.enqueue("send_campaign", {"campaign_id": campaign_id}, key=key, session=session)
        return Response(EnqueuedJob(job.key), headers={"Location": address_of(job.key)})
