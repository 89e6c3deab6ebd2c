"""Lines: connections kept for script calls, instead of taking one from the pool for each call.

For each command redis-py's client locks its pool, checks the connection and updates counters: about a third of the time
of a script call. A line detects a broken connection by its first failure, and tries again as the client does.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from saqueduct.broker.loop_guard import LoopGuard

Command = tuple[Any, ...]

SOON = 0.05
"""Seconds for which a call waits for those that open a line. A server that is away fails each call by itself."""


class Lines:
    """Lines to the server of a client; one per call that takes long, up to `most`: further calls wait.

    Args:
        redis: the client; its `aclose` also closes the lines.
        most: maximum number of lines.
        guard: checks the event loop of the connections; by default that of the first call.
    """

    def __init__(self, redis: Redis, guard: LoopGuard | None = None, most: float = math.inf) -> None:
        self._guard = guard or LoopGuard()
        self._pool: Any = redis.connection_pool
        self._most = most
        self._opened = 0
        self._opening = 0
        """Calls that open a line."""
        self._idle: list[AbstractConnection] = []
        self._waiting: deque[asyncio.Future[AbstractConnection | None]] = deque()
        """Calls that wait for a line."""

    async def call(self, *commands: Command, again: bool = True) -> list[Any]:
        """The answers to commands that are sent together, in order; an error from Redis is returned as an answer.

        Args:
            commands: the commands.
            again: True: if the connection breaks, the commands are sent again, as the client does, and executed twice
                if only their answers were lost.

        Raises:
            ConnectionError, TimeoutError: redis-py's; Redis is down.
            OtherEventLoop: this is not the event loop of the connections.
        """
        self._guard.check()
        line = self._idle.pop() if self._idle else await self._another()
        try:
            if again:
                return await line.retry.call_with_retry(lambda: _ask(line, commands), lambda _: line.disconnect())
            return await _ask_once(line, commands)
        finally:
            self._hand_over(line)

    async def _another(self) -> AbstractConnection:
        """A new line, or the next free one.

        To open one takes longer than most calls. So those that begin together, as at the start of a worker, open one
        after another, and meanwhile share those that are open.
        """
        if self._opening and (line := await self._soon()) is not None:
            return line
        while self._opened >= self._most:
            if (line := await self._next()) is not None:
                return line
        self._opened += 1
        self._opening += 1
        try:
            return cast("AbstractConnection", await self._pool.get_connection())
        except BaseException:
            self._opened -= 1
            raise
        finally:
            self._opening -= 1
            self._hand_over(None)

    async def _soon(self) -> AbstractConnection | None:
        """The next free line, unless another one should be opened."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SOON):
                if (line := await self._next()) is not None:
                    return line
        return self._idle.pop() if self._idle else None

    async def _next(self) -> AbstractConnection | None:
        free: asyncio.Future[AbstractConnection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(free)
        try:
            return await free
        except asyncio.CancelledError:
            if not free.cancelled():
                self._hand_over(free.result())
            raise

    def _hand_over(self, line: AbstractConnection | None) -> None:
        """Pass a line to a waiting call, or keep it; None: another line may be opened."""
        while self._waiting:
            free = self._waiting.popleft()
            if not free.done():
                free.set_result(line)
                return
        if line is not None:
            self._idle.append(line)


async def _ask_once(line: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    try:
        return await _ask(line, commands)
    except (RedisConnectionError, RedisTimeoutError, OSError):
        await line.disconnect()
        raise


async def _ask(line: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    if len(commands) == 1:
        await line.send_command(*commands[0])
    else:
        await line.send_packed_command(line.pack_commands(commands))
    answers: list[Any] = []
    for _ in commands:
        try:
            answers.append(await line.read_response())
        except ResponseError as error:
            answers.append(error)
    return answers
