"""What tests of actions on many jobs share."""

import re
from html import unescape
from typing import Any

from tests.console.conftest import Served
from tests.fixtures.poll import eventually_sync


def status(served: Served, key: str) -> str:
    found: str = served.client.get(f"/queue/jobs/{key}").json()["status"]
    return found


def history(served: Served, key: str) -> list[dict[str, Any]]:
    answer = served.client.get(f"/queue/jobs/{key}/history")
    return [] if answer.status_code == 404 else list(answer.json())


def has_ended(served: Served, key: str, expected: str) -> bool:
    """True when the record of the last job of that key has the status."""
    return [record["status"] for record in history(served, key)][:1] == [expected]


def has_ended_twice(served: Served, key: str) -> bool:
    [record] = served.client.get(f"/queue/jobs/{key}/history").json()
    return record["status"] == "failed" and len(record["errors"]) == 2


def run(served: Served, **fields: Any) -> dict[str, Any]:
    """Change all that match, and wait until it is done; the job that did it."""
    answer = served.submit("/jobs/all", {"why": "cleaning", **fields})
    assert answer.status_code == 303, answer.text
    found = re.search(r"key=([^&]+)", answer.headers["location"])
    assert found is not None
    ended: list[dict[str, Any]] = []

    def has_ended() -> bool:
        job = served.client.get(f"/queue/jobs/{found[1]}").json()
        ended[:] = [job]
        return job["status"] not in ("new", "queued", "active")

    eventually_sync(has_ended, within=60)
    return ended[0]


def newest_entry(served: Served) -> dict[str, Any]:
    entry: dict[str, Any] = served.client.get("/queue/audit").json()["entries"][0]
    return entry


def says(served: Served, key: str, text: str) -> None:
    """Check what the page of a job says about its abort or retry, as soon as it does."""
    eventually_sync(lambda: by_hand(served, key) == text, within=60)


def by_hand(served: Served, key: str) -> str:
    """What the page of a job says about its abort or retry."""
    page = unescape(served.page("/job", key=key, queue="default"))
    titles = "Abort requested|Abort planned|Queued again|Retry planned"
    found = re.search(rf"({titles})</strong>.*?<p[^>]*>(.*?)</p>", page, re.DOTALL)
    return "" if found is None else f"{found[1]} {found[2]}"
