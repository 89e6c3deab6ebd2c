"""Option names of other job queues, and their equivalents here."""

from collections.abc import Collection, Iterable

from saqueduct.common.near_names import did_you_mean

TASK_EQUALS: dict[str, str] = {
    "acks_late": "jobs of a killed worker always run again; at_most_once=True forbids that",
    "actor_name": "give name=...",
    "autoretry_for": "give retry_on=(...), a tuple of exceptions; by default all are retried, as far as retries go",
    "base": "write a function",
    "bind": "leave it out, the first parameter is always ctx, and ctx['job'] is the job",
    "cron": "decorate with @scheduled_task(cron=...)",
    "crontab": "decorate with @scheduled_task(cron=...)",
    "default_retry_delay": "give retry_delay=seconds",
    "dont_autoretry_for": "give give_up_on=(...), a tuple of exceptions",
    "every": "decorate with @scheduled_task(every=...)",
    "failure_ttl": "give ttl=seconds",
    "ignore_result": "give ttl=-1, which keeps no result",
    "interval": "decorate with @scheduled_task(every=...)",
    "job_timeout": "give timeout=seconds",
    "keep_result": "give ttl=seconds, or ttl=-1 to keep no result",
    "max_backoff": "give retry_backoff=seconds, the longest pause",
    "max_retries": "give retries, which counts attempts in all: max_retries + 1",
    "max_tries": "give retries, attempts in all",
    "min_backoff": "give retry_delay=seconds, and retry_backoff=True",
    "pydantic": "leave it out, pydantic models in the signature are validated",
    "queue_name": "give queue=...",
    "rate_limit": "give limits=(Rate(name, 10, per=60),), which counts for all workers together",
    "reject_on_worker_lost": "jobs of a killed worker always run again; at_most_once=True forbids that",
    "result_expires": "give ttl=seconds",
    "result_ttl": "give ttl=seconds",
    "retry_backoff_max": "give retry_backoff=seconds, the longest pause",
    "retry_jitter": "leave it out, retry_backoff always draws a part of the pause at random",
    "schedule": "decorate with @scheduled_task(cron=...) or @scheduled_task(every=...)",
    "serializer": "leave it out, arguments travel as JSON",
    "soft_time_limit": "give timeout=seconds; the function is cancelled then",
    "store_results": "give ttl=seconds, or ttl=-1 to keep no result",
    "task_name": "give name=...",
    "throws": "leave it out, or give give_up_on=(...)",
    "time_limit": "give timeout=seconds",
    "timeout_ms": "give timeout=seconds",
    "track_started": "leave it out, a running job is always shown as active",
}
"""Task options in Celery, Dramatiq, arq, RQ, taskiq and Huey."""

CALL_EQUALS: dict[str, str] = {
    "args": "give arguments to enqueue(...)",
    "at": "give eta=an aware datetime",
    "countdown": "give delay=seconds",
    "defer_by": "give delay=seconds",
    "defer_until": "give eta=an aware datetime",
    "ignore_result": "give keep_result=False",
    "job_id": "give key=...",
    "kwargs": "give arguments to enqueue(...)",
    "max_retries": "give retries, which counts attempts in all: max_retries + 1",
    "queue_name": "give queue=...",
    "scheduled": "give eta=an aware datetime, or delay=seconds",
    "schedule": "give eta=an aware datetime, or delay=seconds",
    "soft_time_limit": "give timeout=seconds",
    "task_id": "give key=...",
    "time_limit": "give timeout=seconds",
}
"""Call options in those libraries."""


def unknown_option(names: Iterable[str], known: Collection[str], equals: dict[str, str]) -> str:
    """The error text for unknown options; empty if all are known.

    Args:
        names: as given.
        known: the valid options.
        equals: the equivalents here of names in other libraries.
    """
    return "; ".join(
        f"there is no option {name!r}: {equals.get(name) or did_you_mean(name, sorted(known))}"
        for name in names
        if name not in known
    )
