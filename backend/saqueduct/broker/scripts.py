"""The Lua scripts of the engine, one file each in `lua/`; every one runs after `prelude.lua`."""

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError

from saqueduct.broker.loop_guard import LoopGuard
from saqueduct.broker.outage import refuses_all
from saqueduct.broker.transport import Lines
from saqueduct.common import clock

PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("enqueue", "fire", "publish", "trigger"), ("admit",)),
    **dict.fromkeys(("declare", "due"), ("declarations",)),
}
"""What stands between the prelude and a script."""

# Not when the first script is read: the modules that this imports stay half imported in a process that another thread
# forks meanwhile.
_FOLDER = files("saqueduct.broker") / "lua"


@cache
def source(name: str) -> str:
    """The text of a script, with its prelude."""
    return "".join((_FOLDER / f"{part}.lua").read_text() for part in ("prelude", *PARTS.get(name, ()), name))


@cache
def digest(name: str) -> str:
    """The name under which Redis keeps a script once it has run."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


def pack(jobs: Sequence[Any]) -> bytes:
    """Many jobs as one argument of a script, which `cmsgpack.unpack` reads: cheaper than an argument a field."""
    return msgspec.msgpack.encode(jobs)


def text(payload: bytes | str) -> str | msgspec.Raw:
    """A payload to be packed: bytes, which may be no UTF-8, as MessagePack's long text, all that Redis reads."""
    if isinstance(payload, str):
        return payload
    return msgspec.Raw(b"\xdb" + len(payload).to_bytes(4, "big") + payload)


class Scripts:
    """The scripts of one queue.

    Args:
        redis: client.
        keys: the queue's keys, in the order that `prelude.lua` names them.
        prefix: prefix of the ids of its jobs.
        stock_aborts: prefix of the abort keys of stock SAQ.
        guard: of the client's connections.
    """

    def __init__(self, redis: Redis, keys: list[str], prefix: str, stock_aborts: str, guard: LoopGuard) -> None:
        self.keys = keys
        self.prefix = prefix
        self._stock_aborts = stock_aborts.encode()
        pool = redis.connection_pool
        self.lines: Lines = getattr(pool, "lines", None) or Lines(redis, guard)
        self.waiting: Lines = getattr(pool, "waiting", None) or self.lines
        """For calls that wait for a job."""
        # As they go over the wire: redis-py would encode each of them at each call.
        self._head = [len(keys), *(key.encode() for key in keys), prefix.encode()]

    def common(self) -> tuple[Any, ...]:
        """The arguments that every script takes first."""
        return self.prefix, clock.offset(), self._stock_aborts

    async def run(self, name: str, *args: Any, again: bool = True) -> Any:
        """Run a script with its own arguments; what it answers is told in its file.

        Args:
            name: of the script.
            args: its own arguments.
            again: see `Lines.call`.

        Raises:
            ConnectionError: redis-py's; Redis is away, or refuses everything for now.
        """
        [answer] = await self.lines.call(self.command(name, *args), again=again)
        if isinstance(answer, NoScriptError):
            [answer] = await self.lines.call(("EVAL", source(name), *self._arguments(args)), again=again)
        return self.raised(answer)

    def command(self, name: str, *args: Any) -> tuple[Any, ...]:
        """The command that runs a script which Redis knows; see `run`."""
        return ("EVALSHA", digest(name), *self._arguments(args))

    def raised(self, answer: Any) -> Any:
        """An answer of Redis, raised if it is an error; one that is about everything as if Redis were away."""
        if isinstance(answer, ResponseError) and not isinstance(answer, NoScriptError) and refuses_all(answer):
            raise RedisConnectionError(str(answer) or type(answer).__name__) from answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _arguments(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*self._head, clock.offset(), self._stock_aborts, *args)
