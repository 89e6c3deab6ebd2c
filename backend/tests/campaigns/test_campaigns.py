"""Campaigns: made, given recipients, sent; over HTTP and by their rules."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.campaigns.errors import CampaignNotDraft, CampaignSent, NoRecipients
from app.campaigns.models import CampaignStatus
from app.campaigns.service import CampaignService
from saqueduct.testing import Drained, JobKit
from tests.campaigns.campaigns import TEXTS, mails, started


@pytest.fixture
def service(session: AsyncSession) -> CampaignService:
    return CampaignService(session)


async def test_a_campaign_is_sent_over_http_from_draft_to_sent(
    client: httpx.AsyncClient, jobs: JobKit, tmp_path: Path
) -> None:
    made = await client.post("/campaigns", json=TEXTS)
    location = made.headers["location"]
    assert (made.status_code, made.json()["status"]) == (201, "draft")
    addresses = [f"r{number}@example.com" for number in range(25)]
    added = await client.post(f"{location}/recipients", json={"emails": [*addresses, "R1@example.com", "nobody"]})
    assert added.status_code == 200
    assert (added.json()["added"], added.json()["duplicates"]) == (25, 1)
    [invalid] = added.json()["invalid"]
    assert (invalid["index"], invalid["email"]) == (26, "nobody")
    sent = await client.post(f"{location}/send")
    assert sent.status_code == 202
    assert sent.headers["location"] == f"/jobs/{sent.json()['job_id']}"
    # The fan-out, and three chunks.
    assert await jobs.drain() == Drained(complete=4)
    view = (await client.get(location)).json()
    assert view["status"] == "sent"
    assert (view["progress"]["sent"], view["progress"]["total"], view["progress"]["done"]) == (25, 25, 1.0)
    assert view["started_at"] <= view["finished_at"]
    assert sorted(str(mail["To"]) for mail in mails(tmp_path)) == sorted(addresses)
    job = (await client.get(sent.headers["location"])).json()
    assert (job["progress"], job["result"]["chunks"]) == (1.0, 3)
    assert (await client.post(f"{location}/send")).status_code == 409


async def test_thousands_of_recipients_go_in_one_call(client: httpx.AsyncClient) -> None:
    location = (await client.post("/campaigns", json=TEXTS)).headers["location"]
    addresses = [f"r{number}@example.com" for number in range(10_000)]
    added = await client.post(f"{location}/recipients", json={"emails": addresses})
    assert added.json() == {"added": 10_000, "duplicates": 0, "invalid": []}
    assert (await client.get(location)).json()["progress"]["pending"] == 10_000
    too_many = await client.post(f"{location}/recipients", json={"emails": [*addresses, "x@example.com"]})
    assert too_many.status_code == 400


async def test_start_asks_for_recipients_and_can_be_repeated(service: CampaignService) -> None:
    campaign = await service.create(**TEXTS)
    with pytest.raises(NoRecipients):
        await service.start(campaign.id)
    await service.add_recipients(campaign.id, ["a@example.com"])
    first = (await service.start(campaign.id)).started_at
    assert (await service.start(campaign.id)).started_at == first
    with pytest.raises(CampaignNotDraft):
        await service.add_recipients(campaign.id, ["b@example.com"])
    campaign.status = CampaignStatus.SENT
    with pytest.raises(CampaignSent):
        await service.start(campaign.id)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/campaigns", {}, 400),
        ("/campaigns", TEXTS | {"subject": "a\nb"}, 400),
        ("/campaigns", TEXTS | {"name": ""}, 400),
        ("/campaigns", TEXTS | {"name": "a\nb"}, 400),
        ("/campaigns", TEXTS | {"name": "a\n"}, 400),
        ("/campaigns", TEXTS | {"subject": "a\n"}, 400),
        ("/campaigns", TEXTS | {"body": "a\0b"}, 400),
        ("/campaigns/1/recipients", {"emails": ["a"] * 10_001}, 400),
        ("/campaigns", TEXTS | {"to": "x"}, 400),
        ("/campaigns/1/recipients", {"emails": []}, 400),
        ("/campaigns/1/recipients", {"emails": ["a@example.com"]}, 404),
        ("/campaigns/1/send", None, 404),
    ],
)
async def test_bad_requests_are_refused(client: httpx.AsyncClient, path: str, body: Any, status: int) -> None:
    assert (await client.post(path, json=body)).status_code == status


async def test_an_unknown_campaign_is_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/campaigns/1")
    assert (answer.status_code, answer.json()["code"]) == (404, "campaign-not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/campaigns"),
        ("GET", "/campaigns/1"),
        ("POST", "/campaigns/1/recipients"),
        ("POST", "/campaigns/1/send"),
    ],
)
async def test_campaigns_are_the_admins(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, headers={"X-Forwarded-For": "192.0.2.1"}, json=TEXTS)
    assert answer.status_code == 401


async def test_a_campaign_that_is_being_sent_takes_no_recipients(
    client: httpx.AsyncClient, session: AsyncSession
) -> None:
    campaign_id = await started(session, 1)
    answer = await client.post(f"/campaigns/{campaign_id}/recipients", json={"emails": ["a@example.com"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "campaign-not-draft")


async def test_a_draft_without_recipients_is_not_sent(client: httpx.AsyncClient) -> None:
    location = (await client.post("/campaigns", json=TEXTS)).headers["location"]
    answer = await client.post(f"{location}/send")
    assert (answer.status_code, answer.json()["code"]) == (409, "no-recipients")


async def test_a_second_send_while_it_is_being_sent_is_the_same_job(
    client: httpx.AsyncClient, session: AsyncSession, jobs: JobKit
) -> None:
    campaign_id = await started(session, 1)
    answers = [await client.post(f"/campaigns/{campaign_id}/send") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert [job.function for job in jobs.all_enqueued()] == ["send_campaign"]
