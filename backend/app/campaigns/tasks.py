"""Jobs that send campaigns, and the weekly report."""

import dataclasses
import datetime as dt

from app.campaigns.errors import CampaignNotFound, CampaignNotStarted
from app.campaigns.report import WeeklyReport
from app.campaigns.sending import CampaignSending, Chunk
from app.campaigns.service import CampaignService
from app.emails.errors import InvalidMail, PermanentMailError, TemporaryMailError
from app.queue.registry import scheduled_task, task
from saqueduct import INJECTED, Context, GiveUp, Rate, enqueue_many

FAN_OUT = 50
"""Chunks that are enqueued between two reports of progress."""

RESUMED_FOR = dt.timedelta(days=3)
"""How long after its start a campaign is resumed; as long as mail servers usually keep trying."""


MAIL_PROVIDER = Rate("mail provider", 10, per=1.0, burst=20)
"""Chunks that begin, of all campaigns together: mail providers refuse senders that suddenly send thousands of mails."""


@task(timeout=600, retries=3, retry_delay=5, retry_backoff=60)
async def send_campaign(ctx: Context, *, campaign_id: int, sending: CampaignSending = INJECTED) -> dict[str, int]:
    """Enqueue a job for each chunk of recipients; run twice, it enqueues no chunk twice."""
    try:
        chunks = await sending.chunks(campaign_id)
    except (CampaignNotFound, CampaignNotStarted) as error:
        raise GiveUp(str(error)) from error
    for start in range(0, len(chunks), FAN_OUT):
        part = chunks[start : start + FAN_OUT]
        await enqueue_many(
            send_campaign_chunk.options(key=f"campaign:{campaign_id}:{chunk.first}-{chunk.last}").bind(
                campaign_id=campaign_id, first=chunk.first, last=chunk.last
            )
            for chunk in part
        )
        await ctx["job"].update(progress=(start + len(part)) / len(chunks))
    # In case the last chunk's job died between its last mail and this step.
    await sending.finish(campaign_id)
    return {"campaign_id": campaign_id, "chunks": len(chunks)}


@task(timeout=1800, retries=8, retry_delay=30, retry_backoff=1800, limits=(MAIL_PROVIDER,))
async def send_campaign_chunk(
    ctx: Context, *, campaign_id: int, first: int, last: int, sending: CampaignSending = INJECTED
) -> dict[str, int]:
    """Mail the recipients of a chunk, each at most once; a retry covers those that the server refuses for now."""
    result = await sending.send(campaign_id, Chunk(first, last))
    if result.delayed:
        raise TemporaryMailError(f"{result.delayed} of the recipients {first} to {last} were refused for now")
    return dataclasses.asdict(result)


@scheduled_task(cron="*/15 * * * *", timeout=60)
async def resume_campaigns(ctx: Context, *, campaigns: CampaignService = INJECTED) -> dict[str, int]:
    """Enqueue campaigns again whose sending stopped half-way, and those whose job was never enqueued.

    If jobs still wait or run, this changes nothing: they have the same keys.
    """
    unfinished = await campaigns.unfinished(RESUMED_FOR)
    await enqueue_many(send_campaign.options(key=f"campaign:{each}").bind(campaign_id=each) for each in unfinished)
    return {"campaigns": len(unfinished)}


@scheduled_task(cron="0 9 * * mon", timeout=1800, retries=6, retry_delay=60, retry_backoff=1800)
async def weekly_report(ctx: Context, *, report: WeeklyReport = INJECTED) -> dict[str, int | str]:
    """Mail the results of the campaigns of the last seven days; at most one mail per calendar week."""
    try:
        campaigns = await report.send(dt.datetime.now(dt.UTC))
    except (InvalidMail, PermanentMailError) as error:
        raise GiveUp(str(error)) from error
    return {"status": "sent", "campaigns": campaigns}
