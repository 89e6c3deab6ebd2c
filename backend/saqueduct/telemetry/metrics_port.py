"""The port on which a worker process serves its metrics to Prometheus.

In threads of its own: a process whose event loop is blocked still answers, and says so.
"""

import errno
import logging
import socket
import threading
from collections.abc import Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Self, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from saqueduct.common.secret import Secret
from saqueduct.errors import ConfigurationError
from saqueduct.telemetry.prometheus import rendered
from saqueduct.telemetry.reporter import MetricsReporter

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

logger = logging.getLogger("saqueduct.telemetry")

PORTS = 100
"""Ports that are tried, from the first one on."""

SLOWEST_REQUEST = 10.0
"""Seconds in which a client has to send its request, and take the answer."""


class MetricsPort:
    """Serves `GET /metrics` during a `with` block.

    Args:
        reporter: of the process.
        host: address to listen on.
        port: to listen on; if it is taken, as by another worker process, the next free one.
        token: what a request needs as bearer token; empty: nothing.

    Raises:
        ConfigurationError: none of PORTS ports is free, or the address is not of this machine.
    """

    def __init__(self, reporter: MetricsReporter, host: str, port: int, token: Secret) -> None:
        self._reporter = reporter
        self._token = token
        self._server = self._bound(host, port)
        self.port: int = self._server.server_port

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        logger.info("metrics at http://%s:%d/metrics", self._server.server_name, self.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _bound(self, host: str, port: int) -> WSGIServer:
        for each in range(port, min(port + PORTS, 65536)):
            try:
                return make_server(host, each, self._answer, _ServerIPv6 if ":" in host else _Server, _Handler)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise ConfigurationError(f"metrics cannot be served at {host}:{each}: {error.strerror}") from error
        raise ConfigurationError(f"no port from {port} on is free on {host} for metrics: set another METRICS_PORT")

    def _answer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        status, body, content_type = "200 OK", b"", "text/plain; charset=utf-8"
        headers: list[tuple[str, str]] = []
        if environ.get("PATH_INFO") != "/metrics":
            status, body = "404 Not Found", b"metrics are at /metrics\n"
        elif environ.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            status, headers = "405 Method Not Allowed", [("Allow", "GET, HEAD")]
        elif self._token and not bearer_matches(environ.get("HTTP_AUTHORIZATION", ""), self._token):
            status, headers = "401 Unauthorized", [("WWW-Authenticate", "Bearer")]
            body = b"the metrics token is needed as bearer token\n"
        else:
            families = self._reporter.all_from_thread()
            body, content_type = rendered(families, environ.get("HTTP_ACCEPT", ""))
        start_response(status, [("Content-Type", content_type), ("Content-Length", str(len(body))), *headers])
        return [] if environ.get("REQUEST_METHOD") == "HEAD" else [body]


def bearer_matches(header: str, token: Secret) -> bool:
    """True if the header `Authorization` has this token, which is compared in constant time."""
    scheme, _, value = header.partition(" ")
    return scheme.lower() == "bearer" and token.matches(value.strip())


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("a scrape from %s broke off", client_address)

    def server_bind(self) -> None:
        # Not HTTPServer's, which looks its own name up in the DNS.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = cast("tuple[str, int]", self.server_address[:2])
        self.setup_environ()


class _ServerIPv6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = SLOWEST_REQUEST

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (as the standard library names it)
        """Scrapes are not logged."""
