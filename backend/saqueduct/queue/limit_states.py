"""Limits in operation: what jobs with limits wait for, and changes of the limits."""

from collections.abc import Sequence

from saqueduct.queue.core import QueueCore

LANES_AT_ONCE = 500
"""Lanes that one script call looks at."""


async def stir(core: QueueCore, changed: Sequence[bytes]) -> None:
    """Let jobs go that waited for these limits, as far as their new rules allow it."""
    cursor: bytes = b"0"
    while changed:
        cursor = await core.scripts.run("stir", cursor, LANES_AT_ONCE, *changed)
        if cursor == b"0":
            return
