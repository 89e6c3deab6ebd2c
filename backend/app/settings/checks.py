"""Checks of settings that more than one value decides."""

import ipaddress
import re

from app.settings.sections import Settings
from saqueduct import config_checks as checks
from saqueduct.secrets import Secret, parse_credentials

HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")

MIN_SECRET_LENGTH = 32
"""Characters a production SECRET_KEY needs at least: 256 bits as hex are 64, as base64 43; RFC 7518 section 3.2
asks for a key no shorter than the hash (32 bytes for HS256)."""


def problems_of(settings: Settings) -> list[str]:
    """What is wrong with settings whose values are valid each by itself; one sentence each."""
    problems = checks.queue_problems(settings.queue_names, settings.worker_queues, "QUEUE_NAMES", "WORKER_QUEUES")
    problems += checks.zone_problems("WORKER_CRON_TIMEZONE", settings.worker.cron_timezone)
    problems += checks.postgresql_problems("DATABASE_URL", settings.database.url.reveal())
    problems += checks.redis_problems("REDIS_URL", settings.redis.url.reveal())
    if settings.web.max_bodies_bytes < settings.web.max_body_bytes:
        problems.append("WEB_MAX_BODIES_BYTES is less than WEB_MAX_BODY_BYTES: not even one such body could be read")
    if settings.alerts.mail_to and not settings.smtp.host:
        problems.append("ALERT_MAIL_TO needs a mail server: set SMTP_HOST")
    problems += checks.url_problems("ALERT_WEBHOOK", settings.alerts.webhook.reveal(), ("http", "https"))
    if not settings.app.dev_dir.strip():
        problems.append("DEV_DIR is empty: name a folder, or leave it out")
    problems += _secret_problems(settings) + _admin_problems(settings)
    for name, host in (("WEB_HOST", settings.web.host), ("METRICS_HOST", settings.metrics.host)):
        problems += _listening_problems(name, host)
    problems += _host_problems(settings.allowed_hosts) + _mail_problems(settings.smtp.host)
    problems += checks.address_problems("WEB_TRUSTED_PROXIES", settings.trusted_proxies)
    if settings.production:
        problems += _production_problems(settings)
    return problems


def _secret_problems(settings: Settings) -> list[str]:
    fields = {
        variable: getattr(getattr(settings, field), name)
        for field, section in Settings.sections().items()
        for variable, name in section.variables().items()
    }
    return checks.secret_problems(
        {variable: value.reveal() for variable, value in fields.items() if isinstance(value, Secret)}
    )


def _admin_problems(settings: Settings) -> list[str]:
    problems = []
    try:
        parse_credentials(settings.admin.credentials.reveal())
    except ValueError as error:
        problems.append(f"ADMIN_CREDENTIALS: {error}")
    if settings.admin.proxy_user_header and not settings.trusted_proxies:
        problems.append("ADMIN_PROXY_USER_HEADER needs WEB_TRUSTED_PROXIES: anyone could send the header")
    if settings.admin.proxy_role_header and not settings.admin.proxy_user_header:
        problems.append("ADMIN_PROXY_ROLE_HEADER needs ADMIN_PROXY_USER_HEADER")
    return problems + checks.admin_name_problems("ADMIN_USERNAME", settings.admin.username)


def _listening_problems(name: str, host: str) -> list[str]:
    """Of an address to listen on; an empty one would be every address of the machine."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not HOST_NAME.fullmatch(host) or host.startswith("*"):
            return [f"{name}: {host!r} is no address of this machine such as 127.0.0.1, or 0.0.0.0 for all"]
    return []


def _mail_problems(host: str) -> list[str]:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if host and (not HOST_NAME.fullmatch(host) or host.startswith("*")):
            return [f"SMTP_HOST: {host!r} is no host name: write it as mail.example.com, without smtp:// and port"]
    return []


def _host_problems(names: tuple[str, ...]) -> list[str]:
    remedy = "is no host name: write it as jobs.example.com, without https:// and port, or *.example.com for all below"
    wrong = [name for name in names if name != "*" and not HOST_NAME.fullmatch(name)]
    return [f"WEB_ALLOWED_HOSTS: {name!r} {remedy}" for name in wrong]


def _production_problems(settings: Settings) -> list[str]:
    required = {
        "ADMIN_PASSWORD, ADMIN_TOKEN, ADMIN_CREDENTIALS or ADMIN_PROXY_USER_HEADER": settings.admin_configured,
        "REDIS_URL": bool(settings.redis.url),
        "DATABASE_URL": bool(settings.database.url),
        "SMTP_HOST": bool(settings.smtp.host),
        "WEB_ALLOWED_HOSTS, the host names that clients use for it": bool(settings.allowed_hosts),
    }
    problems = [f"production needs {name}" for name, given in required.items() if not given]
    if len(settings.app.secret_key) < MIN_SECRET_LENGTH:
        problems.append(
            f"production needs SECRET_KEY with at least {MIN_SECRET_LENGTH} characters: `openssl rand -hex 32`"
        )
    return problems
