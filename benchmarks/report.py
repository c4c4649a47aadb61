"""The report: the page `benchmarks/README.md`, plots, and the table in `docs/benchmarks.md`.

All are made from `results/*.json`; a test enforces it. Parts that have no results yet are
left out of the page, and the table waits for all of them.
"""

import importlib
import json
import re
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pygal
from pygal.style import Style

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"
MEASURED = RESULTS / "measured.json"
PAGE = FOLDER / "README.md"
PLOTS = FOLDER / "plots"
HEADLINES = FOLDER.parent / "docs" / "benchmarks.md"
BEGIN = "<!-- measured: `make bench` writes this table -->"
END = "<!-- end of the table -->"
HEAD = ("| | this project | baseline | ratio |", "|---|---|---|---|")

TITLES = {
    "cold": "Cold starts",
    "credentials": "Credentials in a cold start",
    "warm": "Warm requests",
    "network": "Over a network",
    "callers": "Tokens and limits",
    "hits": "Hits while others write",
    "ablation": "Ablation",
    "scale": "A million users",
    "load": "Load",
}
INTRODUCTION = """\
# Benchmarks

This project against `baseline/`, the same API as one plain FastAPI application: in one run, on the
same machine, interpreter, PostgreSQL and Redis, in interleaved rounds. The measured code is the
shipped code. Trust the ratios: the machine has two cores, which differ from Lambda's. `make bench`
measures everything and writes this page; `make bench ARGS=warm` measures one part.
"""


PLOTTED_BY_SIZE = (
    "search: a name that one has",
    "first page and total",
    "page 90 % deep, by skip",
    "posts of one user",
)
SERIES_OF_PLOT = {"lower_bound": "#adb5bd", "project": "#d9480f", "baseline": "#495057"}
NAMES = {"lower_bound": "lower bound", "project": "this project", "baseline": "baseline"}


def write() -> None:
    results = read_results()
    PAGE.write_text(page(results), encoding="utf-8")
    if set(results) == set(TITLES):
        text = HEADLINES.read_text(encoding="utf-8")
        HEADLINES.write_text(with_headlines(text, results), encoding="utf-8")
    PLOTS.mkdir(exist_ok=True)
    for name, svg in plots(results).items():
        (PLOTS / f"{name}.svg").write_text(svg, encoding="utf-8")


def read_results() -> dict[str, Any]:
    """By part, in the order of the page."""
    files = {part: RESULTS / f"{part}.json" for part in TITLES}
    return {
        part: json.loads(file.read_text(encoding="utf-8"))
        for part, file in files.items()
        if file.exists()
    }


def record(part: str) -> None:
    """Record that the part was measured today, and the latest commit of what was measured."""
    command = ["git", "log", "-1", "--format=%h", "--", "layers", "functions"]
    commit = subprocess.check_output(command, cwd=FOLDER.parent, text=True).strip()
    measured = read_measured() | {
        part: {"commit": commit, "day": datetime.now(UTC).date().isoformat()}
    }
    MEASURED.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


def read_measured() -> dict[str, dict[str, str]]:
    """Commit and day by part."""
    if not MEASURED.exists():
        return {}
    measured: dict[str, dict[str, str]] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return measured


def page(results: Mapping[str, Any]) -> str:
    sections, measured = [INTRODUCTION], read_measured()
    for part, figures in results.items():
        module = importlib.import_module(f"benchmarks.{part}")
        shown = "".join(
            f"![{TITLES[part]}](plots/{name}.svg)\n\n" for name in DRAWN if _part(name) == part
        )
        when = f"Commit `{measured[part]['commit']}`, {measured[part]['day']}.\n"
        sections.append(f"## {TITLES[part]}\n\n{shown}{module.markdown(figures)}\n\n{when}")
    return "\n".join(sections)


def with_headlines(text: str, results: Mapping[str, Any]) -> str:
    """The page with its table of these results, between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n".join([f"{before}{BEGIN}", *HEAD, *_headlines(results), f"{END}{after}"])


def plots(results: Mapping[str, Any]) -> dict[str, str]:
    """SVG by the name of the plot."""
    return {
        name: draw(results[_part(name)]) for name, draw in DRAWN.items() if _part(name) in results
    }


def _part(plot: str) -> str:
    """The part that the plot shows, which begins its name."""
    return plot.partition("-")[0]


def _headlines(results: Mapping[str, Any]) -> list[str]:
    return [
        *_cold_headlines(results["cold"]["requests"]),
        *_network_headlines(results["network"]),
        *_scale_headlines(results["scale"]["requests"]["1000000"]),
        *_load_headlines(results["load"]),
    ]


def _cold_headlines(requests: Mapping[str, Any]) -> list[str]:
    rows = []
    for name in ("GET /users, cached", "GET /users, not cached"):
        figures = requests[name]
        project, plain, bytecode = (
            f"{figures[system]['median_ms']:.0f}" for system in ("project", "plain", "bytecode")
        )
        ratios = f"{figures['project_to_plain']:.2f}; {figures['project_to_bytecode']:.2f}"
        what = f"cold start, `{name.partition(',')[0]}`{name.partition(',')[2]}"
        rows.append(
            f"| {what} | {project} ms | {plain} ms; with bytecode {bytecode} ms | {ratios} |"
        )
    return rows


def _network_headlines(figures: Mapping[str, Any]) -> list[str]:
    round_trip, kinds = _shown_round_trip(figures)
    return [
        f"| warm, servers {round_trip} away: {kind} | {times['project']['p50_ms']:.1f} ms"
        f" | {times['baseline']['p50_ms']:.1f} ms | {times['ratio']:.2f} |"
        for kind, times in kinds.items()
    ]


def _shown_round_trip(figures: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the time of a round trip for which headlines and plots are, and its figures."""
    shown: tuple[str, Mapping[str, Any]] = list(figures["latency"].items())[1]
    return shown


def _scale_headlines(kinds: Mapping[str, Any]) -> list[str]:
    return [
        f"| a million users: {kind} | {figures['project']['median_ms']:.1f} ms"
        f" | {figures['baseline']['median_ms']:.0f} ms | {_fraction(figures['ratio'])} |"
        for kind, figures in kinds.items()
        if "ratio" in figures
    ]


def _load_headlines(stages: Mapping[str, Any]) -> list[str]:
    stage = stages["8 workers"]
    project, baseline = (stage[system]["requests_per_second"] for system in ("project", "baseline"))
    return [
        f"| 8 workers at once, mixed requests | {project:.0f}/s | {baseline:.0f}/s"
        f" | {stage['ratio']:.2f} |"
    ]


def _fraction(ratio: float) -> str:
    return f"1/{1 / ratio:.0f}" if ratio < 0.1 else f"{ratio:.2f}"


def _warm_plot(kinds: Mapping[str, Any]) -> str:
    chart = _chart(
        pygal.HorizontalBar,
        "Warm requests: microseconds in the handler, median",
        tuple(SERIES_OF_PLOT.values()),
    )
    from_below = list(kinds)[::-1]
    chart.x_labels = from_below
    for system in SERIES_OF_PLOT:
        chart.add(NAMES[system], [kinds[kind][system]["p50_us"] for kind in from_below])
    return _svg(chart)


def _scale_plot(figures: Mapping[str, Any]) -> str:
    pairs = ("#f59f00", "#d9480f", "#a61e4d", "#5f3dc4")
    chart = _chart(
        pygal.XY,
        "Milliseconds by number of users: this project (solid), baseline (dashed)",
        tuple(color for color in pairs for _ in range(2)),
    )
    chart.logarithmic = True
    chart.xrange = (8_000, 1_200_000)
    sizes = [int(users) for users in figures["requests"]]
    chart.x_labels = sizes
    chart.y_labels = (1, 2, 5, 10, 20, 50, 100, 200, 500)
    for kind in PLOTTED_BY_SIZE:
        for system, dashes in (("project", None), ("baseline", "6, 4")):
            medians = [
                requests[kind][system]["median_ms"] for requests in figures["requests"].values()
            ]
            points = list(zip(sizes, medians, strict=True))
            style = {"width": 3, "dasharray": dashes} if dashes else {"width": 3}
            chart.add(f"{kind} ({NAMES[system]})", points, stroke_style=style)
    return _svg(chart)


def _network_plot(figures: Mapping[str, Any]) -> str:
    round_trip, kinds = _shown_round_trip(figures)
    return _bars(
        f"Milliseconds in the handler, median, at {round_trip} a round trip",
        {kind: {s: kinds[kind][s]["p50_ms"] for s in ("project", "baseline")} for kind in kinds},
    )


def _round_trips_plot(figures: Mapping[str, Any]) -> str:
    return _bars("Sequential round trips of a request", figures["round_trips"])


def _hits_plot(figures: Mapping[str, Any]) -> str:
    """By share and kind of writes: hits of this project, and those that are computed."""
    names = {
        "project": "this project",
        "oracle": "oracle",
        "whole_table": "if any write voided all",
    }
    chart = _chart(
        pygal.HorizontalBar,
        "Share of the reads that were hits, while others write",
        ("#d9480f", "#495057", "#adb5bd"),
    )
    cells = [(writes, mix) for writes, mixes in figures.items() for mix in mixes][::-1]
    chart.x_labels = [f"{writes} writes, {mix}" for writes, mix in cells]
    for cache, name in names.items():
        chart.add(name, [figures[writes][mix][cache] for writes, mix in cells])
    return _svg(chart)


def _bars(title: str, kinds: Mapping[str, Mapping[str, float]]) -> str:
    """Both systems' values, by kind of request."""
    systems = ("project", "baseline")
    colors = tuple(SERIES_OF_PLOT[system] for system in systems)
    chart = _chart(pygal.HorizontalBar, title, colors)
    from_below = list(kinds)[::-1]
    chart.x_labels = from_below
    for system in systems:
        chart.add(NAMES[system], [kinds[kind][system] for kind in from_below])
    return _svg(chart)


DRAWN: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "warm": _warm_plot,
    "network": _network_plot,
    "network-round-trips": _round_trips_plot,
    "hits": _hits_plot,
    "scale": _scale_plot,
}
"""By the name of the plot, which the name of its part begins."""


def _svg(chart: Any) -> str:
    # Without pygal's comment, which has the date.
    return re.sub("<!--.*?-->", "", chart.render(is_unicode=True))


def _chart(kind: Any, title: str, colors: tuple[str, ...]) -> Any:
    chart = kind(
        title=title,
        style=Style(
            font_family="sans-serif",
            background="white",
            plot_background="white",
            colors=colors,
            opacity=0.9,
        ),
        width=900,
        height=460,
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        js=[],
        value_formatter=lambda value: f"{value:,.4g}",
        x_value_formatter=lambda value: f"{value:,.0f}",
        disable_xml_declaration=True,
    )
    chart.uuid = kind.__name__  # instead of a random one
    return chart
