"""A network between a process and its server that can be slow, silent, or cut."""

import asyncio
import random
import threading
from contextlib import suppress


class Network:
    """Forwards connections from a TCP port of this machine to a server's unix socket, in a thread of its own.

    Args:
        socket: path of the unix socket.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.delay = 0.0
        """Seconds that each packet takes, each way; up to as much again by chance."""
        self.silent = False
        """True: connections are accepted and kept, and nothing passes, as when the server's process is stopped."""
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="network", daemon=True)

    def __enter__(self) -> "Network":
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def cut(self) -> None:
        """Cut every connection."""
        self._loop.call_soon_threadsafe(self._cut)

    def _cut(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port = int(server.sockets[0].getsockname()[1])
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._cut()
        self._loop.run_until_complete(self._all_over())
        self._loop.close()

    async def _all_over(self) -> None:
        # A connection that was just accepted still makes tasks of its own.
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self._socket)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._writers |= both
        # asyncio.start_server logs a cancelled handler as an error, and all are cancelled at the end.
        with suppress(asyncio.CancelledError):
            await self._forward(reader, writer, there_reader, there_writer)
        self._writers -= both
        for each in both:
            each.transport.abort()

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there_reader: asyncio.StreamReader,
        there_writer: asyncio.StreamWriter,
    ) -> None:
        passing = [
            asyncio.create_task(self._pass(reader, there_writer)),
            asyncio.create_task(self._pass(there_reader, writer)),
        ]
        await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay * (1 + random.random()))  # noqa: S311  (spread, not secrecy)
                while self.silent:  # noqa: ASYNC110  (set in another thread)
                    await asyncio.sleep(0.01)
                writer.write(data)
                await writer.drain()
