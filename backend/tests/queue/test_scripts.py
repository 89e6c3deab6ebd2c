"""Scripts have of the prelude, and of the queue's keys, what they use: Redis makes all that they have at each call."""

import re
from collections import Counter
from pathlib import Path

import pytest

import saqueduct.broker
from saqueduct import EngineQueue, Queues
from saqueduct.broker.keys import KEYS
from saqueduct.broker.scripts import PARTS, source

FOLDER = Path(saqueduct.broker.__file__).parent / "lua"
INSERTED = {"prelude", *(part for parts in PARTS.values() for part in parts)}
SCRIPTS = sorted({path.stem for path in FOLDER.glob("*.lua")} - INSERTED)

DEFINED = re.compile(r"^local (?:function )?(\w+(?:, \w+)*)", re.MULTILINE)


def defined(lua: str) -> set[str]:
    """The names that a text defines for all that follows."""
    return {name for names in DEFINED.findall(lua) for name in names.split(", ")}


SHARED = defined((FOLDER / "prelude.lua").read_text())


@pytest.fixture
def queue(queues: Queues) -> EngineQueue:
    return queues.get("default")


@pytest.mark.parametrize("name", SCRIPTS)
async def test_a_script_has_the_names_and_keys_that_it_uses_and_no_others(name: str, queue: EngineQueue) -> None:
    text = source(name)
    code = re.sub("--[^\n]*", "", text)
    times = Counter(re.findall(r"(?<![\w.:])\w+", code))
    used = {each for each in SHARED | set(KEYS) if times[each] > 1}
    # A cluster looks for the node by a key, of which each script has one.
    assert defined(text) & (SHARED | set(KEYS)) == (used if used & set(KEYS) else used | {"INCOMPLETE"})
    assert len(queue.scripts.keys(name)) == len(set(re.findall(r"KEYS\[\d+\]", text))) > 0
    await queue.redis.script_load(text)


def test_the_scripts_of_every_job_have_none_of_what_only_rare_ones_use() -> None:
    for name in ("lease", "settle"):
        assert not {"withdraw", "hide", "deliver_one", "TICKS", "ALERTS"} & defined(source(name))
