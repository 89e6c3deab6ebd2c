"""`POST /process`: the task `my_task` for a user, open to all."""

from typing import Any, Final

import msgspec
from dishka import FromDishka
from litestar import Request, Response, post
from litestar.types import Scope

from app.queue.registry import get_registry
from app.web.scopes import inject
from saqueduct import InvalidArguments, Queues
from saqueduct.litestar.guards import OPERATOR, WHEN, require_role
from saqueduct.litestar.links import JobLinks
from saqueduct.litestar.routes.answers import EnqueuedJob, created
from saqueduct.litestar.routes.enqueuing import (
    QUERY,
    answer,
    arguments_of,
    asked,
    body_of,
    enqueue,
    with_options,
)
from saqueduct.litestar.unknown import IDEMPOTENCY_KEY

FURTHER: Final = frozenset({IDEMPOTENCY_KEY, b"content-length", b"transfer-encoding"})
"""Headers of a request that contains more than its query."""


OPTIONS: Final[dict[str, Any]] = {
    **OPERATOR,
    WHEN: "on demand",
    "reads_body": True,
    "takes_idempotency_key": True,
    "query": ("user_id", *QUERY),
}


@post("/process", tags=["Tasks"], opt=OPTIONS)
@inject
async def process(
    request: Request[Any, Any, Any], queues: FromDishka[Queues], links: FromDishka[JobLinks]
) -> Response[EnqueuedJob]:
    """Enqueue the task `my_task` for a user; with options, such as a key, only for operators."""
    if (plain := plain_user(request.scope)) is not None:
        return created(await queues.enqueue("my_task", {"user_id": plain}), links)
    query = asked(request, "user_id")
    if chosen := bool(query.options()):
        # A caller who chooses a key can prevent another job with that key.
        await require_role(request)
    arguments = with_user(arguments_of(await body_of(request), "my_task"), request.query_params.get("user_id"))
    task = with_options(get_registry().get("my_task"), query)
    return await answer(await enqueue(task, arguments, query, queues, links), query, queues, links, whole=chosen)


def plain_user(scope: Scope) -> int | None:
    """The user of a request that contains `?user_id=7` and nothing else, as most do; None: parse it fully."""
    query = scope["query_string"]
    number = query[8:]
    if not query.startswith(b"user_id=") or not number.isdigit() or len(number) > 18:
        return None
    for name, value in scope["headers"]:
        if name in FURTHER and (name, value) != (b"content-length", b"0"):
            return None
    return int(number)


def with_user(arguments: dict[str, Any], given: str | None) -> dict[str, Any]:
    """Arguments of the body with the user of the query.

    Raises:
        InvalidArguments: that is no number, or the body names a user, too.
    """
    if given is None:
        return arguments
    if "user_id" in arguments:
        raise InvalidArguments("my_task", {"user_id": "is in the query and in the body: give it once"})
    try:
        return {**arguments, "user_id": msgspec.convert(given, int, strict=False)}
    except msgspec.ValidationError as error:
        raise InvalidArguments("my_task", {"user_id": str(error)}) from None
