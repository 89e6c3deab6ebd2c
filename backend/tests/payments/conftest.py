"""A sandbox without delay for the tests of payments."""

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from app.db.session import make_sessionmaker
from app.payments.capturing import Capturing
from app.payments.gateway import SandboxGateway
from tests.payments.payments import NOW


@pytest.fixture
def capturing(engine: AsyncEngine) -> Capturing:
    maker = make_sessionmaker(engine)
    return Capturing(maker, SandboxGateway(maker, delay=NOW))
