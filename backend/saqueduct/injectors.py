"""What the tasks of an application are injected from, as its SaqueductConfig says."""

import sys
from typing import TYPE_CHECKING

from saqueduct.config import SaqueductConfig
from saqueduct.injection.combined import CombinedInjector
from saqueduct.injection.injector import Injector
from saqueduct.injection.named import NamedInjector
from saqueduct.injection.providers import session_of
from saqueduct.queue.queues import Queues

if TYPE_CHECKING:
    from saqueduct.postgres.job_sessions import JobSessions


class Injectors:
    """By type from `config.container`, and else by name from `config.dependencies` and an application's.

    Args:
        config: of the application.
        queues: for a `container` that is a function of them.
        named: see `named_injector`.

    Attributes:
        named: what is injected by name; it can serve an application of Litestar.
        all: what tasks are injected from.
    """

    def __init__(self, config: SaqueductConfig, queues: Queues, named: NamedInjector) -> None:
        self.named = named
        container, owned = _of_container(config, queues)
        self.all: Injector = self.named if container is None else CombinedInjector(container, self.named)
        self._owned = container if owned else None

    async def close(self) -> None:
        """Close what was made for the tasks; a container that the config names stays open."""
        await self.named.close()
        if self._owned is not None:
            await self._owned.close()


def named_injector(config: SaqueductConfig) -> NamedInjector:
    """What is injected by name. Call it before anything uses `config.sqlalchemy_config`: an engine that is created here
    is closed with the injector."""
    alchemy = config.sqlalchemy_config
    # Not every config of advanced-alchemy has a key: that is of its extension for Litestar.
    session = {} if alchemy is None else {vars(alchemy).get("session_dependency_key", "db_session"): alchemy}
    defaults = {name: session_of(name, each) for name, each in session.items()}
    return NamedInjector(config.dependencies, defaults=defaults, watch=_job_sessions)


def _of_container(config: SaqueductConfig, queues: Queues) -> tuple[Injector | None, bool]:
    """The injector of the container, and whether it is closed with the queues."""
    if config.container is None:
        return None, False
    # Here: dishka may not be installed.
    from saqueduct.injection.dishka import made_by

    return made_by(config.container, queues)


def _job_sessions() -> "JobSessions | None":
    """Watches the sessions of a job; None while nothing in the process has sessions."""
    if "sqlalchemy.orm" not in sys.modules:
        return None
    # Here: SQLAlchemy takes a while to import.
    from saqueduct.postgres.job_sessions import JobSessions

    return JobSessions()
