"""The Lua scripts of the engine, one file each in `scripts/`; every one runs after `prelude.lua`."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from saq.utils import now_seconds

from app.queue import clock

PARTS = {"enqueue": ("admit",), "fire": ("admit",)}
"""What stands between the prelude and a script."""


@cache
def source(name: str) -> str:
    """The text of a script, with its prelude."""
    folder = files("app.queue.engine") / "scripts"
    return "".join((folder / f"{part}.lua").read_text() for part in ("prelude", *PARTS.get(name, ()), name))


def pack(rows: Sequence[Sequence[Any]]) -> bytes:
    """Many rows as one argument of a script, which `cmsgpack.unpack` reads: cheaper than an argument a field."""
    return msgspec.msgpack.encode(rows)


def text(payload: bytes | str) -> str | msgspec.Raw:
    """A payload as a part of a row: bytes, which may be no UTF-8, as MessagePack's long text, all that Redis reads."""
    if isinstance(payload, str):
        return payload
    return msgspec.Raw(b"\xdb" + len(payload).to_bytes(4, "big") + payload)


class Scripts:
    """The scripts of one queue.

    Args:
        redis: client.
        keys: the queue's keys, in the order that `prelude.lua` names them.
        prefix: prefix of the ids of its jobs.
    """

    def __init__(self, redis: Redis, keys: list[str], prefix: str) -> None:
        self.keys = keys
        self.prefix = prefix
        self._redis = redis
        self._scripts: dict[str, AsyncScript] = {}

    def common(self) -> tuple[Any, ...]:
        """The arguments that every script takes first."""
        return self.prefix, clock.offset(), repr(now_seconds() + clock.offset())

    async def run(self, name: str, *args: Any) -> Any:
        """Run a script with its own arguments; what it answers is told in its file."""
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._redis.register_script(source(name))
        return await script(keys=self.keys, args=[*self.common(), *args])
