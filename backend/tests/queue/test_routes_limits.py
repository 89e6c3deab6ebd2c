"""Limits over HTTP: their numbers, changes, and why a job waits."""

from typing import Any

import httpx
import pytest
from msgspec import UNSET

from saqueduct import Concurrency, Context, Queues, Rate, task
from saqueduct.litestar.routes.views import JobView
from tests.flow.hands import Hands

pytestmark = pytest.mark.usefixtures("own_tasks")


@pytest.fixture(autouse=True)
def limited(own_tasks: None) -> None:
    @task(limits=(Rate("api/v1", 1, per=1000, by="key"), Concurrency(2, name="slots")), redact=("token",))
    async def limited(ctx: Context, *, key: int = 0, token: str = "") -> None: ...


async def test_limits_are_listed_changed_and_reset(client: httpx.AsyncClient) -> None:
    found = {each["name"]: each for each in (await client.get("/limits")).json()}
    rate, slots = found["api/v1"], found["slots"]
    view = {
        "name": "api/v1", "queue": "default", "kind": "rate", "tasks": ["limited"], "by": ["key"], "ordered": False,
        "limit": 1, "per": 1000.0, "burst": 1, "declared": {"limit": 1, "per": 1000.0, "burst": 1}, "changed": None,
    }  # fmt: skip
    assert rate == view
    assert (slots["limit"], slots["per"], slots["burst"]) == (2, None, None)
    answer = await client.put("/limits/api%2Fv1", json={"limit": 5, "why": "a bigger plan"})
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["limit"], changed["declared"]["limit"]) == (5, 1)
    assert (changed["changed"]["by"], changed["changed"]["why"]) == ("admin", "a bigger plan")
    assert (await client.get("/limits/api%2Fv1")).json() == changed
    for _ in range(2):
        reset = await client.post("/limits/api%2Fv1/reset")
        assert (reset.status_code, reset.json()) == (200, view)
    entries = (await client.get("/audit", params={"kind": "limit"})).json()["entries"]
    assert [(each["action"], each["targets"]) for each in entries] == [("reset", ["api/v1"]), ("change", ["api/v1"])]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param({}, "give at least one", id="nothing"),
        pytest.param({"limit": 0}, "at least 1", id="zero"),
        pytest.param({"burst": 2}, "only the number limit", id="no rate"),
        pytest.param({"limits": 2}, "limits", id="unknown field"),
        pytest.param({"limit": "two"}, "limit", id="text"),
    ],
)
async def test_a_change_that_does_not_fit_is_400(client: httpx.AsyncClient, body: dict[str, Any], says: str) -> None:
    answer = await client.put("/limits/slots", json=body)
    assert answer.status_code == 400
    assert says in answer.text


async def test_an_unknown_limit_is_404_with_those_there_are(client: httpx.AsyncClient) -> None:
    for answer in (
        await client.get("/limits/slot"),
        await client.put("/limits/slot", json={"limit": 1}),
        await client.post("/limits/slot/reset"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown-limit")
        assert {"api/v1", "slots"} <= set(answer.json()["known"])


async def test_a_job_that_waits_says_why_to_people_with_a_role(client: httpx.AsyncClient, queues: Queues) -> None:
    hands = Hands(queues.get("default"))
    await queues.enqueue("limited", {"key": 7})
    job = await queues.enqueue("limited", {"key": 7})
    await hands.all()
    first, second = (await client.get(f"/jobs/{job.key}")).json()["waits_for"]
    assert (first["limit"], first["key"], first["open"], first["ahead"]) == ("api/v1", "key = 7", False, 0)
    assert (second["limit"], second["open"]) == ("slots", True)
    view = JobView.of(job)
    assert view.without_details().waits_for is view.without_outcome().waits_for is UNSET
