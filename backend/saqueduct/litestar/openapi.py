"""The queue's routes in the application's OpenAPI document: Litestar's description, and what Litestar cannot know.

That is: the answers for errors, all of them problem details; a path and a request schema for each task; the options of
an enqueue.
"""

import copy
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from litestar import Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import OpenAPI
from litestar.routes import HTTPRoute
from litestar.utils.path import normalize_path

from saqueduct.litestar.errors import HEADERS
from saqueduct.litestar.guards import SCHEMES
from saqueduct.litestar.phrases import phrase_of
from saqueduct.litestar.routes.batches import LARGEST_BATCH
from saqueduct.litestar.routes.enqueuing import LONGEST_WAIT
from saqueduct.tasks.registry import TaskRegistry
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
        "job_id": {"type": "string", "description": "the job that prevents it"},
        "role": {"type": "string", "description": "the role that is needed"},
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
        "schema": {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
        "description": "seconds to wait for its end; the answer is then the job, with 202 if it has not ended",
    },
)

HEADER: Final[Document] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "key of the request and of its job: repeated within 24 hours, the same request gets the job of the "
    "first; another request with the key is refused with 422",
}

SECURITY_SCHEMES: Final[Document] = {
    "AdminBasic": {"type": "http", "scheme": "basic", "description": "name and password of a person or the admin"},
    "AdminToken": {"type": "http", "scheme": "bearer", "description": "token of a program or the admin"},
}


class DescribedConfig(OpenAPIConfig):
    """A configuration whose document also describes what Litestar does not know.

    Args:
        given: the configuration of the application; everything but the document is as there.
        complete: gets the document of `given`, and returns that to serve; called once, when it is first asked for.
    """

    def __init__(self, given: OpenAPIConfig, complete: Callable[[Document], Document]) -> None:
        vars(self).update(vars(given))
        self._given = given
        self._complete = complete

    def to_openapi_schema(self) -> OpenAPI:
        """The document; Litestar adds the paths to it."""
        document = self._given.to_openapi_schema()
        described = _Described(**{field.name: getattr(document, field.name) for field in fields(document)})
        described.complete = self._complete
        return described


class _Described(OpenAPI):
    complete: Callable[[Document], Document]

    def to_schema(self) -> Document:
        return self.complete(super().to_schema())


def describe(
    config: OpenAPIConfig, router: Router, registry: TaskRegistry, *, credentials: bool, base_path: str = ""
) -> OpenAPIConfig:
    """The configuration of an application whose document describes the queue's routes completely.

        Litestar([router], openapi_config=describe(OpenAPIConfig("Shop", "1.0"), router, registry, credentials=True))

    Args:
        config: of the application.
        router: made by `queue_router`.
        registry: the tasks that can be enqueued.
        credentials: False where the application or a proxy recognizes people: how, is the application's to describe.
        base_path: path of the application, for `Litestar(path=...)`.
    """
    base = normalize_path(base_path).rstrip("/")
    prefix = base + router.path.rstrip("/")
    docs = {base + route.path_format: _docs(route) for route in router.routes if isinstance(route, HTTPRoute)}
    return DescribedConfig(
        config, partial(completed, registry=registry, prefix=prefix, docs=docs, credentials=credentials)
    )


def _docs(route: HTTPRoute) -> dict[str, str]:
    return {
        method.lower(): inspect.getdoc(handler.fn) or ""
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def completed(
    document: Document, *, registry: TaskRegistry, prefix: str, docs: Mapping[str, Mapping[str, str]], credentials: bool
) -> Document:
    """The document, completed.

    Args:
        document: Litestar's.
        registry: the tasks that can be enqueued.
        prefix: path of the router; empty for "/".
        docs: by path of the router and method, what the operation does.
        credentials: whether those of the settings open the routes.
    """
    found = copy.deepcopy(document)
    parts = found.setdefault("components", {})
    problem = _add_problem(parts.setdefault("schemas", {}))
    own = {path: item for path, item in found["paths"].items() if path in docs}
    for path, item in own.items():
        for method, operation in item.items():
            operation.setdefault("description", docs[path][method])
            describe_role(operation)
            complete_operation(operation, _statuses(path.removeprefix(prefix), method, operation), problem)
    below = {path.removeprefix(prefix): item for path, item in own.items()}
    _complete_enqueues(below)
    _complete_answers(below)
    _add_tasks(found, below, prefix, registry)
    _describe_security(found, docs, credentials)
    return found


def _add_problem(schemas: Document) -> str:
    """Add the schema of problem details, and return its name: another one if the application has that already."""
    name = next(each for each in ("Problem", "QueueProblem") if schemas.get(each, PROBLEM_SCHEMA) == PROBLEM_SCHEMA)
    schemas[name] = PROBLEM_SCHEMA
    return name


def complete_operation(operation: Document, statuses: Iterable[int], problem: str = "Problem") -> None:
    """Give an operation a summary, and problem details as its answers of these statuses.

    Args:
        operation: of the document; changed.
        statuses: of errors; where the operation describes one itself, other than 400, that stays.
        problem: name of the schema.
    """
    operation["summary"] = operation.get("description", "").partition("\n")[0].rstrip(".")
    kind = {"application/problem+json": {"schema": {"$ref": f"#/components/schemas/{problem}"}}}
    own = operation["responses"]
    for answer in own.values():
        # They are on every response, and no client needs to read them.
        answer["headers"] = {name: each for name, each in answer.get("headers", {}).items() if name not in HEADERS}
    operation["responses"] = own | {
        str(status): {"description": phrase_of(status), "content": kind}
        for status in statuses
        if status == 400 or str(status) not in own
    }


def describe_role(operation: Document) -> None:
    """Say in an operation which role it needs, as its security does; changed."""
    needed = operation.get("security") or ()
    role = next((role for each in needed for name in SCHEMES for role in each.get(name, ())), None)
    if role is not None:
        operation["x-role"] = role
        use = "Shows more to" if {} in needed else "Needs"
        operation["description"] += f"\n\n{use} the role `{role}`."


def _describe_security(document: Document, paths: Collection[str], credentials: bool) -> None:
    if credentials:
        schemes = document["components"].setdefault("securitySchemes", {})
        document["components"]["securitySchemes"] = SECURITY_SCHEMES | schemes
        return
    for path in paths:
        for operation in document["paths"].get(path, {}).values():
            others = [each for each in operation.get("security", ()) if each and not each.keys() & set(SCHEMES)]
            operation.pop("security", None)
            if others:
                operation["security"] = others


def describe_enqueue(operation: Document, body: Document, view: Document, *, batch: bool = False) -> None:
    """The options, the body and the answers of an operation that enqueues and reads the request itself.

    Args:
        operation: of the document; changed.
        body: schema of its body.
        view: schema of a job, with which it answers after a wait.
        batch: True: it enqueues many jobs, and waits for none.
    """
    options = [option for option in OPTIONS if not batch or option["name"] != "wait"]
    given = [{**option, "in": "query", "required": False} for option in options]
    operation["parameters"] = [*operation.get("parameters", []), *given, HEADER]
    operation["requestBody"] = {"required": batch, "content": {"application/json": {"schema": body}}}
    if batch:
        return
    made = operation["responses"]["201"]
    [media] = made["content"].values()
    made["content"] = {"application/json": {"schema": {"oneOf": [media["schema"], view]}}}
    operation["responses"]["200"] = {**made, "description": "a job of that key or these arguments existed before"}
    still = {"application/json": {"schema": view}}
    operation["responses"]["202"] = {"description": "enqueued, and not ended within wait", "content": still}


def view_of(show_job: Document) -> Document:
    """The schema of a job, from the operation that shows one."""
    [media] = show_job["responses"]["200"]["content"].values()
    return dict(media["schema"])


def _complete_enqueues(paths: Document) -> None:
    arguments = {"type": "object", "additionalProperties": {}}
    view = view_of(paths["/jobs/{key}"]["get"])
    describe_enqueue(paths["/tasks/{name}"]["post"], arguments, view)
    many = {"type": "array", "items": arguments, "maxItems": LARGEST_BATCH}
    describe_enqueue(paths["/tasks/{name}/batch"]["post"], many, view, batch=True)


def _complete_answers(paths: Document) -> None:
    """Responses that depend on what is found."""
    paths["/jobs/{key}/events"]["get"]["responses"]["200"]["content"] = {
        "text/event-stream": {"schema": {"type": "string"}}
    }
    answers = paths["/schedules/{key}/trigger"]["post"]["responses"]
    answers["200"] = {**answers["201"], "description": "it existed before"}
    answers = paths["/health/ready"]["get"]["responses"]
    answers["503"] = {**answers["200"], "description": "Redis or PostgreSQL does not answer"}


def _statuses(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[int]:
    yield from (400, 500, 503)
    if any(operation.get("security") or ()):
        yield from (401, 403, 429)
    if "{" in path or path in ("/jobs", "/dead-letters"):
        yield 404
    if method != "get":
        yield from (403, 408, 409, 413, 415)
    if path in ("/tasks/{name}", "/tasks/{name}/batch"):
        # The key in the header was sent with another request.
        yield 422


def _add_tasks(document: Document, paths: Document, prefix: str, registry: TaskRegistry) -> None:
    """A path and a schema for each task."""
    schemas = document["components"]["schemas"]
    taken = {operation["operationId"] for item in document["paths"].values() for operation in item.values()}
    tasks = registry.get_all_tasks()
    names = components(tasks, schemas)
    for task in tasks:
        schemas |= _schemas_of(task, names[task.name])
        for path in ("/tasks/{name}", "/tasks/{name}/batch"):
            own = prefix + path.replace("{name}", quote(task.name))
            document["paths"][own] = _of_task(task, names[task.name], paths[path], taken)


def _schemas_of(task: Task[..., Any], name: str) -> Document:
    """The arguments of a task as a component of that name, and the components that they refer to."""
    schema = task.signature.json_schema()
    inner = schema.pop("$defs", {})
    renamed = {f"#/$defs/{each}": f"#/components/schemas/{name}.{each}" for each in inner}
    found = {name: {"title": name, **schema}}
    found |= {f"{name}.{each}": {**one, "title": f"{name}{each}"} for each, one in inner.items()}
    return {each: _with_references(one, renamed) for each, one in found.items()}


def components(tasks: Iterable[Task[..., Any]], taken: Collection[str] = ()) -> dict[str, str]:
    """By task the name of the component that holds its arguments: `SendEmailArguments`.

    Args:
        tasks: all that have one.
        taken: names of other components.
    """
    found: dict[str, str] = {}
    for task in tasks:
        words = re.split(r"[^A-Za-z0-9]+|_", task.name)
        name = "".join(word[:1].upper() + word[1:] for word in words) + "Arguments"
        while name in found.values() or name in taken:
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
    schema = {"type": "array", "items": arguments, "maxItems": LARGEST_BATCH} if batch else arguments
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
