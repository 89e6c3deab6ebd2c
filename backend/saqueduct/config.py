"""SaqueductConfig: every setting of the library, with its unit and its bounds."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Self

from saqueduct import config_checks as checks
from saqueduct.common.credentials import Credential, parse_credentials
from saqueduct.common.near_names import unknown_fields
from saqueduct.common.text import check_schema
from saqueduct.config_kinds import kind_problems
from saqueduct.errors import ConfigurationError
from saqueduct.sizes import Sizes
from saqueduct.timings import Timings

Environment = Literal["development", "production"]

ProducerRelation = Literal["link", "child", "none"]
"""How the span of an attempt refers to the span that enqueued its job."""

MAX_PAYLOAD_CEILING = 64 * 1024 * 1024
"""Largest value of `max_payload_bytes`: arguments and result of a job are one command to Redis each."""

DAY = 24 * 60 * 60

YEAR = 366 * DAY

LONGEST_KEPT = 36_500
"""Days that anything is kept at most: PostgreSQL and Python have no dates before the year 1."""


def _whole(default: int, low: int, unit: str, high: int | None = None) -> Any:
    """A field that takes a whole number from `low` to `high`."""
    return dataclasses.field(default=default, metadata={"kind": int, "low": low, "high": high, "unit": unit})


def _seconds(default: float, high: float = YEAR, *, above: bool = False) -> Any:
    """A field that takes seconds from 0 to `high`; with `above` more than 0."""
    bounds = {"kind": float, "low": 0, "high": high, "unit": "seconds", "above": above}
    return dataclasses.field(default=default, metadata=bounds)


@dataclasses.dataclass(kw_only=True)
class SaqueductConfig:
    """The settings of the queues and workers of one application.

        SaqueductConfig(redis_url="redis://127.0.0.1:6379/0", database_url="postgresql://app@localhost/app")

    All are optional. Some that are left out come from the environment; the variable is named in [brackets]. Where there
    is no `redis_url` in development and the extra `saqueduct[embedded]` is installed, a Redis is started on this
    machine, and a PostgreSQL if a task is durable or `records` is True.

    Raises:
        ConfigurationError: there is no such field, a value is out of bounds, or two fields contradict each other; names
            field and remedy.
    """

    def __new__(cls, *_: Any, **given: Any) -> Self:
        _refuse(unknown_fields(cls, given))
        return super().__new__(cls)

    redis_url: str = dataclasses.field(default="", repr=False)
    """`redis://`, `rediss://` (TLS), `unix://`, `redis+sentinel://` or `redis+cluster://`. [REDIS_URL]"""
    database_url: str = dataclasses.field(default="", repr=False)
    """`postgresql://user:password@host:5432/name`: outbox, durable jobs, job records, dead letters. [DATABASE_URL]"""
    engine: Any = None
    """An `AsyncEngine` of the application instead of `database_url`: the library opens connections of its own like
    those of the engine, so that jobs which use up the pool do not block it."""
    sqlalchemy_config: Any = None
    """An `SQLAlchemyAsyncConfig` of advanced-alchemy instead of `database_url`; its engine is used as `engine` is."""
    schema: str | None = None
    """Schema of the library's tables in that database. None: the first one of the connection's `search_path`. Two
    applications that share a database need a schema each."""
    database_pool_size: int = _whole(3, 1, "connections", 10_000)
    """Connections to PostgreSQL that the library keeps open in a process; as many again may open under load."""
    database_connect_timeout: float = _seconds(3.0, DAY, above=True)
    """Seconds to get a connection and to begin a transaction; then PostgreSQL counts as unavailable."""
    database_lock_timeout: float = _seconds(5.0, DAY)
    """Seconds that a statement waits for a lock that another transaction holds. 0: no limit."""
    pgbouncer: bool = False
    """True behind a PgBouncer that pools transactions: no prepared statements, no LISTEN."""

    registry: Any = None
    """The `TaskRegistry` whose tasks run here. None: the one that the decorators `task` and `scheduled_task` fill."""
    container: Any = None
    """A dishka `AsyncContainer` that tasks are injected from, or a function that takes the `Queues` and makes one; a
    container that the function makes is closed with the queues."""
    dependencies: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What tasks are injected by parameter name: a `Provide` of Litestar, or a function, by name. The dependencies of
    the Litestar application with the plugin are available too; if a name occurs in both, the one here wins."""
    task_controllers: Sequence[Any] = ()
    """`TaskController` classes to register in `registry`."""
    queues: Sequence[str] = ("default",)
    """Names of the queues. A task names one of these; `default` by default."""
    max_payload_bytes: int = _whole(256 * 1024, 1, "bytes", MAX_PAYLOAD_CEILING)
    """Bytes that the encoded arguments of a job, and its encoded result, may take; 64 MiB at most."""
    records: bool | None = None
    """True: PostgreSQL keeps a record of jobs that have ended, as each task's `record` says, and the history of queues
    and tasks. False: neither, except for the history where metrics are on. None: True where there is a PostgreSQL."""
    record_result_bytes: int = _whole(16 * 1024, 0, "bytes", MAX_PAYLOAD_CEILING)
    """Bytes of JSON up to which a job record keeps the result."""
    record_logs: bool = False
    """True: job records keep what jobs log, the last 200 lines and 64 KiB of each attempt. A task's `record_logs` is
    used instead where it has one."""
    record_synchronous_commit: bool = False
    """False: records of jobs that completed at their first attempt are committed without waiting for PostgreSQL's disk
    (`synchronous_commit=off`); if PostgreSQL crashes, those of its last half second may be lost. True: they wait as its
    own settings say. Ends of durable jobs, and records of all other outcomes, always do."""
    keep_complete_days: int = _whole(7, 1, "days", LONGEST_KEPT)
    """Days that records of complete jobs are kept."""
    keep_aborted_days: int = _whole(30, 1, "days", LONGEST_KEPT)
    """Days that records of aborted jobs are kept."""
    keep_failed_days: int = _whole(90, 1, "days", LONGEST_KEPT)
    """Days that records of failed jobs, and so dead letters, are kept."""
    keep_audit_days: int = _whole(365, 1, "days", LONGEST_KEPT)
    """Days that the audit is kept: who did what by hand."""
    forgotten_after: float = _seconds(60.0, above=True)
    """Seconds after which Redis is asked for a durable job, which is enqueued again if Redis has lost it."""
    max_unrecorded: int = _whole(100_000, 1, "jobs", 1_000_000_000)
    """Approximate number of ends of jobs that a queue keeps in Redis until PostgreSQL has them; with more, its workers
    take no further jobs. The default takes some hundred megabytes."""

    concurrency: int = _whole(10, 1, "jobs of a queue at once", 100_000)
    """Jobs of one queue that a worker process runs concurrently."""
    worker_queues: Sequence[str] | None = None
    """Names of the queues that workers serve. None: all of `queues`."""
    processes: int = _whole(1, 1, "processes", 1_000)
    """Worker processes that the worker command keeps running."""
    grace_period: float = _seconds(20.0)
    """Seconds that running jobs get to end when a worker stops; the others are queued again at no cost."""
    cancellation_timeout: float = _seconds(2.0, above=True)
    """Seconds that a job gets to clean up after its cancellation when a worker stops."""
    deploy_window: float = _seconds(3600.0)
    """Seconds for which a job that does not fit the worker's code (an unknown task, other arguments) goes back to the
    queue, for example while old and new code run side by side; then it fails. 0: it fails immediately."""
    outage_limit: float = _seconds(float(DAY))
    """Seconds for which a job is tried again at no cost while PostgreSQL or Redis is unavailable."""
    max_recoveries: int = _whole(3, 2, "recoveries", 100)
    """Times that a job is queued again after its worker died, until it runs alone in its process; if that process dies
    too, the job fails."""
    batch_bytes: int = _whole(4 * 1024 * 1024, 1024, "bytes", 64 * 1024 * 1024)
    """Most bytes of jobs that one call to Redis returns; a larger job is returned alone."""
    timings: Timings = Timings()
    """Durations of leases, checks and waits of queues and workers; the defaults fit together."""
    sizes: Sizes = Sizes()
    """How much queues, the store in PostgreSQL and the console hold or read at once."""
    cron_timezone: str = "UTC"
    """IANA name of the time zone for crons that have no `timezone` of their own."""
    startup: Sequence[Any] = ()
    """Coroutine functions that each worker calls with its context when it starts."""
    shutdown: Sequence[Any] = ()
    """The same, when it stops."""
    before_process: Sequence[Any] = ()
    """Coroutine functions that are called with the context of a job before each attempt."""
    after_process: Sequence[Any] = ()
    """The same after each attempt."""

    data_directory: str | Path = ".saqueduct"
    """Folder for the files of development on this machine: the data of embedded servers and a signing key. A relative
    path is resolved from the working directory, so start web processes and workers in the same one. [SAQUEDUCT_DIR]"""

    api_path: str | None = "/queue"
    """Where Litestar serves the HTTP API of the queue. None: nowhere."""
    api_sessions: Any = None
    """A function that opens the session of an API request which needs one, such as an `async_sessionmaker`. None: on
    connections of the library's own."""
    console_path: str | None = "/console"
    """Where Litestar serves the console. None: nowhere."""
    ui_path: str | None = "/saq"
    """Where Litestar serves SAQ's web UI. None: nowhere."""
    run_workers: Literal["web", "separate"] | None = None
    """`web`: each web process also runs a worker, for development and small deployments. `separate`:
    workers are processes of their own (`litestar workers run`). None: `web` with an embedded Redis, else `separate`."""
    worker_lifespans: Sequence[Any] = ()
    """Lifespans of the Litestar application, functions that take it, which tasks need: worker processes enter these.
    They enter no other lifespan of the application, and call none of its `on_startup` hooks."""
    guards: Sequence[Any] | None = None
    """Guards of Litestar for the UI and for the API's routes that read or change jobs of other callers, instead of all
    that follows: whoever passes them may do everything."""
    credentials: Sequence[Credential | str] | str = dataclasses.field(default=(), repr=False)
    """People who may call: `Credential(name="maria", role="operator", hash="scrypt...")`, or the same as
    `maria:operator:scrypt...`; in the variable separated by spaces. `saqueduct hash-password` makes the hash.
    [ADMIN_CREDENTIALS]"""
    identify: Any = None
    """A function of the application, sync or async: takes the `ASGIConnection` of a request and returns the `Person`
    who has signed in, with name and role, or None."""
    proxy_user_header: str = ""
    """Header in which a proxy of `trusted_proxies` names the person who has signed in there, such as X-Remote-User."""
    proxy_role_header: str = ""
    """Header in which it says the role, or groups of which one is named like a role. Without it all are viewers."""
    trusted_proxies: Sequence[str] = ()
    """Addresses of these proxies, such as 10.0.0.7, or networks such as 10.0.0.0/24. They must remove both headers from
    the requests of clients."""
    session_hours: int = _whole(12, 1, "hours", 24 * 30)
    """Hours after which a person must sign in again in the browser."""
    admin_username: str = ""
    """User name of an admin for HTTP Basic on the UI and the API; `admin` by default. [ADMIN_USERNAME]"""
    admin_password: str = dataclasses.field(default="", repr=False)
    """Its password. In development with no way to sign in, only this machine may call. [ADMIN_PASSWORD]"""
    admin_token: str = dataclasses.field(default="", repr=False)
    """Bearer token for the same. [ADMIN_TOKEN]"""
    secret_key: str = dataclasses.field(default="", repr=False)
    """Signs the tokens that let callers of the API follow their own jobs; 32 characters or more, the same in all web
    processes. In development one is created in `data_directory`. [SECRET_KEY]"""

    metrics: bool | None = None
    """True: this process counts its jobs, and `api_path` has `/metrics` for Prometheus; needs the extra `prometheus`.
    None: True where `metrics_port` is given, or a `metrics_token` and the extra is installed."""
    metrics_port: int | None = None
    """Port on which a worker process serves its metrics; further processes on the machine take the next free ones.
    None: on none. [METRICS_PORT, of which 0 is none]"""
    metrics_host: str = ""
    """Address for this port; 127.0.0.1 by default, 0.0.0.0 for all. [METRICS_HOST]"""
    metrics_token: str = dataclasses.field(default="", repr=False)
    """Bearer token that opens `/metrics` without the admin's credentials; the ports of workers need it too.
    [METRICS_TOKEN]"""
    opentelemetry: bool = False
    """True: metrics go to OpenTelemetry; needs the extra `otel`, and an SDK that the application sets up."""
    meter_provider: Any = None
    """A `MeterProvider` of OpenTelemetry. None: the global one."""
    traces: bool = False
    """True: jobs that are enqueued and attempts become spans of OpenTelemetry; needs the extra `otel`, and an SDK that
    the application sets up."""
    trace_producer: ProducerRelation = "link"
    """How the span of an attempt refers to the span that enqueued its job: `link`: it begins a trace of its own and
    links to it; `child`: it is its child, and links to it; `none`: it begins a trace of its own without a link."""
    trace_creates: bool = True
    """True: of jobs that are enqueued together, each gets a `create` span, to which its attempts refer. False: all
    refer to the `send` span of the call."""
    tracer_provider: Any = None
    """A `TracerProvider` of OpenTelemetry. None: the global one."""

    alert_webhook: str = dataclasses.field(default="", repr=False)
    """URL that gets a POST with JSON when something is wrong, and when it is over; Slack and its likes show it.
    [ALERT_WEBHOOK]"""
    alert_mail_to: Sequence[str] = ()
    """Addresses that get a mail instead, or as well. [ALERT_MAIL_TO, comma-separated]"""
    alert_mail_from: str = ""
    """From address of these mails. [ALERT_MAIL_FROM]"""
    alert_smtp_url: str = dataclasses.field(default="", repr=False)
    """The mail server, such as `smtp+starttls://user:password@host:587`; `smtps://` uses TLS from the start, `smtp://`
    none. [ALERT_SMTP_URL]"""
    alert_function: Any = None
    """A function that gets each `saqueduct.telemetry.alerts.Alert`; may be asynchronous."""

    monitors: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """URLs by the key of a schedule, which are pinged at the start and the end of its jobs, in the protocol of
    healthchecks.io; before the `monitor` of the schedule itself."""

    version: str = ""
    """Version of the application's code, such as a tag or a commit: workers report it."""

    environment: Environment | Literal[""] = ""
    """`development` or `production`; `development` by default. In production nothing is embedded, and the admin routes
    need credentials or guards. [ENVIRONMENT]"""

    def __post_init__(self) -> None:
        _refuse(kind_problems(self))
        self._read_environment(os.environ)
        self.queues = _names("queues", self.queues)
        if self.worker_queues is not None:
            self.worker_queues = _names("worker_queues", self.worker_queues)
        problems = [
            *checks.number_problems(self),
            *self._queue_problems(),
            *checks.redis_problems("redis_url", self.redis_url),
            *checks.secret_problems({name: getattr(self, name) for name in checks.SECRETS}),
            *self._database_problems(),
            *checks.timing_problems(self.timings),
            *checks.size_problems(self.sizes),
            *self._alert_problems(),
            *self._other_problems(),
            *self._access_problems(),
        ]
        _refuse(problems)

    @property
    def production(self) -> bool:
        """True in the production environment."""
        return self.environment == "production"

    @property
    def people(self) -> tuple[Credential, ...]:
        """The named credentials."""
        return parse_credentials(self.credentials)

    @property
    def can_sign_in(self) -> bool:
        """True when there is a way to sign in, or guards decide."""
        return bool(
            self.guards is not None
            or self.credentials
            or self.identify is not None
            or self.proxy_user_header
            or self.admin_password
            or self.admin_token
        )

    @property
    def has_metrics(self) -> bool:
        """True when metrics for Prometheus are on."""
        if self.metrics is None:
            return bool(self.metrics_port) or (bool(self.metrics_token) and find_spec("prometheus_client") is not None)
        return self.metrics

    @property
    def has_database(self) -> bool:
        """True when a PostgreSQL is named."""
        return bool(self.database_url) or self.engine is not None or self.sqlalchemy_config is not None

    @property
    def served_queues(self) -> tuple[str, ...]:
        """The queues that workers serve."""
        return tuple(self.queues if self.worker_queues is None else self.worker_queues)

    def _read_environment(self, environ: Mapping[str, str]) -> None:
        self.redis_url = self.redis_url or environ.get("REDIS_URL", "")
        if self.engine is None and self.sqlalchemy_config is None:
            self.database_url = self.database_url or environ.get("DATABASE_URL", "")
        self.admin_username = self.admin_username or environ.get("ADMIN_USERNAME", "") or "admin"
        self.admin_password = self.admin_password or environ.get("ADMIN_PASSWORD", "")
        self.admin_token = self.admin_token or environ.get("ADMIN_TOKEN", "")
        self.credentials = self.credentials or environ.get("ADMIN_CREDENTIALS", "")
        self.metrics_token = self.metrics_token or environ.get("METRICS_TOKEN", "")
        self.metrics_host = self.metrics_host or environ.get("METRICS_HOST", "") or "127.0.0.1"
        if self.metrics_port is None and self.metrics is not False and (port := environ.get("METRICS_PORT", "")):
            # 0: on none, so that a variable of the environment can say it.
            self.metrics_port = (int(port) or None) if port.isdecimal() else port  # type: ignore[assignment]
        self.alert_webhook = self.alert_webhook or environ.get("ALERT_WEBHOOK", "")
        self.alert_mail_to = self.alert_mail_to or _split(environ.get("ALERT_MAIL_TO", ""))
        self.alert_mail_from = self.alert_mail_from or environ.get("ALERT_MAIL_FROM", "")
        self.alert_smtp_url = self.alert_smtp_url or environ.get("ALERT_SMTP_URL", "")
        self.secret_key = self.secret_key or environ.get("SECRET_KEY", "")
        if self.data_directory == ".saqueduct":
            self.data_directory = environ.get("SAQUEDUCT_DIR", "") or self.data_directory
        self.environment = self.environment or environ.get("ENVIRONMENT", "") or "development"  # type: ignore[assignment]

    def _queue_problems(self) -> list[str]:
        problems = checks.queue_problems(self.queues, self.served_queues, "queues", "worker_queues")
        if self.worker_queues is not None and not self.worker_queues:
            problems.append("worker_queues is empty: name at least one queue, or leave it out to serve all")
        return problems

    def _database_problems(self) -> list[str]:
        given = [name for name in ("database_url", "engine", "sqlalchemy_config") if getattr(self, name)]
        problems = checks.postgresql_problems("database_url", self.database_url)
        if len(given) > 1:
            problems.append(f"{' and '.join(given)} each name a database: give only one of them")
        try:
            if self.schema is not None:
                check_schema(self.schema)
        except ValueError as error:
            problems.append(str(error))
        return problems

    def _alert_problems(self) -> list[str]:
        problems = []
        if isinstance(self.alert_mail_to, str) or not all("@" in address for address in self.alert_mail_to):
            problems.append('alert_mail_to takes mail addresses in a list, such as ["ops@example.com"] (ALERT_MAIL_TO)')
        elif self.alert_mail_to and not (self.alert_smtp_url and self.alert_mail_from):
            problems.append(
                "alert_mail_to needs alert_smtp_url (ALERT_SMTP_URL) and alert_mail_from (ALERT_MAIL_FROM) as well"
            )
        problems += checks.url_problems("alert_webhook", self.alert_webhook, ("http", "https"))
        problems += checks.url_problems("alert_smtp_url", self.alert_smtp_url, checks.SMTP_SCHEMES)
        problems += checks.monitor_problems(self.monitors)
        if self.alert_function is not None and not callable(self.alert_function):
            problems.append(f"alert_function takes a function, not {self.alert_function!r}")
        return problems

    def _other_problems(self) -> list[str]:
        problems = checks.zone_problems("cron_timezone", self.cron_timezone)
        problems += checks.path_problems("api_path", self.api_path)
        problems += checks.path_problems("console_path", self.console_path)
        problems += checks.path_problems("ui_path", self.ui_path)
        problems += checks.port_problems("metrics_port", self.metrics_port)
        if self.metrics is False and self.metrics_port is not None:
            problems.append("metrics=False and metrics_port contradict each other: leave one out")
        if self.trace_producer not in {"link", "child", "none"}:
            problems.append(f"trace_producer: {self.trace_producer!r} is neither 'link', 'child' nor 'none'")
        if self.run_workers not in {"web", "separate", None}:
            problems.append(f"run_workers: {self.run_workers!r} is neither 'web' nor 'separate'")
        if self.environment not in {"development", "production"}:
            problems.append(
                f"environment: {self.environment!r} is neither development nor production: give one of them as "
                "SaqueductConfig(environment=...), or set ENVIRONMENT"
            )
        if self.guards is not None and not self.guards:
            problems.append("guards is empty, so that anyone could change jobs: give guards, or leave it out")
        return problems

    def _access_problems(self) -> list[str]:
        problems = checks.admin_name_problems("admin_username", self.admin_username)
        try:
            names = {each.name for each in self.people}
            if self.admin_username in names and (self.admin_password or self.admin_token):
                problems.append(
                    f"credentials: {self.admin_username!r} is the name of admin_username: choose another name"
                )
        except ValueError as error:
            problems.append(f"credentials: {error} (ADMIN_CREDENTIALS)")
        if self.guards is not None and (self.identify is not None or self.proxy_user_header):
            problems.append("guards contradicts identify and proxy_user_header: leave guards out, or both others")
        if self.identify is not None and not callable(self.identify):
            problems.append("identify must be a function that takes a connection and returns a Person or None")
        problems += checks.address_problems("trusted_proxies", self.trusted_proxies)
        if self.proxy_user_header and not self.trusted_proxies:
            problems.append("proxy_user_header needs trusted_proxies: anyone could send the header")
        if self.proxy_role_header and not self.proxy_user_header:
            problems.append("proxy_role_header needs proxy_user_header")
        return problems


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _names(field: str, given: Any) -> tuple[str, ...]:
    if isinstance(given, str) or not all(isinstance(name, str) and name for name in given):
        raise ConfigurationError(f"{field} takes names in a list, such as {field}=['default', 'mails'], not {given!r}")
    return tuple(dict.fromkeys(given))


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigurationError("invalid SaqueductConfig:\n" + "\n".join(f"  - {each}" for each in problems))
