"""JSON with a name twice in an object: refused wherever it is read, because one of the values would be ignored."""

import httpx
import msgspec
import pytest

from saqueduct.common.strict_json import RepeatedMember, decode
from saqueduct.console.search import search_of
from saqueduct.errors import InvalidSearch
from saqueduct.postgres.record_filter import arguments_of
from saqueduct.testing import JobKit

HEADERS = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/process", '{"user_id": 1, "user_id": 2}', "user_id"),
        ("/tasks/my_task", '{"user_id":1,"user_id":1}', "user_id"),
        ("/tasks/my_task/batch", '[{"user_id":1},{"user_id" : 2, "user_id" : 3}]', "user_id"),
        ("/dead-letters/replay", '{"which": {"task": "a", "task": "b"}}', "task"),
        ("/queues/default/pause", '{"why": "a", "why": "b"}', "why"),
        ("/emails", '{"to": "a@example.com", "subject": "x", "body": "y", "body": "z"}', "body"),
    ],
)
async def test_a_body_with_a_member_twice_is_400_and_names_it(
    client: httpx.AsyncClient, jobs: JobKit, path: str, body: str, name: str
) -> None:
    answer = await client.post(path, content=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.text
    assert answer.json()["detail"] == f"the body: the member {name!r} is given twice: give it once"
    assert answer.json()["errors"][0]["key"] == name
    jobs.refute_enqueued()


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "a": 2}',
        '{"a": 1, "\\u0061": 2}',
        # A colon that is written in another way must not hide one.
        '{"a": 1, "a": "\\u003a"}',
        '[{"a": {"b": 1, "b" : ":"}}]',
        '{"a": 1e3, "b": {"c": [], "c": []}}',
    ],
)
def test_a_member_that_is_given_twice_is_found(text: str) -> None:
    for each in (text, text.encode()):
        with pytest.raises(RepeatedMember, match="is given twice: give it once"):
            decode(each)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"a": {"a": {"a": 1}}}',
        '[{"a": 1}, {"a": 1}]',
        '{"at": "09:00:00", "url": "https://example.com"}',
        '{"at": "09\\u003a00"}',
        '{"large": 123456789012345678901234567890, "at": ":"}',
        '["a:b", 1, null]',
        '"a:b"',
    ],
)
def test_equal_names_of_several_objects_and_colons_in_text_are_none(text: str) -> None:
    decode(text)


def test_a_long_name_is_shown_in_part() -> None:
    name = "n" * 50_000
    with pytest.raises(RepeatedMember, match=r"'nnn.*'[.]{3} is given twice") as caught:
        decode(f'{{"{name}": 1, "{name}": 2}}')
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[" * 5_000 + "]" * 5_000, "nested too deep"),
        ('{"a": "\udcff"}', "surrogates not allowed"),
        (b'{"a": "\xff"}', "invalid start byte"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_kind_of_error(text: str | bytes, problem: str) -> None:
    with pytest.raises(msgspec.DecodeError, match=problem):
        decode(text)


@pytest.mark.parametrize("levels", [300, 600, 900, 5_000])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/process", '{"user_id": %s}'),
        ("/tasks/update_user_status", '{"user_id": 1, "status": %s}'),
        ("/tasks/my_task/batch", '[{"user_id": %s}]'),
        ("/dead-letters/replay", '{"which": {"arguments": {"a": %s}}}'),
        ("/dead-letters/replay", '{"which": {"task": "ping"}, "arguments": {"a": %s}}'),
    ],
)
async def test_a_deep_body_is_400(client: httpx.AsyncClient, jobs: JobKit, path: str, body: str, levels: int) -> None:
    deep = '{"a":' * levels + "null" + "}" * levels
    answer = await client.post(path, content=body % deep, headers=HEADERS)
    assert answer.status_code == 400, answer.text
    assert "not JSON" not in answer.text
    jobs.refute_enqueued()


def test_a_search_for_arguments_with_a_name_twice_is_refused() -> None:
    with pytest.raises(InvalidSearch, match="'user_id' is given twice"):
        arguments_of('{"user_id": 1, "user_id": 2}')


def test_a_search_of_the_console_with_a_name_twice_is_refused() -> None:
    assert "user_id more than once" in search_of({"q": "user_id:7 user_id:8"}).problem
