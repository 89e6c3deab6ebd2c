"""Environment -> frozen settings. Imports no domain and no framework.

Every variable is one field of one section below; its docstring is its documentation, and `.env.example` lists
them all (a test compares the two). Values are read from the process environment first, then from a `.env` file.

    settings = load_settings()
    settings.worker.concurrency
"""

import io
import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin
from urllib.parse import quote

import msgspec
from dotenv.parser import parse_stream

from saqueduct import config_checks as checks
from saqueduct.common.credentials import parse_credentials
from saqueduct.common.near_names import near_names
from saqueduct.common.secret import Secret
from saqueduct.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[2]

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
Timeout = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=31_536_000)]

HOST_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[[0-9A-Fa-f:.]+\]")

MIN_SECRET_LENGTH = 32
"""Characters a production SECRET_KEY needs at least: 256 bits as hex are 64, as base64 43; RFC 7518 section 3.2
asks for a key no shorter than the hash (32 bytes for HS256)."""


class SettingsError(ConfigurationError):
    """The environment does not make valid settings. `problems` holds one sentence per variable."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("invalid settings:\n" + "\n".join(f"  - {problem}" for problem in problems))


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings whose environment variables share a prefix."""

    prefix: ClassVar[str] = ""

    @classmethod
    def variables(cls) -> dict[str, str]:
        """Environment variable -> field name."""
        return {cls.prefix + name.upper(): name for name in cls.__struct_fields__}


class AppSettings(Section, frozen=True, kw_only=True):
    environment: Literal["development", "production"] = "development"
    """ENVIRONMENT. `production` refuses to start without secrets and configured servers."""
    secret_key: Secret = Secret("")
    """SECRET_KEY. Signs access tokens; production needs at least 32 characters."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """LOG_LEVEL. The lowest level that is logged; DEBUG logs each start and end of an attempt."""
    log_format: Literal["console", "json"] = "console"
    """LOG_FORMAT. `console` for humans, `json` for machines: one object per line."""
    dev_dir: str = str(REPOSITORY / ".dev")
    """DEV_DIR. Folder of the embedded servers' data and of mails that are not sent (development only)."""


class WebSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "WEB_"
    host: str = "127.0.0.1"
    """WEB_HOST. Address the HTTP process listens on."""
    port: Port = 8000
    """WEB_PORT. Port the HTTP process listens on."""
    allowed_hosts: str = ""
    """WEB_ALLOWED_HOSTS. Host names that are served in addition to localhost, comma-separated; required in
    production."""
    trusted_proxies: str = ""
    """WEB_TRUSTED_PROXIES. Addresses or networks of proxies whose X-Forwarded-For and -Proto are trusted."""
    max_body_bytes: Positive = 64 * 1024
    """WEB_MAX_BODY_BYTES. Largest request body, unless a route needs more; larger bodies get 413."""
    max_bodies_bytes: Positive = 32 * 1024 * 1024
    """WEB_MAX_BODIES_BYTES. Total bytes of request bodies that a process holds at a time; beyond that: 503."""
    body_timeout: Timeout = 20
    """WEB_BODY_TIMEOUT. Seconds for the headers of a request, and then for its body, to arrive; slower: 408."""
    statement_timeout: Timeout = 15
    """WEB_STATEMENT_TIMEOUT. Seconds that a SQL statement of a request may take; slower requests get 503."""


class AdminSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "ADMIN_"
    username: str = "admin"
    """ADMIN_USERNAME. User name of the admin for HTTP Basic on /saq and on the routes that need a role."""
    password: Secret = Secret("")
    """ADMIN_PASSWORD. Password of this user. In development with no way to sign in, only this machine may call."""
    token: Secret = Secret("")
    """ADMIN_TOKEN. Bearer token of the admin for the same routes."""
    credentials: Secret = Secret("")
    """ADMIN_CREDENTIALS. People as `name:role:hash`, separated by spaces; `./saqueduct hash-password` makes them."""
    proxy_user_header: str = ""
    """ADMIN_PROXY_USER_HEADER. Header in which a proxy of WEB_TRUSTED_PROXIES names who has signed in there."""
    proxy_role_header: str = ""
    """ADMIN_PROXY_ROLE_HEADER. Header with the role of that person, or with groups; without it: viewer."""
    session_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 12
    """ADMIN_SESSION_HOURS. Hours after which a person must sign in again in the browser."""


class DatabaseSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "DATABASE_"
    url: Secret = Secret("")
    """DATABASE_URL. `postgresql://user:password@host:5432/name`; empty: `make dev` embeds a server."""
    pool_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 10
    """DATABASE_POOL_SIZE. Connections that a process keeps open; under load up to twice as many."""
    connect_timeout: Timeout = 3
    """DATABASE_CONNECT_TIMEOUT. Seconds to get a connection, and to begin a transaction; slower is an outage."""
    lock_timeout: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 5
    """DATABASE_LOCK_TIMEOUT. Seconds that a statement waits for a lock that another transaction holds; 0: no limit."""
    pgbouncer: Literal["on", "off"] = "off"
    """DATABASE_PGBOUNCER. `on` behind a PgBouncer with transaction pooling: no prepared statements, no LISTEN."""


class RedisSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "REDIS_"
    url: Secret = Secret("")
    """REDIS_URL. `redis://`, `redis+sentinel://`, `redis+cluster://`, `rediss`: TLS; empty: `make dev` embeds one."""


class QueueSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "QUEUE_"
    names: str = "default"
    """QUEUE_NAMES. Names of the queues, comma-separated; a task uses one of these."""
    max_payload_bytes: Annotated[int, msgspec.Meta(ge=1, le=64 * 1024 * 1024)] = 256 * 1024
    """QUEUE_MAX_PAYLOAD_BYTES. Largest encoded arguments, and result, of a job; at most 67108864, which is 64 MiB."""
    records: Literal["on", "off"] = "on"
    """QUEUE_RECORDS. `on`: PostgreSQL keeps job records, as each task's `record` says; `off`: no records."""
    record_result_bytes: Annotated[int, msgspec.Meta(ge=0, le=64 * 1024 * 1024)] = 16 * 1024
    """QUEUE_RECORD_RESULT_BYTES. Largest encoded result that a job record keeps."""
    record_logs: Literal["on", "off"] = "off"
    """QUEUE_RECORD_LOGS. `on`: job records keep what jobs log, unless a task's `record_logs` says otherwise."""
    record_synchronous_commit: Literal["on", "off"] = "off"
    """QUEUE_RECORD_SYNCHRONOUS_COMMIT. `off`: records of jobs that completed at their first attempt do not wait for
    PostgreSQL's disk; those of the last half second are lost if it crashes."""
    keep_complete_days: Days = 7
    """QUEUE_KEEP_COMPLETE_DAYS. Days after which the records of complete jobs are deleted."""
    keep_aborted_days: Days = 30
    """QUEUE_KEEP_ABORTED_DAYS. Days after which the records of aborted jobs are deleted."""
    keep_failed_days: Days = 90
    """QUEUE_KEEP_FAILED_DAYS. Days after which the records of failed jobs, dead letters among them, are deleted."""
    keep_audit_days: Days = 365
    """QUEUE_KEEP_AUDIT_DAYS. Days after which entries of the audit, who did what by hand, are deleted."""
    forgotten_after: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 60
    """QUEUE_FORGOTTEN_AFTER. Seconds after which a durable job is checked in Redis, and enqueued again if lost."""


class WorkerSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "WORKER_"
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    """WORKER_CONCURRENCY. Jobs of one queue that a worker process runs at the same time."""
    processes: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    """WORKER_PROCESSES. Worker processes that `python -m app.worker` keeps running."""
    queues: str = ""
    """WORKER_QUEUES. Queues that this worker serves, comma-separated; empty: all of QUEUE_NAMES."""
    grace_period: Seconds = 20
    """WORKER_GRACE_PERIOD. Seconds that running jobs have to finish after SIGTERM; the rest is queued again."""
    deploy_window: Seconds = 3600
    """WORKER_DEPLOY_WINDOW. Seconds for which a job that does not fit the worker's code (an unknown task, other
    arguments) goes back to the queue, such as during a deploy; then it fails. 0: it fails immediately."""
    outage_limit: Seconds = 24 * 60 * 60
    """WORKER_OUTAGE_LIMIT. Seconds for which a job is retried at no cost while PostgreSQL or Redis is unavailable,
    or while it is throttled."""
    cron_timezone: str = "UTC"
    """WORKER_CRON_TIMEZONE. IANA name of the time zone for crons without their own `timezone`."""


class MetricsSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "METRICS_"
    enabled: Literal["on", "off"] = "on"
    """METRICS_ENABLED. `on`: jobs are counted, and `/metrics` serves the numbers to Prometheus; `off`: neither."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """METRICS_PORT. Port on which a worker process serves its metrics; others take the next free ones; 0: none."""
    host: str = "127.0.0.1"
    """METRICS_HOST. Address for METRICS_PORT; `0.0.0.0` for all."""
    token: Secret = Secret("")
    """METRICS_TOKEN. Bearer token for `/metrics`, beside the admin's credentials, and for the ports of workers."""


class AlertSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "ALERT_"
    webhook: Secret = Secret("")
    """ALERT_WEBHOOK. URL that gets a POST with JSON when something is wrong, and when it is over; Slack shows it."""
    mail_to: str = ""
    """ALERT_MAIL_TO. Addresses that get a mail instead, or as well, comma-separated; needs SMTP_HOST."""


class SmtpSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "SMTP_"
    host: str = ""
    """SMTP_HOST. Mail server; empty in development: each mail is written as .eml under DEV_DIR/mail."""
    port: Port = 587
    """SMTP_PORT. Port of the mail server."""
    username: str = ""
    """SMTP_USERNAME. User name for SMTP AUTH; empty: no authentication."""
    password: Secret = Secret("")
    """SMTP_PASSWORD. Password for SMTP AUTH."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """SMTP_SECURITY. `starttls` (587), `tls` (465) or `none` (a relay on this machine)."""
    timeout: Timeout = 20
    """SMTP_TIMEOUT. Seconds one mail may take."""
    sender: str = "Saqueduct <noreply@example.com>"
    """SMTP_SENDER. From address of every mail."""

    @property
    def url(self) -> Secret:
        """The server as the library takes it for alerts."""
        scheme = {"starttls": "smtp+starttls", "tls": "smtps", "none": "smtp"}[self.security]
        user = f"{quote(self.username, safe='')}:{quote(self.password.reveal(), safe='')}@" if self.username else ""
        return Secret(f"{scheme}://{user}{self.host}:{self.port}")


class UserSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "USERS_"
    access_token_minutes: Annotated[int, msgspec.Meta(ge=1, le=525_600)] = 15
    """USERS_ACCESS_TOKEN_MINUTES. Minutes that an access token is valid."""
    refresh_token_days: Days = 30
    """USERS_REFRESH_TOKEN_DAYS. Days that a refresh session is valid after its last use."""


class CampaignSettings(Section, frozen=True, kw_only=True):
    prefix: ClassVar[str] = "CAMPAIGNS_"
    report_to: str = "reports@example.com"
    """CAMPAIGNS_REPORT_TO. Address that receives the weekly campaign report."""
    chunk_size: Positive = 100
    """CAMPAIGNS_CHUNK_SIZE. Recipients that one job of a campaign sends mail to."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one process."""

    app: AppSettings = AppSettings()
    web: WebSettings = WebSettings()
    admin: AdminSettings = AdminSettings()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    queue: QueueSettings = QueueSettings()
    worker: WorkerSettings = WorkerSettings()
    metrics: MetricsSettings = MetricsSettings()
    alerts: AlertSettings = AlertSettings()
    smtp: SmtpSettings = SmtpSettings()
    users: UserSettings = UserSettings()
    campaigns: CampaignSettings = CampaignSettings()

    @classmethod
    def sections(cls) -> dict[str, type[Section]]:
        """Field name -> section class."""
        return {field.name: field.type for field in msgspec.structs.fields(cls)}

    @classmethod
    def variables(cls) -> list[str]:
        """All environment variables, in the order of declaration."""
        return [variable for section in cls.sections().values() for variable in section.variables()]

    @property
    def production(self) -> bool:
        """True in the production environment."""
        return self.app.environment == "production"

    @property
    def queue_names(self) -> tuple[str, ...]:
        """The names of the queues, in the order of QUEUE_NAMES."""
        return split_names(self.queue.names)

    @property
    def worker_queues(self) -> tuple[str, ...]:
        """The queues that workers serve: WORKER_QUEUES, or all queues."""
        return split_names(self.worker.queues) or self.queue_names

    @property
    def alert_mail_to(self) -> tuple[str, ...]:
        """The addresses that get alerts by mail."""
        return split_names(self.alerts.mail_to)

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """The host names that are served in addition to those of this machine."""
        return split_names(self.web.allowed_hosts)

    @property
    def trusted_proxies(self) -> tuple[str, ...]:
        """The addresses and networks of trusted proxies."""
        return split_names(self.web.trusted_proxies)

    @property
    def admin_configured(self) -> bool:
        """True when there are credentials that open the admin routes."""
        admin = self.admin
        return bool(admin.password or admin.token or admin.credentials or admin.proxy_user_header)

    def require_servers(self) -> Self:
        """Return these settings, or raise when no Redis or no PostgreSQL is named.

        Raises:
            SettingsError: REDIS_URL or DATABASE_URL is empty.
        """
        missing = [
            f"{name} is not set: set it, or start with `make dev`, which embeds a server"
            for name, url in (("REDIS_URL", self.redis.url), ("DATABASE_URL", self.database.url))
            if not url
        ]
        if missing:
            raise SettingsError(missing)
        return self


def split_names(text: str) -> tuple[str, ...]:
    """`"a, b,,a"` -> `("a", "b")`."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Read, validate and freeze the settings.

    Args:
        environ: the environment; the process's own by default.
        env_file: a `.env` file that fills what the environment leaves out; the one at the top of the
            repository by default, and none when `environ` is given.

    Raises:
        SettingsError: a value is invalid, `.env` names an unknown variable, or production lacks a secret.
    """
    if environ is None:
        environ = os.environ
        env_file = env_file or REPOSITORY / ".env"
    values, problems = _read_env_file(env_file)
    known = Settings.variables()
    problems += [_unknown(name, known) for name in values if name not in known]
    values.update({name: environ[name] for name in known if name in environ})
    sections: dict[str, Any] = {}
    for field, section in Settings.sections().items():
        given = {name: values[variable] for variable, name in section.variables().items() if variable in values}
        sections[field] = _convert(section, given, problems)
    if problems:
        raise SettingsError(problems)
    settings = Settings(**sections)
    if problems := _problems(settings):
        raise SettingsError(problems)
    return settings


def _read_env_file(path: Path | None) -> tuple[dict[str, str], list[str]]:
    """The values of a file, and the problems with its lines, which may hold secrets and are not shown."""
    values: dict[str, str] = {}
    problems: list[str] = []
    if path is None or not path.is_file():
        return values, problems
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return values, [".env is not UTF-8: save it in that encoding"]
    for line in parse_stream(io.StringIO(text)):
        if line.key is not None and line.value is not None:
            values[line.key] = line.value
        elif line.error or line.key is not None:
            problems.append(
                f".env, line {line.original.line}: write it as NAME=value, or begin it with # to leave it out"
            )
    return values, problems


def _unknown(name: str, known: list[str]) -> str:
    near = near_names(name, known)
    return f".env: {name} is not a setting" + (f"; did you mean {near[0]}?" if near else "; see .env.example")


def _convert(section: type[Section], given: dict[str, str], problems: list[str]) -> Section:
    """Convert the fields one by one, so that every invalid variable is reported."""
    converted: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        if field.name not in given:
            continue
        try:
            converted[field.name] = msgspec.convert(given[field.name], field.type, strict=False, dec_hook=Secret.decode)
        except msgspec.ValidationError as error:
            variable = section.prefix + field.name.upper()
            shown = "" if field.type is Secret else f" (it is {given[field.name]!r})"
            problems.append(f"{variable}: {_reason(field.type, str(error))}{shown}")
    return section(**converted)


def _reason(type_: Any, error: str) -> str:
    if get_origin(type_) is Literal:
        return f"must be {' or '.join(get_args(type_))}"
    return f"{error[0].lower()}{error[1:]}"


def _problems(settings: Settings) -> list[str]:
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
    problems += _admin_problems(settings)
    for name, host in (("WEB_HOST", settings.web.host), ("METRICS_HOST", settings.metrics.host)):
        problems += _listening_problems(name, host)
    problems += _host_problems(settings.allowed_hosts)
    problems += checks.address_problems("WEB_TRUSTED_PROXIES", settings.trusted_proxies)
    if settings.production:
        problems += _production_problems(settings)
    return problems


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
    if not settings.admin.username.strip() or ":" in settings.admin.username:
        problems.append("ADMIN_USERNAME must be a name without a colon, with which HTTP Basic ends the name")
    return problems


def _listening_problems(name: str, host: str) -> list[str]:
    """Of an address to listen on; an empty one would be every address of the machine."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not HOST_NAME.fullmatch(host) or host.startswith("*"):
            return [f"{name}: {host!r} is no address of this machine such as 127.0.0.1, or 0.0.0.0 for all"]
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
