"""The files for Prometheus and Grafana: what they name exists."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from saqueduct.telemetry import metrics

OPS = Path(__file__).resolve().parents[3] / "ops"
RULES = OPS / "prometheus" / "rules.yml"
METRICS = {metric.name: metric for metric in (*metrics.OF_THE_PROCESS, *metrics.OF_THE_WHOLE)}
OF_SCRAPES = {"job", "instance", "le"}
"""Labels that Prometheus adds, and that of buckets."""


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((OPS / "grafana" / "dashboard.json").read_text())
    return loaded


def _expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in rules())
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (each["query"] for each in dashboard()["templating"]["list"] if each["type"] == "query")


EXPRESSIONS = list(_expressions())


def metric_of(name: str) -> metrics.Metric | None:
    """The metric of a series; a histogram has several series."""
    base = re.sub(r"_(bucket|sum|count)$", "", name)
    found = METRICS.get(name) or METRICS.get(base)
    return found if found is not None and (found.name == name) != (found.kind == "histogram") else None


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_that_is_named_exists(expression: str) -> None:
    names = re.findall(r"saqueduct_\w+", expression)
    assert names
    assert [name for name in names if metric_of(name) is None] == []


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_label_that_is_named_belongs_to_its_metrics(expression: str) -> None:
    for name, selector in re.findall(r"(saqueduct_\w+)\{([^}]*)\}", expression):
        metric = metric_of(name)
        assert metric is not None
        assert set(re.findall(r"(\w+)\s*[=!]~?", selector)) <= set(metric.labels)
    known = {label for metric in METRICS.values() for label in metric.labels} | OF_SCRAPES
    grouped = [label for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in labels.split(", ")]
    assert set(grouped) <= known


def test_values_of_states_that_are_named_exist() -> None:
    given = [states for each in EXPRESSIONS for states in re.findall(r'state=~?"([^"]*)"', each)]
    named = {state for states in given for state in states.split("|")}
    texts = " ".join(metric.text for metric in METRICS.values())
    assert named
    assert [state for state in named if state not in texts] == []


def test_every_metric_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])
    assert [name for name in METRICS if name not in shown] == []


def test_the_panels_do_not_overlap() -> None:
    places = [tuple(panel["gridPos"][name] for name in "xy") for panel in dashboard()["panels"]]
    assert len(set(places)) == len(places)


def test_every_alert_is_described_and_has_a_test() -> None:
    page, tests = (OPS / "README.md").read_text(), (OPS / "prometheus" / "rules.test.yml").read_text()
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    assert [name for name in names if f"`{name}`" not in page or f"alertname: {name}" not in tests] == []


@pytest.mark.parametrize("command", [("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")])
def test_promtool_accepts_the_rules(command: tuple[str, ...]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool: it is in Debian's package prometheus")
    done = subprocess.run(
        [promtool, *command], cwd=RULES.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
