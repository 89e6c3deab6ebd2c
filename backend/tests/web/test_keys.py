"""Keys of all characters in addresses."""

from urllib.parse import quote

import httpx
import pytest

from app.settings import load_settings
from saqueduct import Context, Queues, scheduled_task
from tests.cli.conftest import Record
from tests.cli.conftest import record as record_fixture
from tests.fixtures.composition import build_queues
from tests.fixtures.schedules import RARELY

record = record_fixture

KEYS = [
    "tenant/42",
    "a b",
    "100%",
    "100%25",
    "%2F",
    "ümlaut-🙂",
    "a//b",
    "/a/",
    "x?y=1#z",
    "a+b&c",
    "a/retry",
    "history",
    "a/history",
    "retry",
    "..",
    "a\\b",
    "{key}",
    "k:1@2;3,4",
]


def escaped(key: str) -> str:
    # A client resolves dots, unless they are escaped.
    return quote(key, safe="").replace(".", "%2E")


@pytest.mark.parametrize("key", KEYS)
async def test_every_route_of_a_job_takes_its_key(client: httpx.AsyncClient, queues: Queues, key: str) -> None:
    await queues.enqueue("my_task", {"user_id": 1}, key=key)
    path = f"/jobs/{escaped(key)}"
    assert (await client.get(path)).json()["job_id"] == key
    aborted = await client.delete(path)
    assert (aborted.status_code, aborted.json()["job_id"], aborted.json()["status"]) == (202, key, "aborted")
    again = await client.post(f"{path}/retry")
    assert (again.status_code, again.json()["job_id"], again.json()["status"]) == (202, key, "queued")


@pytest.mark.parametrize("key", KEYS)
async def test_every_route_of_a_record_takes_its_key(
    client: httpx.AsyncClient, queues: Queues, record: Record, key: str
) -> None:
    await record(key)
    [shown] = (await client.get(f"/jobs/{escaped(key)}/history")).json()
    assert shown["job_id"] == key
    assert (await client.get(f"/jobs/{escaped(key)}")).json()["job_id"] == key
    answer = await client.post(f"/dead-letters/{escaped(key)}/replay")
    assert answer.status_code == 201
    assert (await client.delete(f"/dead-letters/{escaped(key)}")).status_code == 409
    replays = (await client.get(f"/jobs/{escaped(key)}/history")).json()
    assert replays[-1]["replayed_as"] == answer.json()["job_id"]


@pytest.mark.parametrize("key", ["tenant/42", "a//b", "tenant/jobs/7"])
async def test_a_slash_may_come_as_it_is(client: httpx.AsyncClient, queues: Queues, key: str) -> None:
    await queues.enqueue("my_task", {"user_id": 1}, key=key)
    assert (await client.get(f"/jobs/{key}")).json()["job_id"] == key
    assert (await client.delete(f"/jobs/{key}")).json()["status"] == "aborted"
    assert (await client.post(f"/jobs/{key}/retry")).json()["job_id"] == key


@pytest.mark.parametrize("key", ["tenant/42", "ä %", "100%25"])
async def test_location_leads_to_the_job(client: httpx.AsyncClient, queues: Queues, own_tasks: None, key: str) -> None:
    @scheduled_task(every=RARELY, key=key)
    async def report(ctx: Context) -> None: ...

    path = f"/schedules/{escaped(key)}"
    assert (await client.post(f"{path}/pause")).json()["paused"]["by"] == "admin"
    assert (await client.post(f"{path}/resume")).json()["paused"] is None
    answer = await client.post(f"{path}/trigger")
    assert answer.status_code == 201
    assert (await client.get(answer.headers["location"])).json()["job_id"] == answer.json()["job_id"]


@pytest.mark.parametrize("path", ["/jobs/{}", "/jobs/{}/history", "/dead-letters/{}/replay", "/dead-letters/{}"])
async def test_saqs_full_id_means_a_key_of_its_queue(
    client: httpx.AsyncClient, record: Record, queues: Queues, path: str
) -> None:
    await record("tenant/42")
    method = "POST" if "replay" in path else "DELETE" if "dead" in path else "GET"
    found = await client.request(method, path.format(quote("saq:job:default:tenant/42", safe="")))
    assert found.status_code < 300, found.text
    assert (await client.request(method, path.format("saq:job:default:other"))).status_code == 404


@pytest.mark.usefixtures("empty_redis")
async def test_a_full_id_names_its_queue(environment: dict[str, str]) -> None:
    queues = build_queues(load_settings(environment | {"QUEUE_NAMES": "default,other"}))
    await queues.connect()
    try:
        await queues.get("default").enqueue("my_task", user_id=1, key="twin")
        await queues.get("other").enqueue("my_task", user_id=2, key="twin")
        found = await queues.find("saq:job:other:twin")
        assert (found.get_queue().name, found.kwargs) == ("other", {"user_id": 2})
        await queues.abort("saq:job:other:twin")
        assert (await queues.find("saq:job:default:twin")).status.value == "queued"
    finally:
        await queues.disconnect()
