"""The campaigns' services, for routes and tasks."""

from zoneinfo import ZoneInfo

from dishka import Provider, Scope, provide
from sqlalchemy.ext.asyncio import AsyncSession

from app.campaigns.report import WeeklyReport
from app.campaigns.sending import CampaignSending
from app.campaigns.service import CampaignService
from app.db.session import SessionMaker
from app.emails.service import EmailService
from app.settings import Settings


class CampaignsProvider(Provider):
    """CampaignService, CampaignSending, WeeklyReport."""

    scope = Scope.REQUEST

    @provide
    def campaigns(self, session: AsyncSession) -> CampaignService:
        return CampaignService(session)

    @provide
    def sending(self, maker: SessionMaker, emails: EmailService, settings: Settings) -> CampaignSending:
        return CampaignSending(maker, emails, settings.campaigns.chunk_size)

    @provide
    def report(self, session: AsyncSession, emails: EmailService, settings: Settings) -> WeeklyReport:
        zone = ZoneInfo(settings.worker.cron_timezone)
        return WeeklyReport(session, emails, settings.campaigns.report_to, zone)
