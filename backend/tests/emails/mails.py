"""What the tests of mails share."""

from app.emails.mailers import SmtpMailer
from app.settings import load_settings
from tests.fixtures.smtp import SmtpServer

MAIL = {"to": "ada@example.com", "subject": "Grüße", "body": "Hello\nAda\n.\n"}


def mailer_to(smtp: SmtpServer, **variables: str) -> SmtpMailer:
    """A mailer that sends to a test's server, as the environment variables say."""
    environment = {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(smtp.port), "SMTP_SECURITY": "none", "SMTP_TIMEOUT": "20"}
    return SmtpMailer(load_settings(environment | variables).smtp)
