"""The HTTP process, with a task that only these tests need."""

from typing import Any

from app.main import main
from saqueduct import Context, task


@task
async def take_anything(ctx: Context, /, **arguments: Any) -> dict[str, Any]:
    """Returns its arguments."""
    return arguments


if __name__ == "__main__":
    main()
