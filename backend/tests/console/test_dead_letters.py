"""Dead letters: grouped, replayed, discarded."""

import datetime as dt
import re

from saqueduct.console.dead_groups import DeadLetter, grouped, pattern_of
from tests.console.conftest import Served
from tests.fixtures.poll import eventually_sync


def status_of(served: Served, key: str) -> str | None:
    resolution: str | None = served.client.get(f"/queue/jobs/{key}/history").json()[0]["resolution"]
    return resolution


def test_dead_letters_are_grouped_by_task_and_error(served: Served) -> None:
    for number in range(3):
        served.ended("send_email", to=f"bounce{number}@example.com")
    page = served.page("/dead-letters")
    assert "ConnectionError: … is unavailable" in page or "ConnectionError: mailbox of … is unavailable" in page
    assert re.search(r'<td class="n">3</td>', page)


def test_one_is_replayed_with_other_arguments(served: Served) -> None:
    key = served.ended("send_email", to="bounce-edit@example.com", subject="Edit me")
    page = served.page("/task", name="send_email", key=key, queue="default", replay="1")
    assert f"Replay the dead letter {key}" in page
    assert 'value="Edit me"' in page
    answer = served.submit(
        "/task/enqueue",
        {"name": "send_email", "dead_letter": key, "queue": "default", "why": "typo"},
        **{"arg.to": "fixed@example.com", "arg.subject": "Edit me", "arg.urgent": "false"},
    )
    assert answer.status_code == 303
    record = served.client.get(f"/queue/jobs/{key}/history").json()[-1]
    assert (record["resolution"], record["resolved_by"], record["resolved_why"]) == ("replayed", "ada", "typo")
    eventually_sync(lambda: "sent to fixed@example.com" in served.page("/job", key=record["replayed_as"]))


def test_a_group_is_discarded_after_its_count_was_shown(served: Served) -> None:
    key = served.ended("echo", fail="no such planet")
    query = {"task": "echo", "error": "no such planet"}
    assert "Discard 1" in served.page("/dead-letters/all", action="discard", **query)
    said = served.note("/dead-letters/discard", {**query, "why": "science", "count": "1"})
    assert said.startswith("A job does it")
    eventually_sync(lambda: status_of(served, key) == "discarded", within=60)


def test_all_that_match_are_replayed_by_a_job(served: Served) -> None:
    key = served.ended("echo", fail="replay this planet")
    query = {"q": "replay this planet"}
    assert "Replay 1" in served.page("/dead-letters/all", action="replay", **query)
    said = served.note("/dead-letters/replay", {**query, "why": "again", "rate": "100"})
    assert said.startswith("A job replays them")
    eventually_sync(lambda: status_of(served, key) == "replayed" or _replayed(served, key))


def _replayed(served: Served, key: str) -> bool:
    return any(each["resolution"] == "replayed" for each in served.client.get(f"/queue/jobs/{key}/history").json())


def test_a_filter_that_is_not_understood_changes_nothing(served: Served) -> None:
    key = served.ended("echo", fail="still here")
    assert served.submit("/dead-letters/discard", since="soon").status_code == 400
    assert status_of(served, key) is None


def test_errors_are_alike_without_their_numbers_and_names() -> None:
    assert pattern_of("ConnectionError: 550 5.2.2 mailbox of ada@example.com is full") == (
        "ConnectionError: … mailbox of … is full"
    )
    assert pattern_of(None) == "no error"


def test_a_reason_is_limited_in_bytes(served: Served) -> None:
    key = served.ended("echo", fail="reasons")
    answer = served.submit("/job/discard", key=key, queue="default", why="\N{HUNDRED POINTS SYMBOL}" * 501)
    assert answer.status_code == 400
    assert "2,004 bytes" in answer.text
    served.note("/job/discard", key=key, queue="default", why="\N{HUNDRED POINTS SYMBOL}" * 500)
    assert status_of(served, key) == "discarded"


def test_a_group_names_the_versions_of_most_of_its_jobs() -> None:
    at = dt.datetime.now(dt.UTC)
    versions = ["a", "b", "b", "c", "c", "c", "d", "d", "d", "d", None]
    [group] = grouped(DeadLetter("echo", "ValueError: no", at, each) for each in versions)
    assert group.versions == [("d", 4), ("c", 3), ("b", 2)]
