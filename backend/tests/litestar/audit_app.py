"""An application for commands of the tests of the audit."""

from saqueduct import Context, SaqueductConfig, TaskRegistry

registry = TaskRegistry()


@registry.task(queue="audit")
async def add(ctx: Context, *, a: int, b: int) -> int:
    return a + b


def saqueduct() -> SaqueductConfig:
    """Its settings, from the environment."""
    return SaqueductConfig(queues=["audit"], registry=registry, database_connect_timeout=20.0)
