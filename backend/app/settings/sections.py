"""The settings: every variable is one field of one section; its docstring is its documentation.

`.env.example` lists them all (a test compares the two).
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import quote

import msgspec

from saqueduct import ConfigurationError
from saqueduct.secrets import Secret

REPOSITORY = Path(__file__).resolve().parents[3]

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
Timeout = Annotated[int, msgspec.Meta(ge=1, le=86_400)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=31_536_000)]


class SettingsError(ConfigurationError):
    """The environment does not make valid settings. `problems` holds one sentence per variable."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("invalid settings:\n" + "\n".join(f"  - {problem}" for problem in problems))


@functools.cache
def types_of(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Field name -> type of the fields. Kept, because msgspec evaluates all annotations again for each answer."""
    return MappingProxyType({field.name: field.type for field in msgspec.structs.fields(struct)})


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
    keep_alive: Timeout = 75
    """WEB_KEEP_ALIVE. Seconds that a connection is kept for its next request; longer than the proxy keeps it."""
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
        return dict(types_of(cls))

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
