"""The web process's address: is its port free, does it answer, and what to print when it does."""

import asyncio
import socket
from pathlib import Path

import httpx

from app.dev.console import Console
from app.settings import Settings

POLL_SECONDS = 0.1


class PortTakenError(Exception):
    """WEB_HOST:WEB_PORT cannot be listened on."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host = host
        self.port = port
        free = port + 1 if port < 65535 else port - 1
        super().__init__(
            f"port {port} on {host} cannot be used: {reason}. Choose another one with `WEB_PORT={free} make dev`; "
            "`make stop` ends a `make dev` of this checkout in another terminal."
        )


def require_free_port(host: str, port: int) -> None:
    """Find a taken port before anything starts.

    Raises:
        PortTakenError: something listens there, or the address is not this machine's.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        with socket.socket(family, kind, protocol) as probe:
            # As the server itself does: a connection in TIME_WAIT does not make a port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise PortTakenError(host, port, (error.strerror or str(error)).lower()) from None


def base_url(settings: Settings) -> str:
    """URL of the web process as seen from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.web.host, settings.web.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.web.port}"


async def wait_until_live(url: str) -> None:
    """Wait until `GET /health/live` answers 200."""
    # trust_env: a proxy of the environment is not for this machine.
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        while True:
            try:
                if (await client.get("/health/live")).is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(POLL_SECONDS)


def show_banner(console: Console, settings: Settings, directory: Path, seconds: float) -> None:
    """Print the addresses of everything."""
    url = base_url(settings)
    lines = [
        f"ready after {seconds:.1f} s",
        f"  API docs   {url}/schema",
        f"  console    {url}/console",
        f"  queue UI   {url}/saq",
        f"  try it     curl -X POST '{url}/process?user_id=1'",
        f"  data       {directory}",
    ]
    if not settings.admin_configured:
        lines.append("  admin      open to this machine only: no ADMIN_PASSWORD and no ADMIN_TOKEN is set")
    lines.append("  Ctrl-C stops all of it")
    # At once: the programs write meanwhile, and no line of theirs is wanted in between.
    console.say("\n".join(lines))
