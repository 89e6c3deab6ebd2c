"""The worker process with tasks that end at once; each run of a body is noted in Redis."""

from app.worker import main
from saqueduct import Context, get_registry, task

get_registry().clear()

BODIES = "bodies"
"""List in Redis: the numbers of the jobs whose bodies have run."""


@task(durable=True, ttl=-1)
async def keep(ctx: Context, *, number: int) -> None:
    """A durable job that leaves nothing in Redis."""
    await ctx["queue"].redis.rpush(BODIES, number)  # type: ignore[attr-defined]


@task(retries=1)
async def fail(ctx: Context, *, number: int) -> None:
    """Fails for good."""
    raise ValueError(f"no {number}")


if __name__ == "__main__":
    main()
