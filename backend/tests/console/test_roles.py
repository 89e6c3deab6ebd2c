"""Who may change what: each route that changes something, called by somebody of each role."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from saqueduct.litestar import SaqueductPlugin
from tests.console.conftest import ADMIN, OPERATOR, VIEWER, Served, config_of
from tests.fixtures.kept_alive import KEPT_ALIVE

ROLES = {"nobody": None, "viewer": VIEWER, "operator": OPERATOR, "admin": ADMIN}
"""Credentials of somebody of each role, from the least to the most."""

LOOKS = {
    # How the pages look, and the end of the own session: nothing of the jobs.
    "POST /console/look": {"theme": "dark"},
    "POST /console/logout": {},
}

JOB = {"key": "kept", "queue": "default"}

CHANGES: dict[str, dict[str, Any]] = {
    "POST /console/job/retry": JOB,
    "POST /console/job/abort": JOB,
    "POST /console/job/discard": JOB,
    "POST /console/jobs/change": {"action": "abort", "selected": '["default","kept"]'},
    "POST /console/jobs/all": {"action": "abort", "task": "echo", "count": "1"},
    "POST /console/dead-letters/replay": {"task": "echo"},
    "POST /console/dead-letters/discard": {"task": "echo"},
    "POST /console/task/enqueue": {"name": "echo", "key": "not-enqueued"},
    "POST /console/queues/pause": {"queue": "reports"},
    "POST /console/queues/resume": {"queue": "reports"},
    "POST /console/workers/pause": {"worker": "any"},
    "POST /console/workers/resume": {"worker": "any"},
    "POST /console/schedules/run": {"schedule": "weekly"},
    "POST /console/schedules/pause": {"schedule": "weekly"},
    "POST /console/schedules/resume": {"schedule": "weekly"},
    "POST /console/limits/set": {"limit_name": "provider", "limit": "5"},
    "POST /console/limits/reset": {"limit_name": "provider"},
    "DELETE /queue/jobs/{key:str}": JOB,
    "POST /queue/jobs/{key:str}/retry": JOB,
    "DELETE /queue/dead-letters/{key:str}": JOB,
    "POST /queue/dead-letters/{key:str}/replay": JOB,
    "POST /queue/dead-letters/replay": {"all": True},
    "POST /queue/tasks/{name:str}": {"name": "echo"},
    "POST /queue/tasks/{name:str}/batch": {"name": "echo"},
    "POST /queue/queues/{name:str}/pause": {"name": "reports"},
    "POST /queue/queues/{name:str}/resume": {"name": "reports"},
    "POST /queue/schedules/{key:str}/pause": {"key": "weekly"},
    "POST /queue/schedules/{key:str}/resume": {"key": "weekly"},
    "POST /queue/schedules/{key:str}/trigger": {"key": "weekly"},
    "PUT /queue/limits/{name:str}": {"name": "provider"},
    "POST /queue/limits/{name:str}/reset": {"name": "provider"},
    "POST /queue/workers/{worker:str}/pause": {"worker": "any"},
    "POST /queue/workers/{worker:str}/resume": {"worker": "any"},
    "POST /saq/api/queues/{queue_id:str}/jobs/{job_id:str}/retry": {"queue_id": "default", "job_id": "kept"},
    "POST /saq/api/queues/{queue_id:str}/jobs/{job_id:str}/abort": {"queue_id": "default", "job_id": "kept"},
}
"""What an operator changes, each with a target that is there, which the calls of other roles must leave alone."""

SECRETS: dict[str, dict[str, Any]] = {"GET /console/audit": {}, "GET /queue/audit": {}}
"""What only the admin sees."""

ASKS: dict[str, dict[str, Any]] = {
    "GET /console/jobs/all": {"action": "abort"},
    "GET /console/dead-letters/all": {},
}
"""The pages before a change."""

FIELDS = {**LOOKS, **CHANGES, **SECRETS, **ASKS}

LEAST = {
    **dict.fromkeys(LOOKS, "viewer"),
    **dict.fromkeys([*CHANGES, *ASKS], "operator"),
    **dict.fromkeys(SECRETS, "admin"),
}
"""The least role of each route."""

SIGN_IN = "POST /console/login"
"""The one change for everybody."""


@pytest.fixture(scope="module", autouse=True)
def kept(served: Served) -> None:
    """A job that nobody changes who may not."""
    served.enqueue("echo", key="kept", delay=3600)


@pytest.fixture(scope="module")
def clients(served: Served) -> Iterator[dict[str, httpx.Client]]:
    """A client of each role, which has read the token of its forms."""
    url = served.client.base_url
    made = {role: httpx.Client(base_url=url, auth=who, timeout=60, limits=KEPT_ALIVE, trust_env=False)
            for role, who in ROLES.items()}  # fmt: skip
    yield made
    for client in made.values():
        client.close()


def call(client: httpx.Client, route: str, fields: dict[str, Any]) -> httpx.Response:
    """Call a route, with the token of a form where it takes one."""
    method, path = route.split(" ")
    path = re.sub(r"{(\w+):str}", lambda found: str(fields[found[1]]), path)
    if method == "GET":
        return client.get(path, params=fields)
    if path.startswith("/console"):
        found = re.search(r'name="token" value="([^"]+)"', client.get("/console/queues").text)
        return client.request(method, path, data={"token": unescape(found[1]) if found else "", **fields})
    return client.request(method, path)


def routes(directory: Path) -> set[str]:
    """Each route of the application that changes something, and those that not every viewer may read."""
    config = config_of("redis://unused", "postgresql://unused/unused", directory)
    app = Litestar([], plugins=[SaqueductPlugin(config)], logging_config=None)
    handlers = [
        (route.path, each) for route in app.routes if isinstance(route, HTTPRoute) for each in route.route_handlers
    ]
    return {
        f"{method} {path}"
        for path, handler in handlers
        for method in handler.http_methods - {"OPTIONS", "HEAD"}
        if method != "GET" or handler.opt.get("role") not in (None, "viewer")
    }


def test_the_table_has_every_route(tmp_path: Path) -> None:
    assert routes(tmp_path) == LEAST.keys() | {SIGN_IN}


@pytest.mark.parametrize("role", ROLES)
def test_a_route_is_for_those_whose_role_is_enough(served: Served, clients: dict[str, httpx.Client], role: str) -> None:
    ranks = list(ROLES)
    for route, least in LEAST.items():
        enough = ranks.index(role) >= ranks.index(least)
        # Those who may do it get a target that is not there: the next route finds all as it was.
        fields = FIELDS[route] if not enough or route.startswith("GET") else dict.fromkeys(FIELDS[route], "nowhere")
        status = call(clients[role], route, fields).status_code
        refused = {"nobody": (401, 303)}.get(role, (403,))
        assert (status not in (401, 403)) if enough else (status in refused), (route, status)


def test_what_was_refused_changed_nothing(served: Served, clients: dict[str, httpx.Client]) -> None:
    for role in ("nobody", "viewer"):
        for route in CHANGES:
            call(clients[role], route, CHANGES[route])
    entries = served.client.get("/queue/audit").json()["entries"]
    assert [entry for entry in entries if entry["person"] == VIEWER[0]] == []
    assert served.client.get("/queue/jobs/kept").json()["status"] == "queued"
    assert served.client.get("/queue/jobs/not-enqueued").status_code == 404
    assert "badge paused" not in served.page("/queues")
    assert "badge paused" not in served.page("/schedules")
    assert "Changed from" not in served.page("/limits")
