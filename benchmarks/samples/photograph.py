"""A drawn photograph of a sample place: what might stand where its map says what the ground is for.

Roofs, trees, lawns and shadows are shapes with invented colours; no photograph was used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.features import rasterize
from shapely import Polygon

Rgbn = tuple[int, int, int, int]

# Red, green, blue and near infrared of the bare ground, by class of the map.
GROUND: Mapping[str, Rgbn] = {
    "verge": (112, 128, 92, 150),
    "houses": (122, 132, 98, 150),
    "apartments": (128, 128, 122, 112),
    "commercial": (134, 132, 128, 118),
    "campus": (104, 132, 84, 168),
    "park": (92, 134, 76, 182),
    "alley": (142, 138, 130, 124),
    "street": (100, 101, 104, 90),
    "arterial": (110, 110, 112, 98),
}
_ROADS = ("alley", "street", "arterial")
_DARK, _BRIGHT, _RED = (92, 82, 72, 84), (204, 202, 196, 182), (166, 112, 88, 128)
_BROWN, _GREY = (124, 108, 94, 116), (150, 149, 147, 138)
_TREE, _SHADOW = (58, 84, 52, 140), 0.42


@dataclass(frozen=True)
class Buildings:
    """How a class is built up.

    Attributes:
        spacing_m: Between the middles of neighbouring lots.
        size_m: Length and width of a building.
        height_m: Length of its shadow.
        share: Of lots that are built on.
        roofs: Their colours.
    """

    spacing_m: tuple[float, float]
    size_m: tuple[float, float]
    height_m: float
    share: float
    roofs: tuple[Rgbn, ...]


BUILDINGS: Mapping[str, Buildings] = {
    "houses": Buildings((15, 24), (11, 14), 3, 0.92, (_DARK, _RED, _BROWN, _GREY)),
    "apartments": Buildings((22, 36), (17, 28), 6, 0.9, (_GREY, _BRIGHT, _BROWN)),
    "commercial": Buildings((34, 40), (28, 30), 5, 0.85, (_BRIGHT, _GREY)),
    "campus": Buildings((52, 48), (38, 18), 5, 0.7, (_BRIGHT, _RED)),
}
# Trees a hectare.
TREES: Mapping[str, float] = {
    "verge": 45, "houses": 40, "apartments": 22, "commercial": 6, "campus": 16, "park": 70,
}  # fmt: skip


def photograph(
    classes: npt.NDArray[np.integer],
    names: tuple[str, ...],
    *,
    gsd_m: float,
    turn: float,
    seed: int,
) -> npt.NDArray[np.uint8]:
    """Draw a photograph over a map.

    Args:
        classes: Class of every pixel `(H, W)`.
        names: Names of the classes.
        gsd_m: Pixel size, m.
        turn: Angle of the streets, by which buildings are turned, radians.
        seed: Of everything that the map leaves open.

    Returns:
        Red, green, blue and near infrared, `(4, H, W)`.
    """
    rng = np.random.default_rng(seed)
    canvas = _Canvas(classes, names, gsd_m)
    ground = np.array([GROUND[name] for name in names], dtype=np.float32)
    image = ground[classes].transpose(2, 0, 1)  # (H, W, 4) -> (4, H, W)
    grass = _smooth_noise(rng, classes.shape, 24)
    is_green = (image[3] > image[0] + 25).astype(np.float32)
    # Dry grass is brighter in red, and darker in near infrared.
    image += (is_green * grass)[None] * np.array([14, 5, 8, -16], dtype=np.float32)[:, None, None]

    roofs, casts = _buildings(canvas, rng, turn)
    canvas.shade(image, casts)
    for color, shapes in roofs.items():
        canvas.paint(image, shapes, color)
    crowns, under = _trees(canvas, rng)
    canvas.shade(image, under)
    is_tree = canvas.paint(image, crowns, _TREE)

    # Light and shade within crowns, and a fine grain everywhere; few levels compress well.
    lights = _smooth_noise(rng, classes.shape, 2)
    image += is_tree * np.round(lights * 2) * np.array([12, 14, 9, 24])[:, None, None]
    grain = rng.choice([-4, 0, 0, 0, 4], size=classes.shape)
    return np.clip(image + grain, 4, 250).round().astype(np.uint8)


class _Canvas:
    """Shapes in pixels of the map."""

    def __init__(
        self, classes: npt.NDArray[np.integer], names: tuple[str, ...], gsd_m: float
    ) -> None:
        self.classes, self.names, self.gsd_m = classes, names, gsd_m

    def mask(self, shapes: list[Polygon]) -> npt.NDArray[np.bool_]:
        """Pixels inside any of the shapes."""
        if not shapes:
            return np.zeros(self.classes.shape, dtype=bool)
        burned = rasterize(shapes, out_shape=self.classes.shape, transform=Affine.identity())
        return np.asarray(burned, dtype=bool)

    def paint(
        self, image: npt.NDArray[np.float32], shapes: list[Polygon], color: Rgbn
    ) -> npt.NDArray[np.bool_]:
        """Fill shapes with a colour."""
        inside = self.mask(shapes)
        image[:, inside] = np.array(color, dtype=np.float32)[:, None]
        return inside

    def shade(self, image: npt.NDArray[np.float32], shapes: list[Polygon]) -> None:
        """Darken what lies in the shadow of something."""
        image[:, self.mask(shapes)] *= _SHADOW

    def class_at(self, x: float, y: float) -> str:
        """Name of the class at a pixel; empty outside."""
        col, row = math.floor(x), math.floor(y)
        height, width = self.classes.shape
        return self.names[self.classes[row, col]] if 0 <= row < height and 0 <= col < width else ""


def _buildings(
    canvas: _Canvas, rng: np.random.Generator, turn: float
) -> tuple[dict[Rgbn, list[Polygon]], list[Polygon]]:
    """Roofs by colour, and the shadows they cast to the north west."""
    roofs: dict[Rgbn, list[Polygon]] = {}
    casts: list[Polygon] = []
    for name, built in BUILDINGS.items():
        for x, y in _lots(canvas, built.spacing_m, turn):
            chosen, color = rng.random() < built.share, int(rng.integers(len(built.roofs)))
            scale = 0.85 + 0.3 * rng.random()
            if not chosen:
                continue
            roof = _rectangle(x, y, built.size_m, turn, scale / canvas.gsd_m)
            # A little more ground than the roof itself, so that none stands on a kerb.
            corners = shapely.get_coordinates(roof.buffer(2 / canvas.gsd_m, join_style="mitre"))
            inside = [canvas.class_at(*corner) for corner in corners]
            if all(found in (name, "") for found in inside) and name in inside:
                roofs.setdefault(built.roofs[color], []).append(roof)
                length = -built.height_m / canvas.gsd_m / math.sqrt(2)
                casts.append(
                    shapely.union(
                        roof, shapely.transform(roof, lambda p, s=length: p + s)
                    ).convex_hull
                )
    return roofs, casts


def _lots(
    canvas: _Canvas, spacing_m: tuple[float, float], turn: float
) -> list[tuple[float, float]]:
    """Points of a turned grid over the map, px."""
    height, width = canvas.classes.shape
    reach = math.hypot(height, width) * canvas.gsd_m / 2
    cos, sin = math.cos(turn), math.sin(turn)
    points = []
    for u in np.arange(-reach, reach, spacing_m[0]):
        for v in np.arange(-reach, reach, spacing_m[1]):
            x = width / 2 + (cos * u - sin * v) / canvas.gsd_m
            y = height / 2 - (sin * u + cos * v) / canvas.gsd_m
            points.append((float(x), float(y)))
    return points


def _rectangle(
    x: float, y: float, size_m: tuple[float, float], turn: float, scale: float
) -> Polygon:
    half_u, half_v = size_m[0] / 2 * scale, size_m[1] / 2 * scale
    cos, sin = math.cos(turn), math.sin(turn)
    corners = [(-half_u, -half_v), (half_u, -half_v), (half_u, half_v), (-half_u, half_v)]
    return Polygon([(x + cos * u - sin * v, y - sin * u - cos * v) for u, v in corners])


def _trees(canvas: _Canvas, rng: np.random.Generator) -> tuple[list[Polygon], list[Polygon]]:
    """Crowns, and their shadows."""
    height, width = canvas.classes.shape
    hectares = height * width * canvas.gsd_m**2 / 1e4
    most = max(TREES.values())
    crowns, casts = [], []
    for _ in range(round(most * hectares)):
        x, y, luck, size = rng.random(4)
        x, y = x * width, y * height
        if luck < TREES.get(canvas.class_at(x, y), 0) / most:
            crown = shapely.Point(x, y).buffer((1.8 + 2.6 * size) / canvas.gsd_m, quad_segs=3)
            crowns.append(crown)
            casts.append(shapely.transform(crown, lambda points: points - 2 / canvas.gsd_m))
    return crowns, casts


def _smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], cell: int
) -> npt.NDArray[np.float32]:
    """Noise in [-1, 1] that varies over `cell` px, `(H, W)`."""
    height, width = shape
    knots = rng.uniform(-1, 1, (height // cell + 2, width // cell + 2))
    rows, cols = np.arange(height) / cell, np.arange(width) / cell
    r, c = rows.astype(int), cols.astype(int)
    fr, fc = (rows - r)[:, None], (cols - c)[None]
    top = knots[r][:, c] * (1 - fc) + knots[r][:, c + 1] * fc
    bottom = knots[r + 1][:, c] * (1 - fc) + knots[r + 1][:, c + 1] * fc
    return (top * (1 - fr) + bottom * fr).astype(np.float32)
