"""An SMTP server for the tests of mails."""

from collections.abc import AsyncIterator

import pytest

from tests.fixtures.smtp import SmtpServer, smtp_server


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpServer]:
    async with smtp_server() as server:
        yield server
