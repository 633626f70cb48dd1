"""The rules for Prometheus and the dashboard for Grafana ask for what a gateway answers."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.metrics_pages import series
from gateway.metrics.prometheus import PREFIX
from support import ROOT
from support.optional_programs import require_program

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))
NAME = re.compile(rf"{PREFIX}_\w+")
SELECTED = re.compile(rf"({PREFIX}_\w+){{([^}}]*)}}")
BY = re.compile(r"by \(([^)]*)\)")
# Those that Prometheus itself adds, and those of a histogram.
ADDED = {"instance", "job", "le"}


def panel_queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def queries() -> Iterator[str]:
    """Every query of the alerts and of the dashboard."""
    yield from panel_queries()
    yield from (variable["query"]["query"] for variable in VARIABLES if variable["type"] == "query")
    for group in yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


VARIABLES = DASHBOARD["templating"]["list"]


def known_series() -> dict[str, set[str]]:
    """The labels of each series; a histogram is three."""
    known: dict[str, set[str]] = {}
    for name, (kind, _text, labels) in series().items():
        endings = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        known |= {f"{name}{ending}": {*labels, *ADDED} for ending in endings}
    return known


@pytest.mark.parametrize("query", list(queries()))
def test_a_query_asks_for_series_and_labels_that_there_are(query: str) -> None:
    known = known_series()
    named = NAME.findall(query)
    assert set(named) <= set(known), query
    for name, selectors in SELECTED.findall(query):
        assert {it.strip() for it in re.findall(r"(\w+)\s*=", selectors)} <= known[name], query
    labels = {label.strip() for group in BY.findall(query) for label in group.split(",")}
    assert labels <= set().union(*(known[it] for it in named)), query


def test_every_series_is_on_the_dashboard() -> None:
    shown = {name for query in panel_queries() for name in NAME.findall(query)}
    shown = {re.sub(r"_bucket$", "", name) for name in shown}
    assert shown == set(series())


def test_the_dashboards_queries_are_promql(tmp_path: Path) -> None:
    plain = [
        it.replace("$__rate_interval", "5m").replace("$instance", ".*") for it in panel_queries()
    ]
    rules = [{"record": f"panel:{n}", "expr": query} for n, query in enumerate(plain)]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert promtool("check", "rules", path) == ""


def test_the_dashboard_can_be_imported() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    names = {variable["name"] for variable in VARIABLES}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == names
    for one, other in combinations(panels, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    for panel in panels:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references))


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "w"), ("y", "h"))
    )


def test_the_rules_are_right_and_fire_when_they_should() -> None:
    assert promtool("check", "config", "prometheus.yml") == ""
    assert promtool("test", "rules", "alerts_test.yml") == ""


def test_every_alert_is_tried() -> None:
    [group] = yaml.safe_load((RULES / "alerts.yml").read_text())["groups"]
    tried = (RULES / "alerts_test.yml").read_text()
    for rule in group["rules"]:
        assert f"alertname: {rule['alert']}\n" in tried


def promtool(*arguments: Any) -> str:
    """What is wrong; nothing if all is well."""
    done = subprocess.run(
        [require_program("promtool"), *arguments],
        cwd=RULES, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr if done.returncode else ""
