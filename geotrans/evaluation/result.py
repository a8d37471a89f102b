"""Scores of held-out places: what they are, as text, as a table, as geodata."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from geotrans.evaluation.places import Array, Places
from geotrans.evaluation.scores import MetricResult, slug
from geotrans.html import page as html
from geotrans.html.card import render_card
from geotrans.sampling.ground import find_common_crs, outline


@dataclass(frozen=True)
class Evaluation:
    """Scores of held-out places, or of the squares of one scene.

    Attributes:
        name: Task, folder of products, or array.
        title: What it does, where a bundle says so; what an array is compared with.
        scores: Scores of the products, by name.
        beside: The same scores of other pictures, by name of these and of the score; `"truth"`
            is the truth itself.
        places: Places with source and truth.
        products: `(N, K, H, W)`.
        facts: What was scored and how: weights, split, n, seed, precision.
    """

    name: str
    title: str
    scores: Mapping[str, MetricResult]
    beside: Mapping[str, Mapping[str, MetricResult]]
    places: Places
    products: Array = field(repr=False)
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        """Name, value and interval of each score, a line each."""
        return "\n".join(f"{s.title}: {s.interval}" for s in self.scores.values())

    def _repr_html_(self) -> str:
        table = html.table(self.header(), self.rows())
        note = html.text(f"In brackets: {self.facts['interval']}.")
        facts = [("scored", self.summary())]
        return render_card(self.name, self.title, facts, figure=html.Html(table + note))

    def to_dict(self) -> dict[str, Any]:
        """The scores, for JSON; what is no finite number is None."""
        return {
            "name": self.name,
            **self.facts,
            "scores": {
                name: {
                    "title": score.title,
                    "better": score.better or None,
                    **_to_plain(score),
                    "beside": {
                        other: _to_plain(scores[name])
                        for other, scores in self.beside.items()
                        if name in scores
                    },
                }
                for name, score in self.scores.items()
            },
        }

    def table(self) -> Any:
        """One row a place and group, in the CRS all share, else in longitude and latitude.

        Returns:
            A `GeoDataFrame`: `name`, `place`, `group`, one column a score that a place has of its
            own, and each of these of other pictures as `<score>__<picture>`.
        """
        import geopandas as gpd

        places = self.places
        columns: dict[str, Any] = {
            "name": [record.name for record in places.records],
            "place": places.names,
            "group": [record.group for record in places.records],
        }
        for suffix, scores in (
            ("", self.scores),
            *((f"__{slug(k)}", s) for k, s in self.beside.items()),
        ):
            columns |= {f"{s.name}{suffix}": s.each for s in scores.values() if s.each is not None}
        crs = find_common_crs(places.geoboxes)
        shapes = [outline(geobox, crs) for geobox in places.geoboxes]
        return gpd.GeoDataFrame(columns, geometry=shapes, crs=None if crs is None else str(crs))

    def summary(self) -> str:
        """How many places, and which of the equally plausible pictures."""
        facts = self.facts
        parts = [f"{facts['n_pairs']} pairs of {facts['n_places']} places"]
        if facts["seed"] is not None:
            parts += [f"seed {facts['seed']}", f"weights {facts['bundle_sha256'][:12]}"]
        return ", ".join(parts)

    def header(self) -> list[str]:
        """Names of the columns of the table of scores."""
        return [
            "score",
            self.name if self.facts["bundle_sha256"] else "products",
            *self.beside,
            "n",
        ]

    def rows(self) -> Iterator[list[str]]:
        """Lines of the table: each score with its interval, and the same of other pictures."""
        for name, score in self.scores.items():
            arrow = {"higher": " \u2191", "lower": " \u2193", "": ""}[score.better]
            others = [_format_value(scores.get(name)) for scores in self.beside.values()]
            yield [f"{score.title}{arrow}", _format_value(score), *others, str(score.interval.n)]


def _format_value(score: MetricResult | None) -> str:
    """Value, and below it the interval."""
    if score is None:
        return ""
    interval = score.interval
    if math.isnan(interval.value):
        return "none"
    return f"{interval.value:.4g}\n[{interval.low:.3g}, {interval.high:.3g}]"


def _to_plain(score: MetricResult) -> dict[str, Any]:
    interval = score.interval
    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {**{k: v if math.isfinite(v) else None for k, v in ends.items()}, "n": interval.n}
