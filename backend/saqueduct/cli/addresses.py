"""Where the servers of a command are, for its errors: of their URLs only what is no secret."""

import click
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from saqueduct.broker.url import InvalidRedisURL, RedisURL
from saqueduct.cli.target import Target
from saqueduct.postgres.engine import sqlalchemy_url


def at(server: str) -> str:
    """The words " at ADDRESS" for the server of the running command, "Redis" or "PostgreSQL"; empty: it is not
    known."""
    context = click.get_current_context(silent=True)
    target = None if context is None else context.find_object(Target)
    if target is None:
        return ""
    config = target.saqueduct.config
    address = of_redis(config.redis_url) if server == "Redis" else of_postgres(config.database_url)
    return f" at {address}" if address else ""


def of_redis(url: str) -> str:
    """Hosts and ports, or the path of a socket; empty: the URL is invalid."""
    try:
        parsed = RedisURL.parse(url)
    except InvalidRedisURL:
        return ""
    return parsed.path or ", ".join(f"{host}:{port}" for host, port in parsed.hosts)


def of_postgres(url: str) -> str:
    """Host and port, or the folder of a socket; empty: the URL names none, or is invalid."""
    try:
        parsed = make_url(sqlalchemy_url(url))
    except (ArgumentError, ValueError):
        return ""
    host = parsed.host or parsed.query.get("host", "")
    if not isinstance(host, str):
        return ", ".join(host)
    return f"{host}:{parsed.port}" if parsed.port else host
