"""`limits`: the list, changing and resetting; and `jobs show` of a job that waits for one."""

import pytest

from saqueduct import Concurrency, Context, Queues, Rate, task
from tests.cli.conftest import Cli, JsonCli
from tests.flow.hands import Hands


@pytest.fixture(autouse=True)
def limited(own_tasks: None) -> None:
    @task(limits=(Rate("stripe", 90, per=90_000, by="key"), Concurrency(2)))
    async def limited(ctx: Context, *, key: int = 0) -> None: ...


async def test_limits_are_listed_changed_and_reset(cli: Cli, cli_json: JsonCli) -> None:
    found = {each["name"]: each for each in (await cli_json("limits", "list"))["limits"]}
    own, rate = found["limited"], found["stripe"]
    assert (rate["name"], rate["kind"], rate["limit"], rate["per"], rate["by"]) == (
        "stripe",
        "rate",
        90,
        90_000.0,
        ["key"],
    )
    assert (own["limit"], own["changed"]) == (2, None)
    changed = await cli_json("limits", "set", "stripe", "--limit", "45", "--by", "ada", "--why", "slow")
    assert (changed["limit"], changed["declared"]["limit"], changed["changed"]["by"]) == (45, 90, "ada")
    shown, _ = await cli("limits", "list")
    assert "45 in 90000 s, burst 1" in shown
    assert "stripe is changed from 90 in 90000 s, burst 1 by ada since" in shown
    [entry] = (await cli_json("audit", "list", "--target", "stripe"))["entries"]
    assert (entry["action"], entry["kind"], entry["why"], entry["filter"]) == ("change", "limit", "slow", {"limit": 45})
    assert (await cli("limits", "reset", "stripe"))[0] == "reset stripe: 90 in 90000 s, burst 1\n"
    assert (await cli("limits", "reset", "stripe"))[0] == "stripe was not changed\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(("set", "strip", "--limit", "1"), "there is no limit 'strip'; did you mean 'stripe'?", id="set"),
        pytest.param(("reset", "strip"), "there is no limit 'strip'", id="reset"),
        pytest.param(("set", "stripe"), "give at least one of limit, per and burst", id="no number"),
        pytest.param(("set", "limited", "--per", "3"), "a Concurrency has only the number limit", id="no rate"),
    ],
)
async def test_what_does_not_fit_is_an_error(cli: Cli, arguments: tuple[str, ...], says: str) -> None:
    _, stderr = await cli("limits", *arguments, status=1)
    assert says in stderr


async def test_a_job_that_waits_says_why(cli: Cli, cli_json: JsonCli, queues: Queues) -> None:
    hands = Hands(queues.get("default"))
    await queues.enqueue("limited", {"key": 7})
    job = await queues.enqueue("limited", {"key": 7})
    await hands.all()
    first, second = (await cli_json("jobs", "show", job.key))["redis"]["waits_for"]
    assert (first["limit"], first["key"], first["open"]) == ("stripe", "key = 7", False)
    assert (second["limit"], second["open"]) == ("limited", True)
    shown, _ = await cli("jobs", "show", job.key)
    assert "waits for limit stripe for key = 7: 90 in 90000 s, burst 1, no job before this one" in " ".join(
        shown.split()
    )
