"""Settings, database and clients as dishka providers; the same container serves routes and tasks."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, cast

from dishka import AsyncContainer, Provider, Scope, from_context, make_async_container, provide
from dishka.integrations.litestar import LitestarProvider
from litestar import Request
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.campaigns.providers import CampaignsProvider
from app.db.session import SessionMaker, make_engine, make_sessionmaker
from app.emails.providers import EmailsProvider
from app.payments.providers import PaymentsProvider
from app.queue.catalog import TasksRegistry
from app.settings import Settings
from app.todos.providers import TodosProvider
from app.tracing import trace_statements, tracer_provider
from app.users.providers import UsersProvider
from app.users.tokens import signing_key
from saqueduct import Queues
from saqueduct.injection.dishka import DishkaInjector
from saqueduct.injection.injector import Injector
from saqueduct.litestar.attempts import Attempts
from saqueduct.litestar.links import JobLinks
from saqueduct.postgres.completion import commit


class Transaction:
    """Records whether a request or job has asked for its session, for the code that ends it."""

    def __init__(self) -> None:
        self.session: AsyncSession | None = None


class CoreProvider(Provider):
    """Provides for all domains: Settings, AsyncEngine, SessionMaker, AsyncSession, Queues, TasksRegistry.

    Args:
        statement_timeout: seconds that a SQL statement may take; 0: any number.
    """

    def __init__(self, statement_timeout: int = 0) -> None:
        super().__init__()
        self._statement_timeout = statement_timeout

    settings = from_context(Settings, scope=Scope.APP)
    queues = from_context(Queues, scope=Scope.APP)

    @provide(scope=Scope.APP)
    async def engine(self, settings: Settings) -> AsyncIterator[AsyncEngine]:
        engine = make_engine(settings, statement_timeout=self._statement_timeout)
        trace_statements(engine, tracer_provider())
        yield engine
        await engine.dispose()

    @provide(scope=Scope.APP)
    def sessionmaker(self, engine: AsyncEngine) -> SessionMaker:
        return make_sessionmaker(engine)

    @provide(scope=Scope.APP)
    def tasks(self, queues: Queues) -> TasksRegistry:
        return TasksRegistry(queues)

    @provide(scope=Scope.APP)
    def attempts(self, settings: Settings, queues: Queues) -> Attempts:
        return Attempts(next(iter(queues)), signing_key(settings))

    @provide(scope=Scope.APP)
    def links(self, settings: Settings) -> JobLinks:
        return JobLinks(signing_key(settings))

    transaction = provide(Transaction, scope=Scope.REQUEST)

    @provide(scope=Scope.REQUEST)
    async def session(
        self, maker: SessionMaker, transaction: Transaction
    ) -> AsyncGenerator[AsyncSession, BaseException | None]:
        async with maker() as session:
            transaction.session = session
            error = yield session
            if error is None:
                await commit(session)
            else:
                await session.rollback()


DOMAIN_PROVIDERS: tuple[type[Provider], ...] = (
    UsersProvider,
    TodosProvider,
    EmailsProvider,
    PaymentsProvider,
    CampaignsProvider,
)
"""One provider class for each domain that has `providers.py`."""


async def provide_registry(request: Request[Any, Any, Any]) -> TasksRegistry:
    """Litestar's own injection of TasksRegistry, for sync handlers: dishka serves only those that are `async def`.

    @post("/reports", sync_to_thread=True)
    def order(registry: NamedDependency[TasksRegistry]) -> str:
        return registry.weekly_report.delay().id
    """
    container: AsyncContainer = request.app.state.dishka_container
    return await container.get(TasksRegistry)


def build_container(
    settings: Settings, queues: Queues, *overrides: Provider, statement_timeout: int = 0
) -> AsyncContainer:
    """The application's container; direct calls of tasks are injected from it, too.

    Args:
        settings: of this process.
        queues: of this process; the code that creates them disconnects them.
        overrides: providers that replace earlier ones, for tests.
        statement_timeout: seconds that a SQL statement may take; 0: no limit. Statements of a job have the time that
            the job has.
    """
    container = make_async_container(
        CoreProvider(statement_timeout),
        *(provider() for provider in DOMAIN_PROVIDERS),
        LitestarProvider(),
        *overrides,
        context={Settings: settings, Queues: queues},
    )
    queues.injector = DishkaInjector(container)
    return container


def container_of(queues: Queues) -> AsyncContainer:
    """The container that `build_container` has made for these queues."""
    container: AsyncContainer = cast("Injector", queues.injector).container
    return container
