"""What an SMTP server's behaviour means for a mail."""

import asyncio

import pytest

from app.emails.errors import (
    MailOutcomeUnknown,
    MailServerAway,
    PermanentMailError,
    TemporaryMailError,
)
from app.emails.message import compose
from tests.emails.mails import MAIL, mailer_to
from tests.fixtures.smtp import SmtpServer

LOGIN = {"SMTP_USERNAME": "u", "SMTP_PASSWORD": "a secret password"}
MESSAGE = compose(sender="a@example.com", **MAIL)


async def test_without_a_connection_the_server_is_away(smtp: SmtpServer) -> None:
    with pytest.raises(MailServerAway):
        await mailer_to(smtp, SMTP_PORT="1").send(MESSAGE)


async def test_a_server_that_does_not_greet_is_away(smtp: SmtpServer) -> None:
    smtp.silent = True
    with pytest.raises(MailServerAway):
        await mailer_to(smtp, SMTP_TIMEOUT="1").send(MESSAGE)


@pytest.mark.parametrize("answer", ["421 busy", "554 not today"])
async def test_a_server_that_turns_us_away_is_away(smtp: SmtpServer, answer: str) -> None:
    smtp.answers["greeting"] = answer
    with pytest.raises(MailServerAway, match=answer[:3]):
        await mailer_to(smtp).send(MESSAGE)


async def test_refused_credentials_are_no_mail_s_fault(smtp: SmtpServer) -> None:
    smtp.answers |= {"EHLO": "250-test\r\n250 AUTH PLAIN", "AUTH": "535 wrong"}
    with pytest.raises(MailServerAway, match="535") as caught:
        await mailer_to(smtp, **LOGIN).send(MESSAGE)
    assert "secret" not in str(caught.value)


async def test_the_credentials_are_sent_to_a_server_that_asks_for_them(smtp: SmtpServer) -> None:
    smtp.answers |= {"EHLO": "250-test\r\n250 AUTH PLAIN", "AUTH": "235 welcome"}
    await mailer_to(smtp, **LOGIN).send(MESSAGE)
    assert "AUTH" in smtp.commands
    assert len(smtp.mails) == 1


async def test_no_credentials_and_no_mail_without_the_tls_that_was_asked_for(smtp: SmtpServer) -> None:
    smtp.answers["EHLO"] = "250-test\r\n250 AUTH PLAIN"
    with pytest.raises(MailServerAway, match="STARTTLS"):
        await mailer_to(smtp, SMTP_SECURITY="starttls", **LOGIN).send(MESSAGE)
    assert not {"AUTH", "MAIL"} & set(smtp.commands)


@pytest.mark.parametrize("command", ["RCPT", "MAIL", "DATA", "MAIL-DATA"])
@pytest.mark.parametrize(("answer", "error"), [("451 later", TemporaryMailError), ("554 never", PermanentMailError)])
async def test_the_server_s_answer_decides(smtp: SmtpServer, command: str, answer: str, error: type[Exception]) -> None:
    smtp.answers[command] = answer
    with pytest.raises(error, match=answer[:3]) as caught:
        await mailer_to(smtp).send(MESSAGE)
    assert type(caught.value) is error


async def test_a_connection_that_ends_before_the_answer_leaves_it_open(smtp: SmtpServer) -> None:
    smtp.hangs_up = True
    with pytest.raises(MailOutcomeUnknown):
        await mailer_to(smtp).send(MESSAGE)
    assert len(smtp.mails) == 1


async def test_one_mail_takes_no_longer_than_the_limit_however_slowly_the_server_answers(smtp: SmtpServer) -> None:
    smtp.pause = 0.6
    with pytest.raises(MailOutcomeUnknown):
        await mailer_to(smtp, SMTP_TIMEOUT="1").send(MESSAGE)
    # Each answer came within the limit; that to the sender would come after three pauses.
    assert "RCPT" not in smtp.commands


async def test_a_cancelled_mail_leaves_no_connection(smtp: SmtpServer) -> None:
    smtp.answers["RCPT"] = ""
    sending = asyncio.create_task(mailer_to(smtp).send(MESSAGE))
    await smtp.reached("RCPT")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await asyncio.wait_for(smtp.closed.wait(), 60)
