"""View: one request to the console, and what every page has."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from litestar import Request, Response
from litestar.datastructures import Cookie
from litestar.exceptions import HTTPException, PermissionDeniedException

from saqueduct.application import Saqueduct
from saqueduct.common.people import NOBODY, Role
from saqueduct.console.answers import LOOK, THEMES, ZONES, led_to, lone_page, rendered, root_of
from saqueduct.console.assets import name_of
from saqueduct.console.entry import ConsoleEntry
from saqueduct.console.forms import Form
from saqueduct.console.notes import Note, Notes
from saqueduct.console.sampler import Sampler, Snapshot
from saqueduct.console.sign_in import is_own
from saqueduct.console.trends import Trends
from saqueduct.job_lookup import KnownJobs, look_up
from saqueduct.postgres.job_details import JobDetails
from saqueduct.queue.audit import Action, AuditEntry, Kind

if TYPE_CHECKING:
    from saqueduct.postgres.audit import AuditLog
    from saqueduct.postgres.dead_letters import DeadLetters
    from saqueduct.postgres.history import JobHistory

NOTE: Final = "saqueduct_console_note"
"""Cookie with what the last action said."""

OPERATOR: Final[dict[str, Any]] = {"role": Role.OPERATOR}
"""Handler options of an action."""

ADMIN: Final[dict[str, Any]] = {"role": Role.ADMIN}
"""Handler options of a page for the admin."""

FORM: Final = "application/x-www-form-urlencoded"

NAVIGATION: Final = (
    ("", "Overview"),
    ("jobs", "Jobs"),
    ("dead-letters", "Dead letters"),
    ("tasks", "Tasks"),
    ("queues", "Queues"),
    ("workers", "Workers"),
    ("schedules", "Schedules"),
    ("limits", "Limits"),
)
"""Pages by path, in the order of the menu."""


AUDIT: Final = (("audit", "Audit"),)
"""The page of the menu that the admin has as well."""


class Console:
    """What all requests share.

    Args:
        saqueduct: queues, tasks and PostgreSQL of the application.
        prefix: path of the console in the application, such as "/console".
        entry: how people enter.
    """

    def __init__(self, saqueduct: Saqueduct, prefix: str, entry: ConsoleEntry) -> None:
        self.saqueduct = saqueduct
        self.prefix = prefix
        self.entry = entry
        self.notes = Notes(saqueduct.signing_key)
        self.sampler = Sampler(saqueduct)
        self.trends = Trends(saqueduct)
        self.newest: tuple[float, dt.datetime | None] | None = None
        """When it was read, and the time from which on records are searched, see `job_rows`."""


class View:
    """One request to the console.

    Args:
        console: what all requests share.
        request: the request, which has passed the guards.
    """

    def __init__(self, console: Console, request: Request[Any, Any, Any]) -> None:
        self.console = console
        self.request = request
        self.saqueduct = console.saqueduct
        self.queues = console.saqueduct.queues
        self.registry = console.saqueduct.registry
        self.timings = console.saqueduct.config.timings.console
        self.sizes = console.saqueduct.config.sizes
        self.person = console.entry.person_of(request) or NOBODY
        self._root = root_of(request) + console.prefix
        self._note = console.notes.read(request.cookies.get(NOTE, ""))
        self._reading: asyncio.Task[Snapshot] | None = None

    @property
    def may_act(self) -> bool:
        """True for a person who may change jobs, queues and schedules."""
        return self.person.role.includes(Role.OPERATOR)

    @property
    def is_open(self) -> bool:
        """True where everyone on this machine may do everything."""
        return self.console.entry.is_open

    @property
    def may_sign_out(self) -> bool:
        """True for a person who has signed in on the login page."""
        session = self.console.entry.tokens.read(self.request)
        named = self.person.signed_in and "authorization" not in self.request.headers
        return named and session is not None and session.person == self.person

    @property
    def keeps_records(self) -> bool:
        """True when there is a PostgreSQL."""
        return self.saqueduct.store is not None

    @property
    def trends(self) -> Trends:
        """What the charts show."""
        return self.console.trends

    @property
    def keeps_history(self) -> bool:
        """True when PostgreSQL keeps the history of queues and tasks."""
        return self.saqueduct.history is not None

    async def snapshot(self) -> Snapshot:
        """The state of the whole; read again after an action, so that its effect is visible."""
        if self._reading is None:
            return await self.console.sampler.current()
        # Others wait for it too.
        return await asyncio.shield(self._reading)

    def look_ahead(self) -> None:
        """Begin to read what `snapshot` returns, while the handler reads what is its own."""
        self._reading = self.console.sampler.begin(fresh=self._note is not None)

    async def known(self, key: str, queue: str | None) -> KnownJobs:
        """What is known of the jobs with a key, from the records alone where Redis does not answer in time.

        Raises:
            UnknownQueue, QueueUnavailable: see `look_up`.
        """
        return await look_up(self.saqueduct, key, queue, answer=self.saqueduct.config.timings.console.answer)

    @asynccontextmanager
    async def history(self) -> "AsyncIterator[JobHistory]":
        """The job records, within a transaction.

        Raises:
            NoJobRecords: there is no PostgreSQL.
        """
        # Here: SQLAlchemy takes a while to import, and not every application has a PostgreSQL.
        from saqueduct.record_sessions import history

        async with history(self.saqueduct) as found:
            yield found

    @asynccontextmanager
    async def dead_letters(self) -> "AsyncIterator[DeadLetters]":
        """The dead letters, within a transaction.

        Raises:
            NoJobRecords: there is no PostgreSQL.
        """
        # Here, as in `history`.
        from saqueduct.record_sessions import dead_letters

        async with dead_letters(self.saqueduct) as found:
            yield found

    @asynccontextmanager
    async def audit_log(self) -> "AsyncIterator[AuditLog]":
        """The audit, within a transaction.

        Raises:
            NoJobRecords: there is no PostgreSQL.
        """
        # Here, as in `history`.
        from saqueduct.postgres.audit import AuditLog
        from saqueduct.record_sessions import transaction

        async with transaction(self.saqueduct) as session:
            yield AuditLog(session)

    def entry(self, action: Action, kind: Kind, targets: list[str], **fields: Any) -> AuditEntry:
        """What the person of this request did, for the audit; see `AuditEntry`."""
        address = self.request.client.host if self.request.client else ""
        return AuditEntry(
            person=self.person.name,
            role=self.person.role,
            action=action,
            kind=kind,
            targets=targets,
            surface="console",
            address=address,
            **fields,
        )

    async def note(self, action: Action, kind: Kind, targets: list[str], **fields: Any) -> None:
        """Note in the audit what has been done."""
        await self.queues.audit.note(self.entry(action, kind, targets, **fields))

    def doing(self, action: Action, kind: Kind, targets: list[str], **fields: Any) -> AbstractAsyncContextManager[Any]:
        """Note in the audit what the block does in Redis, see `Audit.doing`."""
        return self.queues.audit.doing(self.entry(action, kind, targets, **fields))

    def url(self, page: str = "", query: Mapping[str, Any] | None = None, **more: Any) -> str:
        """The address of a page; parameters that are None or empty are left out."""
        given = {**(query or {}), **more}
        pairs = [(name, each) for name, value in given.items() for each in _values(value)]
        address = f"{self._root}/{quote(page)}" if page else self._root or "/"
        return f"{address}?{urlencode(pairs)}" if pairs else address

    def job_url(self, job: JobDetails) -> str:
        """The address of a job."""
        return self.url("job", key=job.key, queue=job.queue)

    @staticmethod
    def wall(at: float, zone: str) -> str:
        """Epoch seconds as a clock shows them in a zone."""
        return dt.datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%a %d %b %Y %H:%M:%S %Z")

    @staticmethod
    def is_utc(at: float, zone: str) -> bool:
        """True where the clocks of a zone show UTC then."""
        return not dt.datetime.fromtimestamp(at, ZoneInfo(zone)).utcoffset()

    def is_at(self, page: str) -> bool:
        """True on a page of the menu."""
        part = self._path().partition("/")[0]
        return part == page or (bool(part) and f"{part}s" == page)

    async def page(self, template: str, status: int = 200, **content: Any) -> Response[str]:
        """A page of the console."""
        snapshot = await self.snapshot()
        return rendered(template, status, self._cookies(), {**self._shared(), "snapshot": snapshot, **content})

    def lone_page(
        self, template: str, status: int, cookies: Sequence[Cookie] = (), headers: Any = None, **content: Any
    ) -> Response[str]:
        """A page for those who have not signed in."""
        return lone_page(self.console.prefix, self.request, template, status, cookies, headers, **content)

    def done(self, text: str, back: str = "", *, kind: str = "ok", link: str = "", label: str = "") -> Response[None]:
        """The answer to an action: the page that it was on, with a note.

        Args:
            text: of the note.
            back: address of that page, as its form sent it; others than the console's lead to the overview.
            kind: "ok" or "error".
            link: address of a page that the note names.
            label: text of the link.
        """
        self.console.sampler.forget()
        note = self.console.notes.written(Note(text, kind, link, label))
        return self.go(back, [self._cookie(NOTE, note, max_age=60)])

    def go(self, back: str, cookies: Sequence[Cookie] = ()) -> Response[None]:
        """A redirect to a page of the console, or beside it; any other address leads to the overview."""
        root = root_of(self.request)
        pages = [self._root, *(root + path for path in self.console.entry.beside)]
        return led_to(back if is_own(back, pages) else self.url(), cookies)

    async def form(self) -> Form:
        """The fields of a form of the console.

        Raises:
            HTTPException: it is no form (415).
            PermissionDeniedException: its token is not of this session.
        """
        form = await self.fields()
        if not self.console.entry.tokens.is_csrf_token(self.request, self.person, form.text("token")):
            raise PermissionDeniedException("this form is too old, or of another session: load its page again")
        return form

    async def fields(self) -> Form:
        """The fields of a form, whose token the caller checks.

        Raises:
            HTTPException: it is no form (415).
        """
        if self.request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
            raise HTTPException(f"the body must be {FORM}", status_code=415)
        sent = await self.request.form()
        return Form([(name, str(value)) for name, value in sent.multi_items()])

    def looks(self, theme: str, zone: str) -> Cookie:
        """The cookie that keeps how pages look."""
        return self._cookie(LOOK, f"{theme}.{zone}", max_age=365 * 24 * 60 * 60)

    def look(self) -> tuple[str, str]:
        """The chosen theme and zone."""
        theme, _, zone = self.request.cookies.get(LOOK, "").partition(".")
        return theme if theme in THEMES else THEMES[0], zone if zone in ZONES else ZONES[0]

    def _shared(self) -> dict[str, Any]:
        theme, zone = self.look()
        return {
            "view": self,
            "url": self.url,
            "asset": lambda name: self.url(f"static/{name_of(name)}"),
            "person": self.person,
            "may_act": self.may_act,
            "token": self.console.entry.tokens.csrf_token(self.request, self.person),
            "here": self._here(),
            # The answer to a form that was refused has no address to be read again from.
            "reads": self.request.method in ("GET", "HEAD"),
            "note": self._note,
            "theme": theme,
            "zone": zone,
            "environment": self.saqueduct.config.environment,
            "navigation": [*NAVIGATION, *AUDIT] if self.person.role.includes(Role.ADMIN) else NAVIGATION,
        }

    def _here(self) -> str:
        """The address of the page of this request."""
        query = self.request.scope["query_string"].decode("latin-1")
        return self.url(self._path()) + (f"?{query}" if query else "")

    def _path(self) -> str:
        """The path of this request below the console."""
        path = self.request.scope["path"].removeprefix(self.request.scope.get("root_path") or "")
        return path.removeprefix(self.console.prefix).strip("/")

    def _cookies(self) -> list[Cookie]:
        return [self._cookie(NOTE, "", max_age=0)] if NOTE in self.request.cookies else []

    def _cookie(self, name: str, value: str, max_age: int | None = None) -> Cookie:
        secure = self.request.scope["scheme"] == "https"
        return Cookie(
            key=name, value=value, path=self._root or "/", max_age=max_age, httponly=True, samesite="lax", secure=secure
        )


def _values(value: Any) -> Sequence[Any]:
    if value is None or value == "":
        return ()
    return value if isinstance(value, list | tuple) else (value,)
