"""Which part of a path is a key."""

from typing import Any

import httpx
import pytest

from saqueduct.litestar.keys import Collection, make_one_part

COLLECTIONS = {b"jobs": Collection(actions={b"retry", b"history"}, folders={b"assets"})}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/jobs/a%2Fb", "/jobs/a%2Fb"),
        (b"/jobs/a/b/retry", "/jobs/a%2Fb/retry"),
        (b"/jobs/a/b/retry/", "/jobs/a%2Fb/retry"),
        (b"/jobs/a%2Fretry", "/jobs/a%2Fretry"),
        (b"/jobs/%61", "/jobs/a"),
        (b"/jobs/a/other", "/jobs/a%2Fother"),
        (b"/other/a%2Fb", "/other/a/b"),
        (b"/jobs/a", "/jobs/a"),
        (b"/jobs", "/jobs"),
        (b"/jobs/assets/a.css", "/jobs/assets/a.css"),
        (b"/jobs/assets%2Fa.css", "/jobs/assets%2Fa.css"),
        (b"/jobs/assets/", "/jobs/assets"),
        (b"/jobs/assets/x/retry", "/jobs/assets/x/retry"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/queue", "/internal/queue"])
@pytest.mark.parametrize("root", ["", "/shop"])
def test_the_key_becomes_one_part_of_the_path(raw: bytes, path: str, prefix: str, root: str) -> None:
    sent = (root + prefix).encode() + raw
    scope: Any = {"raw_path": sent, "path": httpx.URL(f"http://h{sent.decode()}").path, "root_path": root}
    make_one_part(scope, prefix.encode(), COLLECTIONS)
    assert scope["path"] == root + prefix + path


def test_paths_beside_the_router_stay_as_they_are() -> None:
    for raw in ("/queued/jobs/a%2Fb", "/jobs/a%2Fb", "/"):
        scope: Any = {"raw_path": raw.encode(), "path": "/as/it/is"}
        make_one_part(scope, b"/queue", COLLECTIONS)
        assert scope["path"] == "/as/it/is"
