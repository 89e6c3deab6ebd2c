"""The ways by which alerts leave: a webhook, mail, a function of the application."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from saqueduct.common.secret import Secret
from saqueduct.telemetry.alerts.alert import Alert
from saqueduct.telemetry.posting import TIMEOUT, client_for, refusal

if TYPE_CHECKING:
    from email.message import EmailMessage

    from saqueduct.config import SaqueductConfig

SUBJECT = 200
"""Characters of a line at most, and so of a subject."""

AlertFunction = Callable[[Alert], Awaitable[None] | None]


class Channel(Protocol):
    """Reports alerts."""

    name: str

    async def send(self, alert: Alert) -> None:
        """Report an alert; an error means that nobody has it yet."""


class Webhook:
    """Posts an alert as JSON, see `Alert.fields`.

    Args:
        url: where to; a secret, because whoever knows it may post.
    """

    name = "webhook"

    def __init__(self, url: Secret) -> None:
        self._url = url

    async def send(self, alert: Alert) -> None:
        """See `Channel.send`.

        Raises:
            ConnectionError: there was no answer, or one that refuses it; without the URL.
        """
        url = self._url.reveal()
        async with client_for(url) as client:
            if reason := await refusal(client, url, json=alert.fields()):
                raise ConnectionError(reason)


class Mail:
    """Sends an alert as a mail.

    Args:
        server: `smtp://user:password@host:587`; `smtps://` for TLS from the start, `smtp+starttls://` for TLS after it.
        sender: the From address.
        to: the addresses.
    """

    name = "mail"

    def __init__(self, server: Secret, sender: str, to: Sequence[str]) -> None:
        self._server = server
        self._sender = sender
        self._to = tuple(to)

    async def send(self, alert: Alert) -> None:
        """See `Channel.send`.

        Raises:
            OSError, smtplib.SMTPException: the server did not take it.
        """
        # Here: few applications use it.
        from email.message import EmailMessage
        from email.policy import SMTP

        # Longer lines than usual: a folded subject would begin with a space.
        message = EmailMessage(SMTP.clone(max_line_length=SUBJECT))
        message["From"], message["To"] = self._sender, ", ".join(self._to)
        message["Subject"] = clipped_line(alert.title)
        message.set_content(alert.text)
        await asyncio.to_thread(self._send, message)

    def _send(self, message: "EmailMessage") -> None:
        import smtplib
        import ssl

        url = urlsplit(self._server.reveal())
        host, context = url.hostname or "", ssl.create_default_context()
        if url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, url.port or 465, timeout=TIMEOUT, context=context)
        else:
            server = smtplib.SMTP(host, url.port or 587, timeout=TIMEOUT)
        with server:
            if url.scheme == "smtp+starttls":
                server.starttls(context=context)
            if url.username:
                server.login(unquote(url.username), unquote(url.password or ""))
            server.send_message(message)


class Function:
    """Calls a function of the application, which may be asynchronous."""

    name = "function"

    def __init__(self, function: AlertFunction) -> None:
        self._function = function

    async def send(self, alert: Alert) -> None:
        """See `Channel.send`; the function's own errors."""
        answer = self._function(alert)
        if inspect.isawaitable(answer):
            async with asyncio.timeout(TIMEOUT):
                await answer


def clipped_line(text: str) -> str:
    """Text as one line for a subject, in which a line break would begin another header."""
    line = " ".join(text.split())
    return line if len(line) < SUBJECT - 20 else f"{line[: SUBJECT - 20]}..."


def channels_of(config: "SaqueductConfig") -> list[Channel]:
    """The channels that the settings name."""
    found: list[Channel] = []
    if config.alert_webhook:
        found.append(Webhook(Secret(config.alert_webhook)))
    if config.alert_mail_to:
        found.append(Mail(Secret(config.alert_smtp_url), config.alert_mail_from, config.alert_mail_to))
    if config.alert_function is not None:
        found.append(Function(config.alert_function))
    return found
