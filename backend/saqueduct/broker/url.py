"""REDIS_URL: which servers it names, their topology, and how to connect to them.

    redis://user:password@host:6379/0                             one server
    unix:///run/redis.sock?db=0                                   one server on this machine
    redis+sentinel://user:password@host1,host2,host3/service      the master of a service, found through its sentinels
    redis+cluster://user:password@host1,host2,host3               a cluster

`rediss` instead of `redis` uses TLS; `valkey` and `valkeys` mean the same as `redis` and `rediss`. Options follow as a
query. Error messages contain no part of the URL that may include a password.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from saqueduct.common.near_names import did_you_mean

Topology = Literal["server", "sentinel", "cluster"]

PORTS: dict[Topology, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}

SCHEMES = "redis://, unix://, redis+sentinel:// or redis+cluster://, with rediss in place of redis for TLS"


class InvalidRedisURL(ValueError):
    """The URL is invalid; the message says what is valid, and never shows a password."""


@dataclasses.dataclass(frozen=True, slots=True)
class RedisURL:
    """A parsed REDIS_URL.

    Attributes:
        topology: one server, a service behind sentinels, or a cluster.
        hosts: host and port of the server, the sentinels, or some nodes of the cluster; none for a unix socket.
        tls: True if connections are encrypted.
        path: the unix socket, else empty.
        service: the sentinels' name for the master, else empty.
        options: options of connections to the data servers, by redis-py's names.
        sentinel_options: username and password of the sentinels.
    """

    topology: Topology
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    path: str
    service: str
    options: dict[str, Any] = dataclasses.field(repr=False)
    sentinel_options: dict[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "RedisURL":
        """Parse a URL.

        Raises:
            InvalidRedisURL: it is invalid, or names a file that does not exist.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            raise InvalidRedisURL(f"it is not a URL: it must start with {SCHEMES}") from None
        topology, tls = _kind(parts.scheme)
        if parts.fragment:
            raise InvalidRedisURL("write a # in the password as %23")
        hosts = () if parts.scheme == "unix" else _hosts(parts.netloc, PORTS[topology])
        options = _login(parts) | _options(parts.query, tls)
        sentinel = {
            name.removeprefix("sentinel_"): options.pop(name) for name in list(options) if name in SENTINEL_OPTIONS
        }
        if sentinel and topology != "sentinel":
            raise InvalidRedisURL("sentinel_username and sentinel_password are only for redis+sentinel://")
        path, service = "", ""
        if parts.scheme == "unix":
            path = unquote(parts.path)
        elif topology == "sentinel":
            service = _service(parts.path)
        else:
            options |= _database(parts.path, options)
        if topology == "cluster" and options.get("db"):
            raise InvalidRedisURL("a cluster has only the database 0")
        if topology == "server" and len(hosts) > 1:
            raise InvalidRedisURL("several hosts need redis+sentinel:// or redis+cluster://")
        return cls(topology, hosts, tls, path, service, options, sentinel)


def _kind(scheme: str) -> tuple[Topology, bool]:
    if scheme == "unix":
        return "server", False
    name, _, topology = scheme.partition("+")
    if name not in ("redis", "rediss", "valkey", "valkeys") or topology not in ("", "sentinel", "cluster"):
        raise InvalidRedisURL(f"it must start with {SCHEMES}")
    return (topology or "server"), name in ("rediss", "valkeys")  # type: ignore[return-value]


def _login(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


def _hosts(netloc: str, port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for each in netloc.rpartition("@")[2].split(","):
        try:
            parts = urlsplit(f"//{each}")
            hosts.append((unquote(parts.hostname or "localhost"), parts.port or port))
        except ValueError:
            raise InvalidRedisURL(
                "a host is host:port, with a port up to 65535; write /, ?, #, @ and : in a password as "
                "%2F, %3F, %23, %40 and %3A"
            ) from None
    return tuple(hosts)


def _service(path: str) -> str:
    service = unquote(path).strip("/")
    if not service or "/" in service:
        raise InvalidRedisURL(
            "the name of the sentinels' service is missing: redis+sentinel://host1,host2,host3/service?db=0"
        )
    return service


def _database(path: str, options: dict[str, Any]) -> dict[str, int]:
    number = unquote(path).strip("/")
    if not number or "db" in options:
        return {}
    if not number.isdecimal():
        raise InvalidRedisURL("after the host comes the number of the database, such as /0")
    return {"db": int(number)}


def _flag(value: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[value.lower()]


def _file(value: str) -> str:
    if not Path(value).exists():
        raise FileNotFoundError
    return value


def _verification(value: str) -> str:
    if value not in ("required", "optional", "none"):
        raise ValueError
    return value


SENTINEL_OPTIONS = {"sentinel_username", "sentinel_password"}

OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "username": (str, "a name"),
    "password": (str, "text"),
    "sentinel_username": (str, "a name"),
    "sentinel_password": (str, "text"),
    "db": (int, "a number"),
    "client_name": (str, "a name"),
    "protocol": (int, "2 or 3"),
    "max_connections": (int, "a number"),
    "socket_timeout": (float, "seconds"),
    "socket_connect_timeout": (float, "seconds"),
    "socket_keepalive": (_flag, "true or false"),
    "health_check_interval": (int, "seconds"),
    "ssl_ca_certs": (_file, "a file that is there"),
    "ssl_ca_path": (_file, "a folder that is there"),
    "ssl_certfile": (_file, "a file that is there"),
    "ssl_keyfile": (_file, "a file that is there"),
    "ssl_password": (str, "text"),
    "ssl_cert_reqs": (_verification, "required, optional or none"),
    "ssl_check_hostname": (_flag, "true or false"),
    "ssl_ciphers": (str, "names of ciphers"),
}
"""The options that a URL may have: how to parse each, and what is valid."""


def _options(query: str, tls: bool) -> dict[str, Any]:
    options = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            # The name is not shown: if a password contains a ?, it is part of the password.
            known = f"there are {', '.join(OPTIONS)}; write ? in a password as %3F"
            raise InvalidRedisURL(f"unknown option: {did_you_mean(name, OPTIONS, known)}")
        if name.startswith("ssl_") and not tls:
            raise InvalidRedisURL(f"{name} is for TLS: begin with rediss")
        read, right = OPTIONS[name]
        try:
            options[name] = read(value)
        except (ValueError, KeyError, OSError):
            raise InvalidRedisURL(f"{name} must be {right}") from None
    return options
