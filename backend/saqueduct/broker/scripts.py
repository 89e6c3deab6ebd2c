"""The Lua scripts of the engine, one file each in `lua/`; `prelude.lua` is prepended to each."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from saqueduct.broker.connections import lines_of
from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.outage import refuses_all
from saqueduct.common import clock

LIMITS = ("lanes", "limits", "limits_waits", "limits_visits", "limits_checks")
"""The files for jobs with limits; `flow` ends the function that they are."""

PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("abort", "dangling", "expired", "orphans", "promote", "set_limit", "state", "stir", "take", "why"),
        (*LIMITS, "flow"),
    ),
    **dict.fromkeys(("enqueue", "fire", "publish", "trigger"), (*LIMITS, "flow", "debounce", "cancel", "admit")),
    "lease": (*LIMITS, "visits", "flow"),
    "settle": (*LIMITS, "releases", "flow"),
    "declare": (*LIMITS, "flow", "declarations"),
    "due": ("declarations",),
}
"""The files inserted between the prelude and a script."""

# Not when the first script is read: if another thread forks meanwhile, the modules that this imports would stay half
# imported in the new process.
_FOLDER = files("saqueduct.broker") / "lua"


@cache
def source(name: str) -> str:
    """The text of a script, with its prelude."""
    return "".join((_FOLDER / f"{part}.lua").read_text() for part in ("prelude", *PARTS.get(name, ()), name))


@cache
def digest(name: str) -> str:
    """The SHA-1 digest by which Redis identifies a script that it has run."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


def pack(jobs: Sequence[Any]) -> bytes:
    """Many jobs as one script argument, which `cmsgpack.unpack` reads: cheaper than one argument per field."""
    return msgspec.msgpack.encode(jobs)


def text(payload: bytes | str) -> str | msgspec.Raw:
    """A payload to pack: bytes, possibly not UTF-8, as MessagePack's long text, the only type that Redis reads."""
    if isinstance(payload, str):
        return payload
    return msgspec.Raw(b"\xdb" + len(payload).to_bytes(4, "big") + payload)


class Scripts:
    """The scripts of one queue.

    Args:
        redis: the Redis client.
        keys: the queue's keys, in the order of `prelude.lua`.
        prefix: prefix of the ids of its jobs.
        stock_aborts: prefix of the abort keys of stock SAQ.
        guard: guard of the client's connections.
    """

    def __init__(self, redis: Redis, keys: list[str], prefix: str, stock_aborts: str, guard: LoopGuard) -> None:
        self.keys = keys
        self.prefix = prefix
        self._stock_aborts = stock_aborts.encode()
        self.lines, self.waiting = lines_of(redis, guard)
        # In wire format: redis-py would encode each of them at each call.
        self._head = [len(keys), *(key.encode() for key in keys), prefix.encode()]

    def common(self) -> tuple[Any, ...]:
        """The first arguments of every script."""
        return self.prefix, clock.offset(), self._stock_aborts

    async def run(self, name: str, *args: Any, again: bool = True) -> Any:
        """Run a script with its own arguments; its file documents the answer.

        Args:
            name: name of the script.
            args: arguments after the common ones.
            again: see `Lines.call`.

        Raises:
            ConnectionError: redis-py's; Redis is down, or currently refuses everything.
        """
        [answer] = await self.lines.call(self.command(name, *args), again=again)
        if isinstance(answer, NoScriptError):
            [answer] = await self.lines.call(("EVAL", source(name), *self._arguments(args)), again=again)
        return self.raised(answer)

    def command(self, name: str, *args: Any) -> tuple[Any, ...]:
        """The command that runs a script that Redis already has; see `run`."""
        return ("EVALSHA", digest(name), *self._arguments(args))

    def raised(self, answer: Any) -> Any:
        """An answer of Redis; errors are raised, and an error that affects all commands counts as an outage."""
        if isinstance(answer, ResponseError) and not isinstance(answer, NoScriptError) and refuses_all(answer):
            raise RedisConnectionError(str(answer) or type(answer).__name__) from answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*self._head, clock.offset(), self._stock_aborts, *args)
