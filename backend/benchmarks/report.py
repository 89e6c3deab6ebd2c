"""The page of figures and its chart, made of what was measured."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from benchmarks.contenders import BACKEND, PEERS, SAQUEDUCT, STOCK
from benchmarks.http import compared

DOCS = BACKEND.parent / "docs" / "reference"
PAGE = DOCS / "benchmarks.md"
CHART = DOCS / "benchmarks.svg"

TITLE = "Jobs a second, one worker process, jobs that do nothing"

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

Rates = Mapping[str, Mapping[str, Sequence[float]]]


def write(results: Mapping[str, Any]) -> None:
    """Put the figures into the page, and draw the chart."""
    page = PAGE.read_text()
    head, tail = page[: page.index(BEGIN) + len(BEGIN)], page[page.index(END) :]
    PAGE.write_text(f"{head}\n\n{markdown(results)}\n\n{tail}")
    CHART.write_text(chart(results))


def capacity(results: Mapping[str, Any]) -> float:
    """Jobs a second of which loads are parts: a third of what stock SAQ runs, as it also enqueues and waits."""
    return _best(results["throughput"], "noop, 1 worker,", STOCK.label)[1] / 3


def markdown(results: Mapping[str, Any]) -> str:
    """All figures as tables."""
    sections = [_machines(results)]
    if "records" in results and "throughput" in results:
        sections += [_defaults(results["records"], results["throughput"]), _commits(results["commits"])]
    if "durable" in results:
        sections += _durable(results["durable"])
    if "flow" in results:
        sections += _flow(results["flow"])
    if "retention" in results:
        sections.append(_retention(results["retention"]))
    if "search" in results:
        pages = [(name, f"{took:.1f}") for name, took in results["search"]["pages"].items()]
        sections.append(_table([f"A page of `GET /jobs`, {results['search']['rows']:,} records", "ms"], pages))
    if "console" in results:
        sections.append(_console(results["console"]))
    if "throughput" in results:
        sections.append(_throughput(results["throughput"]))
    if "latency" in results:
        sections.append(_latency(results["latency"]))
    if "http" in results:
        head = ["`POST /process`, one web process, 32 connections", "litestar-saq", SAQUEDUCT.label, "ratio"]
        sections.append(_table(head, compared(results["http"])))
    for name, title in (("backlog", "jobs that wait"), ("active", "jobs that run")):
        if name in results:
            sections.append(_costs(results[name], title))
    if "idle" in results:
        sections.append(_small("Idle workers, 50 schedules", results["idle"]))
    if "job bytes" in results:
        sections.append(_table(["Memory of a queued job in Redis", "bytes"], list(results["job bytes"].items())))
    if "worker memory" in results:
        rows = [(f"{jobs:,}", f"{size} MiB") for jobs, size in results["worker memory"]]
        sections.append(_table(["Jobs that a worker has run", "its memory"], rows))
    if "peers" in results:
        sections.append(_peers(results))
    return "\n\n".join(sections)


def chart(results: Mapping[str, Any]) -> str:
    """Jobs a second, one worker process, no-op jobs, as bars."""
    bars = sorted(_processed(results).items(), key=lambda each: -each[1])
    width, left, height, top = 760, 150, 26, 46
    longest = max(rate for _, rate in bars)
    size = f'width="{width}" height="{top + height * len(bars) + 14}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="16" y="26" font-size="15" font-weight="600" fill="#1a1a1a">{TITLE}</text>',
    ]
    for index, (label, rate) in enumerate(bars):
        y, long = top + index * height, max(1.0, (width - left - 90) * rate / longest)
        colour = "#0b6e4f" if label.startswith(SAQUEDUCT.label) else "#9aa5a0"
        lines += [
            f'<text x="{left - 10}" y="{y + 15}" text-anchor="end" fill="#1a1a1a">{escape(label)}</text>',
            f'<rect x="{left}" y="{y + 3}" width="{long:.1f}" height="{height - 10}" rx="2" fill="{colour}"/>',
            f'<text x="{left + long + 8:.1f}" y="{y + 15}" fill="#1a1a1a">{rate:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def _processed(results: Mapping[str, Any]) -> dict[str, float]:
    rates = results["throughput"]
    best = {STOCK.label: _best(rates, "noop, 1 worker,", STOCK.label)[1]}
    best[f"{SAQUEDUCT.label}, no records"] = _best(rates, "noop, 1 worker,", SAQUEDUCT.label)[1]
    if "records" in results:
        best[SAQUEDUCT.label] = max(statistics.median(each["on"]) for each in results["records"].values())
    peers: Rates = results.get("peers", {}).get("process", {}) and results["peers"]
    return best | {label: statistics.median(each) for label, each in (peers or {}).get("process", {}).items()}


def _best(rates: Rates, measure: str, label: str) -> tuple[str, float]:
    """The number of slots at which a contender is fastest, and its median rate."""
    found = {name: statistics.median(each[label]) for name, each in rates.items() if measure in name and label in each}
    name = max(found, key=lambda each: found[each])
    return name, found[name]


def _machines(results: Mapping[str, Any]) -> str:
    """When and on which machine each part was measured: figures of different runs do not compare."""
    parts: dict[str, list[str]] = {}
    for part, run in results["measured"].items():
        machine = "; ".join(f"{name}: {value}" for name, value in run["machine"].items())
        parts.setdefault(f"{run['date']}. {machine}.", []).append(part)
    if len(parts) == 1:
        return f"Measured {next(iter(parts))}"
    return "\n".join(f"- {', '.join(names)}: measured {when}" for when, names in parts.items())


def _throughput(rates: Rates) -> str:
    rows = []
    for name, by_label in rates.items():
        stock = _reference(rates, name)
        for label, each in by_label.items():
            rate = statistics.median(each)
            rows.append((name, label, f"{rate:,.0f}", f"{rate / stock:.1f}"))
    rows.sort(key=lambda row: (row[0].split(",")[:2], row[1] != STOCK.label))
    return _table(["Jobs a second, job records off", "", "median", "ratio to SAQ at its best"], rows)


def _reference(rates: Rates, name: str) -> float:
    """Stock SAQ's median for the same work, at its best number of slots."""
    if not name.startswith("process"):
        return (
            _best(rates, name, STOCK.label)[1]
            if name == "enqueue many"
            else statistics.median(rates[name][STOCK.label])
        )
    return _best(rates, name.rpartition(",")[0], STOCK.label)[1]


def _latency(loads: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for load, by_label in loads.items():
        for label, each in by_label.items():
            for name, title in (("starts", "to start"), ("results", "to result")):
                rows.append(
                    (
                        load,
                        label,
                        title,
                        *(f"{value:.2f}" for value in each[name]),
                        each["missed"] if name == "results" else "",
                    )
                )
    return _table(["Milliseconds at a load of", "", "enqueue", "p50", "p95", "p99", "p99.9", "ends missed"], rows)


def _costs(figures: Mapping[str, Mapping[str, Mapping[str, float]]], title: str) -> str:
    calls = list(next(iter(figures.values()))[SAQUEDUCT.label])
    rows = [
        (size, label, *(f"{by_label[label][call]:,.0f}" for call in calls))
        for size, by_label in figures.items()
        for label in by_label
    ]
    return _table(
        [f"Microseconds a call, by {title}", "", *calls], sorted(rows, key=lambda row: row[1] != SAQUEDUCT.label)
    )


def _small(title: str, figures: Mapping[str, Mapping[str, float]]) -> str:
    names = list(next(iter(figures.values())))
    return _table([title, *names], [(label, *each.values()) for label, each in figures.items()])


def _defaults(rates: Rates, throughput: Rates) -> str:
    """With job records, as the settings have it by default; stock SAQ has none."""
    _, stock = _best(throughput, "noop, 1 worker,", STOCK.label)
    rows = []
    for slots, by_switch in rates.items():
        off, on = (statistics.median(by_switch[switch]) for switch in ("off", "on"))
        rows.append((slots, f"{on:,.0f}", f"{on / stock:.1f}", f"{off:,.0f}", f"{on / off:.0%}"))
    head = ["Jobs a second by default, 1 worker", "until all records are written", "ratio to SAQ at its best"]
    return _table([*head, "without records", "kept"], rows)


def _commits(figures: Sequence[float]) -> str:
    row = ["commit to start", *(f"{value:.2f}" for value in figures)]
    return _table(["Milliseconds, a transaction with a job", "p50", "p95", "p99", "p99.9"], [row])


def _durable(figures: Mapping[str, Any]) -> list[str]:
    rates = [(name, f"{rate:,.0f}") for name, rate in figures["rates"].items()]
    costs = [(name, f"{cost:.3g}") for name, cost in figures["costs"].items()]
    return [
        _table(["Durable jobs a second, job records on", "median"], rates),
        _table(["A durable job, from its lease to its end", "costs"], costs),
    ]


def _flow(figures: Mapping[str, Any]) -> list[str]:
    flood = figures["flood"]
    return [
        _rates(figures["rates"]),
        _table(
            ["Lease and end of 20 jobs with a limit, while others wait", "microseconds of Redis"],
            [(name, f"{used:,.0f}") for name, used in figures["parked"].items()],
        ),
        _table(
            ["One tenant's flood of 100,000 jobs, then one job of each of 999 tenants", "jobs that start before it"],
            [("median", f"{flood['median']:,.0f}"), ("longest", f"{flood['longest']:,.0f}")],
        ),
    ]


def _rates(by_redis: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Jobs a second with limits, two columns a Redis."""
    head = ["Jobs a second with limits, 1 worker, 100 slots, job records off"]
    rows: dict[str, list[str]] = {}
    for server, rates in by_redis.items():
        head += [f"Redis {server}", "of those without"]
        medians = {name: statistics.median(each) for name, each in rates.items()}
        without = next(iter(medians.values()))
        for name, rate in medians.items():
            rows.setdefault(name, [name]).extend((f"{rate:,.0f}", f"{rate / without:.0%}"))
    return _table(head, list(rows.values()))


def _retention(rotations: Sequence[Mapping[str, float]]) -> str:
    head = ["Records of the dropped day", "seconds in all", "longest write meanwhile, ms", "without the drop, ms"]
    rows = [
        (
            f"{each['rows']:,.0f}",
            f"{each['seconds']:.1f}",
            f"{each['longest'] * 1000:.0f}",
            f"{each['quiet'] * 1000:.0f}",
            f"{each['size'] / 2**20:,.0f}",
        )
        for each in rotations
    ]
    return _table([*head, "MiB of the kept ones of all days so far"], rows)


def _console(figures: Mapping[str, Any]) -> str:
    head = f"A page of the console, {figures['records']:,} records, {figures['waiting']:,} waiting jobs"
    pages = [(name, *(f"{each:.0f}" for each in took)) for name, took in figures["pages"].items()]
    return _table([head, "ms", "of these the process computes"], pages)


def _peers(results: Mapping[str, Any]) -> str:
    measured, failed = results["peers"], results.get("peers failed", {})
    rows = []
    for peer in PEERS:
        rates = {name: measured.get(name, {}).get(peer.label) for name in ("enqueue", "process")}
        rates_shown = [f"{statistics.median(rate):,.0f}" if rate else "-" for rate in rates.values()]
        rows.append(
            (peer.label, *rates_shown, peer.configuration + (f"; {failed[peer.label]}" if peer.label in failed else ""))
        )
    return _table(["Other queues, jobs a second", "enqueue", "process", "configuration"], rows)


def _table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
