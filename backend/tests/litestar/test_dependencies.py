"""The dependencies of a Litestar application, injected into the jobs that its plugin runs."""

from collections.abc import AsyncIterator, Iterator

import pytest
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.plugins import InitPluginProtocol

from saqueduct import (
    INJECTED,
    ConfigurationError,
    Context,
    Saqueduct,
    TaskController,
    TaskRegistry,
    get_registry,
    task,
)
from saqueduct.litestar import SaqueductConfig, SaqueductPlugin


class Pool:
    pass


class Session:
    def __init__(self, pool: Pool) -> None:
        self.pool, self.ended = pool, ""


class Users:
    def __init__(self, session: Session) -> None:
        self.session = session


async def provide_session(state: State) -> AsyncIterator[Session]:
    session = Session(state.pool)
    state.sessions.append(session)
    try:
        yield session
    except BaseException as error:
        session.ended = f"rolled back: {error}"
        raise
    session.ended = "committed"


class AddsLater(InitPluginProtocol):
    """A plugin behind the queue's."""

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.dependencies["users"] = Provide(Users, sync_to_thread=False)
        return app_config


@pytest.fixture
def registry() -> Iterator[TaskRegistry]:
    with get_registry().isolated() as registry:
        yield registry


@pytest.fixture
def app(redis_url: str, empty_redis: None, registry: TaskRegistry, monkeypatch: pytest.MonkeyPatch) -> Litestar:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    config = SaqueductConfig(redis_url=redis_url, run_workers="web", grace_period=5, api_path=None, ui_path=None)
    return Litestar(
        plugins=[SaqueductPlugin(config), AddsLater()],
        dependencies={"session": Provide(provide_session)},
        state=State({"pool": Pool(), "sessions": []}),
    )


async def test_a_job_has_the_dependencies_of_the_application(app: Litestar) -> None:
    class Accounts(TaskController):
        def __init__(self, users: Users, session: Session) -> None:
            self.users, self.session = users, session

        @task
        async def check(self, ctx: Context, *, fail: bool = False) -> bool:
            if fail:
                raise ValueError("no account")
            return self.users.session is self.session

    get_registry().add_controller(Accounts)
    async with app.lifespan():
        assert await Accounts.check.apply()
        with pytest.raises(Exception, match="no account"):
            await Accounts.check.apply(fail=True)
    assert [each.ended for each in app.state.sessions] == ["committed", "rolled back: no account"]
    assert {each.pool for each in app.state.sessions} == {app.state.pool}


async def problem_of_start(app: Litestar) -> BaseException | None:
    with pytest.raises((ConfigurationError, BaseExceptionGroup)) as caught:
        async with app.lifespan():
            pass
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, ConfigurationError):
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__context__
    return error


async def test_what_the_application_does_not_provide_is_an_error_at_start(app: Litestar) -> None:
    @task
    async def work(ctx: Context, *, payments: Pool = INJECTED) -> None: ...

    assert f"{work.where}: work: payments: Pool" in str(await problem_of_start(app))


async def test_of_applications_that_share_their_queues_the_one_that_is_started_provides(
    redis_url: str, empty_redis: None, registry: TaskRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)

    @task
    async def drain(ctx: Context, *, pool: Pool = INJECTED) -> str:
        return type(pool).__name__

    config = SaqueductConfig(redis_url=redis_url, run_workers="web", grace_period=5, api_path=None, ui_path=None)
    saqueduct = Saqueduct(config)
    first = Litestar(plugins=[SaqueductPlugin(saqueduct)], dependencies={"pool": Provide(Pool, sync_to_thread=False)})
    second = Litestar(plugins=[SaqueductPlugin(saqueduct)])
    async with first.lifespan():
        assert await (await drain.enqueue()).result(timeout=10) == "Pool"
    assert "drain: pool: Pool" in str(await problem_of_start(second))
