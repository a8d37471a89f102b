"""A small town: vectors, a style and aerials on its ground."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
import yaml

ORIGIN = (400_000.0, 3_800_000.0)

STYLE = {
    "name": "town",
    "background": "yard",
    "classes": [
        {"name": "yard", "color": [30, 160, 60]},
        {"name": "road", "color": [250, 250, 250]},
    ],
    "layers": [{"class": "road", "width_m": 20.0}],
}


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """One street from west to east, 95 m south of `ORIGIN`, and one from north to south."""
    x, y = ORIGIN
    streets = [
        shapely.LineString([(x - 5000, y - 95), (x + 5000, y - 95)]),
        shapely.LineString([(x + 205, y - 5000), (x + 205, y + 5000)]),
    ]
    path = tmp_path / "streets.gpkg"
    gpd.GeoDataFrame(geometry=streets, crs="EPSG:32611").to_file(path)
    return path


@pytest.fixture
def style(tmp_path: Path) -> Path:
    """A style of two classes."""
    path = tmp_path / "town.yaml"
    path.write_text(yaml.safe_dump(STYLE))
    return path


@pytest.fixture
def town(tmp_path: Path, make_scene: Callable[..., Path], vectors: Path, style: Path) -> Path:
    """Data root: three places that train in two years, one that is held out, and the streets."""
    for split, columns in (("train", (0, 1, 2)), ("val", (3,))):
        (tmp_path / "aerial" / split).mkdir(parents=True)
        for col in columns:
            for year in (2016, 2020):
                make_scene(
                    name=f"aerial/{split}/town_{year}_{col}.tif",
                    bands=("red", "green", "blue", "nir"),
                    shape=(32, 40),
                    origin=(ORIGIN[0] + 400 * col, ORIGIN[1]),
                )
    return tmp_path
