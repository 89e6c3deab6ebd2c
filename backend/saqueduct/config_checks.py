"""Checks of single settings: the sentence for each problem, with the remedy. None of them shows a secret."""

import dataclasses
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from saqueduct.broker.url import InvalidRedisURL, RedisURL
from saqueduct.common.near_names import did_you_mean
from saqueduct.common.people import name_problem
from saqueduct.common.text import storable
from saqueduct.schedules.schedule import check_monitor
from saqueduct.sizes import LARGEST_JOB, Sizes
from saqueduct.timings import ConsoleTimings, PostgresTimings, Timings

SECRETS = ("admin_password", "admin_token", "secret_key", "metrics_token")
"""Settings that are secrets."""

LONGEST_QUEUE = 512
"""Bytes of a queue's name; see `LONGEST_KEY`."""

SMTP_SCHEMES = ("smtp+starttls", "smtps", "smtp")
"""Of the URL of a mail server."""

POSTGRESQL_SCHEMES = ("postgresql", "postgres")
"""Of the URL of a database, before a driver such as in `postgresql+asyncpg`."""


def redis_problems(name: str, url: str) -> list[str]:
    """Of the URL of a Redis; an empty one has none."""
    try:
        if url:
            RedisURL.parse(url)
    except InvalidRedisURL as error:
        return [f"{name}: {error}"]
    return []


def postgresql_problems(name: str, url: str) -> list[str]:
    """Of the URL of a PostgreSQL; an empty one has none."""
    if url and url.split("://")[0].split("+")[0] not in POSTGRESQL_SCHEMES:
        return [f"{name} must start with postgresql://"]
    return []


def queue_problems(queues: Sequence[str], served: Sequence[str], names: str, served_names: str) -> list[str]:
    """Of the names of queues, and of those that workers serve.

    Args:
        queues: of the application.
        served: by workers.
        names, served_names: of the two settings.
    """
    problems = [] if queues else [f"{names} is empty: name at least one queue"]
    problems += [
        f"{names}: {queue[:40]!r} is no name of a queue, which has no NUL and no lone surrogate, and {LONGEST_QUEUE} "
        "bytes at most"
        for queue in queues
        if storable(queue) != queue or len(queue.encode()) > LONGEST_QUEUE
    ]
    return problems + [
        f"{served_names}: {name!r} is not one of {names}: {did_you_mean(name, queues)}"
        for name in served
        if name not in queues
    ]


def secret_problems(secrets: Mapping[str, str]) -> list[str]:
    """Of secrets by the names of their settings: one that is only space would count as given, and one of odd bytes
    could be compared with nothing."""
    blank = [f"{name} is blank: give it a value, or leave it out" for name, value in secrets.items() if value.isspace()]
    odd = [name for name, value in secrets.items() if storable(value) != value]
    return blank + [f"{name} contains NUL, or bytes that are not UTF-8: leave them out" for name in odd]


def admin_name_problems(name: str, value: str) -> list[str]:
    """Of the user name of the admin."""
    problem = name_problem(value)
    if ":" in value:
        problem = "must be a name without a colon, with which HTTP Basic ends the name"
    return [f"{name}: {problem}"] if problem else []


def zone_problems(name: str, zone: str) -> list[str]:
    """Of the name of a time zone."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        return [f"{name}: {zone!r} is not an IANA time zone such as Europe/Berlin"]
    return []


def address_problems(name: str, addresses: Sequence[str]) -> list[str]:
    """Of the addresses or networks of proxies."""
    if isinstance(addresses, str):
        return [f"{name} takes addresses in a list, such as ['10.0.0.7'], not {addresses!r}"]
    problems = []
    for address in addresses:
        try:
            ipaddress.ip_network(address)
        except ValueError:
            problems.append(f"{name}: {address!r} is not an address such as 10.0.0.7 or a network such as 10.0.0.0/24")
    return problems


def url_problems(name: str, url: str, schemes: Sequence[str]) -> list[str]:
    """Of another URL; an empty one has none."""
    if not url or _is_url(url, schemes):
        return []
    return [f"{name} must be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}"]


def monitor_problems(monitors: Mapping[str, str]) -> list[str]:
    """Of the URLs of monitors, by the key of a schedule."""
    problems = []
    for key, url in monitors.items():
        try:
            check_monitor(url)
        except ValueError:
            problems.append(f"monitors: the schedule {key!r} needs a URL that starts with http:// or https://")
    return problems


def path_problems(name: str, path: str | None) -> list[str]:
    """Of the path of a router; None has none."""
    if path is None or path.startswith("/"):
        return []
    return [f"{name}: {path!r} does not start with a slash, such as '/queue'"]


def port_problems(name: str, port: Any) -> list[str]:
    """Of a port; None has none."""
    if port is None or (type(port) is int and 1 <= port <= 65535):
        return []
    return [f"{name}={port!r}: must be a whole number, from 1 to 65,535 ({name.upper()})"]


def number_problems(config: Any) -> list[str]:
    """Of the fields of a dataclass whose metadata has the bounds of a number."""
    fields = [field for field in dataclasses.fields(config) if "kind" in field.metadata]
    return [problem for field in fields if (problem := _out_of_bounds(field, getattr(config, field.name)))]


def timing_problems(timings: Timings) -> list[str]:
    """Of timings that are out of bounds, or do not fit together."""
    problems = _out_of_range("timings.", timings)
    problems += _out_of_range("timings.postgres.", timings.postgres)
    problems += _out_of_range("timings.console.", timings.console)
    if problems:
        return problems
    if timings.lease < 3 * timings.renewal:
        problems.append(
            f"timings.lease={timings.lease:g}: must be three times timings.renewal ({timings.renewal:g}) or more "
            "(seconds), so that two renewals may fail before a lease runs out"
        )
    if timings.recovery_wait < timings.renewal:
        problems.append(
            f"timings.recovery_wait={timings.recovery_wait:g}: must be timings.renewal ({timings.renewal:g}) or more "
            "(seconds), so that living workers can renew their leases after an outage of Redis"
        )
    if timings.peek > 4:
        problems.append(f"timings.peek={timings.peek:g}: must be 4 or less (seconds), or Redis seems to be away")
    return problems


def size_problems(sizes: Sizes) -> list[str]:
    """Of sizes that are no whole numbers, or out of bounds."""
    problems = []
    for field in dataclasses.fields(sizes):
        value, most = getattr(sizes, field.name), LARGEST_JOB if field.name == "job_bytes" else 1_000_000_000
        if type(value) is not int or not 1 <= value <= most:
            problems.append(f"sizes.{field.name}={value!r}: must be a whole number, from 1 to {most:,}")
    if not problems and sizes.full_records >= sizes.waiting_records:
        problems.append(
            f"sizes.full_records={sizes.full_records:,}: must be less than sizes.waiting_records "
            f"({sizes.waiting_records:,}), so that a worker takes no new jobs before it drops records"
        )
    return problems


def _out_of_bounds(field: "dataclasses.Field[Any]", value: Any) -> str:
    """The problem with a number; empty: none."""
    kind, low, high, unit = (field.metadata[name] for name in ("kind", "low", "high", "unit"))
    above = field.metadata.get("above", False)
    fits = isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    if fits and (low < value if above else low <= value) and (high is None or value <= high):
        return ""
    number = "a whole number" if kind is int else "a number"
    bounds = f"more than {low:g}" if above else f"{low:g} or more" if high is None else f"from {low:g}"
    bounds += "" if high is None else f" to {high:,}"
    return f"{field.name}={value!r}: must be {number}, {bounds} ({unit})"


def _out_of_range(prefix: str, timings: Timings | PostgresTimings | ConsoleTimings) -> list[str]:
    fields = [field for field in dataclasses.fields(timings) if field.name not in ("postgres", "console")]
    return [f"{prefix}{problem}" for field in fields if (problem := _not_positive(field, getattr(timings, field.name)))]


def _not_positive(field: "dataclasses.Field[Any]", value: Any) -> str:
    """The problem with a timing; empty: none."""
    whole = isinstance(field.default, int)
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if fits and 0 < value < float("inf"):
        return ""
    number = "a whole number" if whole else "a number"
    return f"{field.name}={value!r}: must be {number}, more than 0 (seconds)"


def _is_url(url: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
