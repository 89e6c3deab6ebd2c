"""Which version of the code failed: an application of its own, whose worker no other one's helps."""

import dataclasses
import datetime as dt
from pathlib import Path

from saqueduct.postgres.models import JobRecord
from tests.console.conftest import Served, config_of, serving


def test_a_failure_says_which_version_of_the_code_ran(redis_url: str, migrated_url: str, tmp_path: Path) -> None:
    config = dataclasses.replace(config_of(redis_url, migrated_url, tmp_path), version="1.4.2")
    with serving(config) as shop:
        keys = [shop.ended("echo", fail="since the deploy") for _ in range(2)]
        errors = shop.client.get(f"/queue/jobs/{keys[-1]}/history").json()[0]["errors"]
        assert [each["version"] for each in errors] == ["1.4.2"]
        assert ", version 1.4.2" in shop.page("/job", key=keys[-1])
        assert '<span class="doc">version 1.4.2</span>' in shop.page("/dead-letters")
        shop.run(record_of_before(shop))
        assert '<span class="doc">versions 1.4.2: 2, 1.4.1: 1</span>' in shop.page("/dead-letters")


async def record_of_before(shop: Served) -> None:
    assert shop.saqueduct.store is not None
    now, error = dt.datetime.now(dt.UTC), "ValueError: since the deploy"
    async with shop.saqueduct.store.sessions.begin() as session:
        session.add(
            JobRecord(
                queued_at=now,
                key="before",
                queue="default",
                task="echo",
                status="failed",
                attempts=1,
                ended_at=now,
                error=error,
                errors=[{"attempt": 1, "error": error, "version": "1.4.1"}],
            )
        )
