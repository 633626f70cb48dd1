"""The metrics as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client.parser import text_string_to_metric_families as parse_text

URL = "/api/v1/metrics"

PREFIX = "teamcache_gateway_"

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(api: Any) -> Series:
    """Every sample by its name, without our prefix, and its labels."""
    response = await api.get(URL, headers={"Accept": "text/plain"})
    assert response.status == 200
    return {
        (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
        for family in parse_text(await response.text())
        for sample in family.samples
    }
