"""The OpenAPI document: Litestar's, completed by what it cannot know.

The answers that are no success, all of them problem details; a path and a request schema for each task; the options of
an enqueue; readable names of operations.
"""

import copy
import http
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import Method

from saqueduct.tasks.registry import get_registry
from saqueduct.tasks.task import Task

Document = dict[str, Any]

PROBLEM_SCHEMA: Final[Document] = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "required": ["status", "code", "detail"],
    "properties": {
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "the kind of problem, for programs"},
        "detail": {"type": "string", "description": "what was wrong and what to do, for people"},
        "errors": {"description": "what is wrong with each value, where values are"},
        "near": {"type": "array", "items": {"type": "string"}, "description": "names that may have been meant"},
        "known": {"type": "array", "items": {"type": "string"}, "description": "the names that there are"},
        "job_id": {"type": "string", "description": "the job that stands in the way"},
    },
}

OPTIONS: Final[tuple[Document, ...]] = (
    {"name": "delay", "schema": {"type": "number", "minimum": 0}, "description": "seconds before the job may start"},
    {
        "name": "eta",
        "schema": {"type": "string", "format": "date-time"},
        "description": "time before which it does not start, with an offset; not together with delay",
    },
    {
        "name": "key",
        "schema": {"type": "string"},
        "description": "the job's key; while a job of that key waits or runs, no other is made",
    },
    {"name": "priority", "schema": {"type": "string", "enum": ["high", "normal", "low"]}},
    {
        "name": "expires",
        "schema": {"type": "number", "minimum": 0},
        "description": "seconds by which it must have started, else it never runs",
    },
    {
        "name": "wait",
        "schema": {"type": "number", "minimum": 0, "maximum": 60},
        "description": "seconds to wait for its end; the answer is then the job, with 202 if it has not ended",
    },
)

HEADER: Final[Document] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "the same as the parameter key",
}

VERBS: Final = {"all_of_them": "list", "page": "list", "catalogue": "list", "add_recipients": "add_recipients_to"}


def operation_id(handler: HTTPRouteHandler, _: Method, path: Iterable[Any]) -> str:
    """The name of an operation, such as `retry_job` and `list_jobs`."""
    collection = next(part for part in path if isinstance(part, str)).replace("-", "_")
    verb = VERBS.get(handler.fn.__name__, handler.fn.__name__)
    if verb == collection:
        return verb
    return f"{verb}_{collection if verb == 'list' else collection.removesuffix('s')}"


class ApiDocument(JsonRenderPlugin):
    """Renders the completed document at /schema/openapi.json."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json")
        self._completed: Document | None = None

    def render(self, request: Request[Any, Any, Any], openapi_schema: Document) -> bytes:
        """The document; completed once."""
        if self._completed is None:
            self._completed = completed(openapi_schema)
        return self.render_json(request, self._completed)


def completed(document: Document) -> Document:
    """The document with all that it lacks; the one given stays as it is."""
    found = copy.deepcopy(document)
    schemas = found["components"]["schemas"]
    schemas["Problem"] = PROBLEM_SCHEMA
    for path, item in found["paths"].items():
        for method, operation in item.items():
            operation["summary"] = operation.get("description", "").partition("\n")[0].rstrip(".")
            operation["responses"] |= _problems(path, method, operation)
    _complete_enqueues(found["paths"])
    _complete_answers(found["paths"])
    taken = {operation["operationId"] for item in found["paths"].values() for operation in item.values()}
    tasks = get_registry().get_all_tasks()
    names = components(tasks)
    for task in tasks:
        schemas |= _schemas_of(task, names[task.name])
        for path in ("/tasks/{name}", "/tasks/{name}/batch"):
            own = path.replace("{name}", quote(task.name))
            found["paths"][own] = _of_task(task, names[task.name], found["paths"][path], taken)
    return found


def _complete_enqueues(paths: Document) -> None:
    """Parameters, bodies and answers of the routes that read the request themselves."""
    one, many, process = (paths[path]["post"] for path in ("/tasks/{name}", "/tasks/{name}/batch", "/process"))
    arguments = {"type": "object", "additionalProperties": {}}
    user: Document = {"type": "integer"}
    for operation, body in (
        (one, arguments),
        (many, {"type": "array", "items": arguments, "maxItems": 10_000}),
        (process, {"type": "object", "properties": {"user_id": user}, "additionalProperties": False}),
    ):
        options = [option for option in OPTIONS if operation is not many or option["name"] != "wait"]
        given = [{**option, "in": "query", "required": False} for option in options]
        operation["parameters"] = [*operation.get("parameters", []), *given, HEADER]
        operation["requestBody"] = {"required": operation is many, "content": {"application/json": {"schema": body}}}
    process["parameters"].insert(0, {"name": "user_id", "in": "query", "required": False, "schema": user})
    for operation in (one, process):
        made = operation["responses"]["201"]
        [media] = made["content"].values()
        either = {"oneOf": [media["schema"], {"$ref": "#/components/schemas/JobView"}]}
        made["content"] = {"application/json": {"schema": either}}
        operation["responses"]["200"] = {**made, "description": "a job of that key or these arguments existed before"}
        still = {"application/json": {"schema": {"$ref": "#/components/schemas/JobView"}}}
        operation["responses"]["202"] = {"description": "enqueued, and not ended within wait", "content": still}


def _complete_answers(paths: Document) -> None:
    """Answers that depend on what is found."""
    paths["/jobs/{key}/events"]["get"]["responses"]["200"]["content"] = {
        "text/event-stream": {"schema": {"type": "string"}}
    }
    for path in ("/payments", "/schedules/{key}/trigger"):
        answers = paths[path]["post"]["responses"]
        answers["200"] = {**answers["201"], "description": "it existed before"}
    answers = paths["/health/ready"]["get"]["responses"]
    answers["503"] = {**answers["200"], "description": "Redis or PostgreSQL does not answer"}


def _problems(path: str, method: str, operation: Mapping[str, Any]) -> Document:
    """The answers of an operation that are no success."""
    kind = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    phrase = {status: http.HTTPStatus(status).phrase for status in _statuses(path, method, operation)}
    own = operation["responses"]
    return {
        str(status): {"description": text, "content": kind}
        for status, text in phrase.items()
        if status == 400 or str(status) not in own
    }


def _statuses(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    yield from (400, 500, 503)
    if any(operation.get("security") or ()) or path.startswith("/users/"):
        yield from (401, 429)
    if path == "/process":
        yield from (401, 429)
    if "{" in path:
        yield 404
    if method != "get":
        yield from (403, 408, 409, 413, 415)


def _schemas_of(task: Task[..., Any], name: str) -> Document:
    """The arguments of a task as a component of that name, and the components that they refer to."""
    schema = task.signature.json_schema()
    inner = schema.pop("$defs", {})
    renamed = {f"#/$defs/{each}": f"#/components/schemas/{name}.{each}" for each in inner}
    found = {name: {"title": name, **schema}}
    found |= {f"{name}.{each}": {**one, "title": f"{name}{each}"} for each, one in inner.items()}
    return {each: _with_references(one, renamed) for each, one in found.items()}


def components(tasks: Iterable[Task[..., Any]]) -> dict[str, str]:
    """By task the name of the component that holds its arguments: `SendEmailArguments`."""
    found: dict[str, str] = {}
    for task in tasks:
        words = re.split(r"[^A-Za-z0-9]+|_", task.name)
        name = "".join(word[:1].upper() + word[1:] for word in words) + "Arguments"
        while name in found.values():
            name += "Too"
        found[task.name] = name
    return found


def _with_references(schema: Any, renamed: Mapping[str, str]) -> Any:
    if isinstance(schema, dict):
        return {
            name: renamed.get(value, value) if name == "$ref" else _with_references(value, renamed)
            for name, value in schema.items()
        }
    return [_with_references(each, renamed) for each in schema] if isinstance(schema, list) else schema


def _of_task(task: Task[..., Any], component: str, general: Document, taken: set[str]) -> Document:
    """The path of a task: that of all, with the task's name in it and its arguments as the body."""
    operation = copy.deepcopy(general["post"])
    batch = operation["operationId"] == "enqueue_batch"
    arguments = {"$ref": f"#/components/schemas/{component}"}
    schema = {"type": "array", "items": arguments, "maxItems": 10_000} if batch else arguments
    name = re.sub(r"[^A-Za-z0-9]+", "_", task.name)
    operation["operationId"] = f"enqueue_batch_of_{name}" if batch else f"enqueue_{name}"
    while operation["operationId"] in taken:
        operation["operationId"] += "_task"
    taken.add(operation["operationId"])
    needed = batch or bool(task.signature.json_schema().get("required"))
    operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    operation["parameters"] = [each for each in operation["parameters"] if each["in"] != "path"]
    operation["summary"] = task.doc.partition("\n")[0].rstrip(".") or operation["summary"]
    operation["description"] = task.doc or operation["description"]
    return {"post": operation}
