"""The OpenAPI document, and what a client that is generated of it can do."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from saqueduct import Context, Queues, get_registry, task
from saqueduct.litestar.openapi import components

Document = dict[str, Any]


@pytest.fixture
async def document(client: httpx.AsyncClient) -> Document:
    answer = await client.get("/schema/openapi.json")
    return dict(json.loads(answer.content))


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for each in part:
            yield from references(each)


def test_operations_have_readable_names_of_their_own(document: Document) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert {"process", "show_job", "list_jobs", "retry_job", "enqueue_task", "enqueue_send_email"} <= set(names)
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]+", name)] == []


def test_every_reference_leads_somewhere(document: Document) -> None:
    for reference in references(document):
        part: Any = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]
        assert part


def test_every_error_is_problem_details(document: Document) -> None:
    for method, path, operation in operations(document):
        assert {"400", "500", "503"} <= operation["responses"].keys(), (method, path)
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and (path, status) != ("/health/ready", "503"):
                assert list(answer["content"]) == ["application/problem+json"], (method, path, status)


def test_every_parameter_of_a_path_is_declared(document: Document) -> None:
    for method, path, operation in operations(document):
        declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", path)), (method, path)


def test_each_task_has_a_path_with_its_arguments(document: Document) -> None:
    tasks = get_registry().get_all_tasks()
    names = components(tasks)
    for each in tasks:
        body = document["paths"][f"/tasks/{each.name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": f"#/components/schemas/{names[each.name]}"}
        many = document["paths"][f"/tasks/{each.name}/batch"]["post"]["requestBody"]["content"]["application/json"]
        assert many["schema"]["items"] == body
        arguments = document["components"]["schemas"][names[each.name]]
        assert arguments["properties"].keys() == each.signature.json_schema()["properties"].keys()


@pytest.fixture
def similar_names(own_tasks: None) -> None:
    """Before the application is built: the document is made once."""

    @task(name="batch")
    async def batch(ctx: Context) -> None: ...

    @task(name="todo_cleanup")
    async def todo_cleanup(ctx: Context) -> None: ...


async def test_tasks_of_similar_names_have_operations_of_their_own(
    similar_names: None, client: httpx.AsyncClient
) -> None:
    document = (await client.get("/schema/openapi.json")).json()
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    schemas = {
        document["paths"][f"/tasks/{name}"]["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for name in ("todo_cleanup", "todo.cleanup")
    }
    assert len(schemas) == 2


async def test_answers_are_those_of_the_document(client: httpx.AsyncClient, document: Document) -> None:
    known = document["paths"]["/tasks/{name}"]["post"]["responses"]
    for query, status in (("key=a", 201), ("key=a", 200), ("wait=0", 202), ("delay=x", 400)):
        answer = await client.post(f"/tasks/my_task?{query}", json={"user_id": 1})
        assert (answer.status_code, str(status) in known) == (status, True)


@pytest.fixture
def generated(document: Document, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package that openapi-python-client has made of the document."""
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(document))
    # Without the formatters, which it looks for in PATH.
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    name = "generated_saqueduct_client"
    command = ["generate", "--path", str(described), "--meta", "none", "--output-path", str(tmp_path / name)]
    command += ["--config", str(tmp_path / "config.yml"), "--fail-on-warning"]
    # Here, because they take their time to be imported.
    from openapi_python_client.cli import app
    from typer.testing import CliRunner

    made = CliRunner().invoke(app, command)
    assert made.exit_code == 0, made.output
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [each for each in sys.modules if each.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.mark.long
async def test_a_generated_client_enqueues_and_reads_a_job(
    client: httpx.AsyncClient, generated: str, queues: Queues
) -> None:
    def part(name: str) -> Any:
        return importlib.import_module(f"{generated}.{name}")

    transport = client._transport
    api = part("client").Client(base_url="http://127.0.0.1:8000", httpx_args={"transport": transport})
    body = part("models").MyTaskArguments(user_id=7)
    enqueued = await part("api.tasks.enqueue_my_task").asyncio(client=api, body=body, key="tenant/42")
    assert (enqueued.key, enqueued.created) == ("tenant/42", True)
    job = await part("api.jobs.show_job").asyncio("tenant/42", client=api)
    assert (job.key, job.task, job.status, job.errors) == ("tenant/42", "my_task", "queued", [])
    assert job.queued_at.tzinfo is not None
    problem = await part("api.jobs.show_job").asyncio("nope", client=api)
    assert (problem.status, problem.code) == (404, "job-not-found")
