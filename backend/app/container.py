"""Settings, database and clients as dishka providers; the same container serves routes and tasks."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from dishka import AsyncContainer, Provider, Scope, from_context, make_async_container, provide
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
from saqueduct import Queues
from saqueduct.injection.dishka import DishkaInjector
from saqueduct.injection.injector import Injector
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


def build_container(settings: Settings, queues: Queues, *more: Provider, statement_timeout: int = 0) -> AsyncContainer:
    """The application's container; direct calls of tasks are injected from it, too.

    Args:
        settings: of this process.
        queues: of this process; the code that creates them disconnects them.
        more: providers of what only this process has, and in tests those that replace earlier ones.
        statement_timeout: seconds that a SQL statement may take; 0: no limit. Statements of a job have the time that
            the job has.
    """
    container = make_async_container(
        CoreProvider(statement_timeout),
        *(provider() for provider in DOMAIN_PROVIDERS),
        *more,
        context={Settings: settings, Queues: queues},
    )
    queues.injector = DishkaInjector(container)
    return container


def container_of(queues: Queues) -> AsyncContainer:
    """The container that `build_container` has made for these queues."""
    container: AsyncContainer = cast("Injector", queues.injector).container
    return container
