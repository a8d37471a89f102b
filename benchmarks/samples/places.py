"""Two places that do not exist, drawn as an OpenStreetMap editor would draw them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import shapely
from shapely import LineString, Polygon

Point = tuple[float, float]


@dataclass(frozen=True)
class Feature:
    """A street, or a piece of land.

    Attributes:
        shape: Line or polygon, metres right of and above the lower left corner of the map.
        tags: OpenStreetMap tags.
    """

    shape: LineString | Polygon
    tags: Mapping[str, str]


@dataclass
class Place:
    """A place that does not exist.

    Attributes:
        name: Word after `sample:`.
        title: One line for a list.
        size_m: `(height, width)` of its map, m.
        features: Everything in it; land runs through under the streets.
    """

    name: str
    title: str
    size_m: tuple[float, float]
    features: list[Feature] = field(default_factory=list)

    def street(self, points: Iterable[Point], highway: str, **tags: str) -> None:
        """Add a street of straight pieces."""
        self.features.append(Feature(LineString(list(points)), {"highway": highway, **tags}))

    def bend(self, points: Iterable[Point], highway: str) -> None:
        """Add a street that bends through points."""
        self.features.append(Feature(_bent(list(points)), {"highway": highway}))

    def land(self, corners: Iterable[Point], **tags: str) -> None:
        """Add a piece of land."""
        self.features.append(Feature(Polygon(list(corners)), tags))


def town() -> Place:
    """Streets with alleys on a slanted grid, two arterials and a boulevard that bends."""
    place = Place("town", "The middle of a small town on a slanted grid", (540.0, 720.0))
    for k in _COLUMNS:
        # Streets run along v, each column of blocks halved by an alley.
        highway = {-1: "secondary", 3: "tertiary"}.get(k, "residential")
        place.street([_on_grid(k, _ROWS[0]), _on_grid(k, _ROWS[-1] + 1)], highway)
        for j in _ROWS:
            for low, high, tags in _uses(k, j):
                corners = [(k, j + low), (k + 1, j + low), (k + 1, j + high), (k, j + high)]
                place.land([_on_grid(*corner) for corner in corners], **tags)
                if "landuse" in tags:
                    ends = [_on_grid(k + 0.5, j + low), _on_grid(k + 0.5, j + high)]
                    place.street(ends, "service", service="alley")
    for j in _ROWS:
        ends = [_on_grid(_COLUMNS[0], j), _on_grid(_COLUMNS[-1] + 1, j)]
        place.street(ends, "primary" if j == 0 else "residential")
    place.bend([(-60, 392), (90, 380), (220, 396), (330, 446), (430, 600)], "secondary")
    return place


def suburb() -> Place:
    """Houses along bending streets and dead ends, around a park and a school."""
    height, width = 480.0, 600.0
    place = Place("suburb", "Houses along bending streets, a park and a school", (height, width))
    place.land(shapely.box(-60, -60, width + 60, height + 60).exterior.coords, **_HOUSES)
    park = [(338, 228), (440, 208), (530, 152), (545, 250), (532, 340), (450, 340), (338, 354)]
    place.land(park, leisure="park")
    school = [(90, 262), (210, 222), (330, 228), (345, 290), (330, 356), (220, 340), (104, 335)]
    place.land(school, amenity="school")
    place.land([(-60, -60), (300, -60), (300, 80), (140, 92), (-60, 52)], landuse="retail")
    place.land([(450, -60), (700, -60), (700, 215), (450, 110)], **_APARTMENTS)
    place.bend([(-60, 52), (140, 92), (300, 80), (450, 110), (660, 205)], "secondary")
    for points in (
        [(72, 78), (62, 190), (104, 300), (90, 400), (120, 540)],
        [(90, 262), (210, 222), (330, 228), (440, 208), (530, 152)],
        [(104, 335), (220, 340), (330, 356), (450, 340), (660, 350)],
        [(330, 228), (345, 290), (330, 356), (350, 430), (340, 540)],
        [(524, 150), (545, 250), (532, 340), (560, 430), (550, 540)],
        [(215, 88), (225, 130), (212, 172)],
        [(330, 84), (345, 125), (338, 170)],
        [(220, 340), (232, 385), (222, 430)],
        [(444, 341), (455, 385), (446, 432)],
        [(-60, 185), (0, 182), (62, 190)],
        [(-60, 330), (30, 322), (104, 335)],
        [(555, 415), (600, 425), (660, 410)],
    ):
        place.bend(points, "residential")
    return place


_HOUSES = {"landuse": "residential"}
_APARTMENTS = {"landuse": "residential", "residential": "apartments"}
_SHOPS = {"landuse": "commercial"}

# Blocks of the town: columns along u of 112 m, rows along v of 160 m, turned by 43 degrees.
_COLUMNS, _ROWS = range(-6, 6), range(-4, 4)
_BLOCK_M = 112.0, 160.0
TURN = math.radians(43)
_MIDDLE = (380.0, 232.0)


def _uses(k: int, j: int) -> list[tuple[float, float, dict[str, str]]]:
    """What stands on a block of the town, by share of its depth: shops along the main street."""
    special = {(1, 1): {"amenity": "school"}, (-1, -2): {"leisure": "park"}}
    if (k, j) in special:
        return [(0.0, 1.0, special[k, j])]
    if j == 0:
        return [(0.0, 0.5, _SHOPS), (0.5, 1.0, _APARTMENTS)]
    if j == -1:
        return [(0.0, 0.5, _HOUSES if k < -2 else _APARTMENTS), (0.5, 1.0, _SHOPS)]
    if k in (-2, -1) and j > 0:
        return [(0.0, 1.0, _SHOPS if j == 1 else _APARTMENTS)]
    return [(0.0, 1.0, _HOUSES)]


def _on_grid(u: float, v: float) -> Point:
    """A point of the town's grid, m."""
    x, y = u * _BLOCK_M[0], v * _BLOCK_M[1]
    cos, sin = math.cos(TURN), math.sin(TURN)
    return _MIDDLE[0] + cos * x - sin * y, _MIDDLE[1] + sin * x + cos * y


def _bent(points: list[Point], *, pieces: int = 12) -> LineString:
    """A smooth line through points: a Catmull-Rom spline."""
    knots = np.array([points[0], *points, points[-1]])
    before, start, end, after = (
        knots[:-3, None],
        knots[1:-2, None],
        knots[2:-1, None],
        knots[3:, None],
    )
    t = (np.arange(pieces) / pieces)[None, :, None]
    curve = 0.5 * (
        2 * start
        + (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return LineString([*curve.reshape(-1, 2).tolist(), points[-1]])
