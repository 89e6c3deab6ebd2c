"""Chunks of ten, and a mailer whose answers a test chooses."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.campaigns.sending import CampaignSending
from app.db.session import make_sessionmaker
from app.emails.service import EmailService
from app.settings import Settings, load_settings
from tests.campaigns.campaigns import Mailer


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return load_settings(environment | {"CAMPAIGNS_CHUNK_SIZE": "10"})


@pytest.fixture
def mailer() -> Mailer:
    return Mailer()


@pytest.fixture
def sending(engine: AsyncEngine, mailer: Mailer) -> CampaignSending:
    maker = make_sessionmaker(engine)
    return CampaignSending(maker, EmailService(maker, mailer, "a@example.com"), chunk_size=10)
