"""Sample scenes: places that do not exist, as maps, with their vectors, and as a photograph.

`benchmarks/samples/draw.py` draws them.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from geotrans.errors import SceneError, suggest

if TYPE_CHECKING:
    from geotrans.scene.base import Scene

PREFIX = "sample:"
_TITLES = {
    "town": "The middle of a small town on a slanted grid",
    "suburb": "Houses along bending streets, a park and a school",
    "town_photo": "A photograph of the town, drawn: red, green, blue and near infrared",
}
# Samples drawn from vectors, which ship beside them.
_MAPS = ("town", "suburb")


def list_samples() -> dict[str, str]:
    """Names of the samples, each with one line on what it is.

    Examples:
        >>> import geotrans
        >>> list(geotrans.list_samples())
        ['town', 'suburb', 'town_photo']
    """
    return dict(_TITLES)


def open_sample(name: str) -> Scene:
    """Open a sample scene: a small raster of a place that does not exist.

    Args:
        name: What follows `sample:`, such as `"town"`; `list_samples` has them all.

    Raises:
        SceneError: If there is no such sample; names the nearest.

    Examples:
        >>> import geotrans
        >>> geotrans.open_sample("suburb").geobox.crs.epsg
        32611
    """
    from geotrans.scene.raster import RasterScene

    scene = RasterScene(str(sample_files(name)[0]))
    # Default outputs belong into the user's folder, and not beside the shipped file.
    scene.info = replace(scene.info, uri=f"{PREFIX}{name}")
    return scene


def sample_files(name: str) -> tuple[Path, ...]:
    """Files of a sample, where they are installed: do not write to them.

    Args:
        name: What follows `sample:`, such as `"town"`.

    Returns:
        The raster (GeoTIFF), and for a map the vectors that it was drawn from (GeoPackage).

    Raises:
        SceneError: If there is no such sample; names the nearest.

    Examples:
        >>> import geotrans
        >>> [path.name for path in geotrans.sample_files("town")]
        ['town.tif', 'town.gpkg']
    """
    if name not in _TITLES:
        raise SceneError(
            f"no sample '{name}'; there are {', '.join(_TITLES)}{suggest(name, _TITLES)}"
        )
    folder = Path(str(resources.files("geotrans.scene"))) / "data"
    return tuple(folder / f"{name}{ending}" for ending in _list_suffixes(name))


def sample_vectors(name: str) -> Path:
    """Vectors of a sample.

    Raises:
        SceneError: If there is no such sample, or it has none.
    """
    files = sample_files(name)
    if name not in _MAPS:
        raise SceneError(f"sample '{name}' has no vectors; {' and '.join(_MAPS)} have")
    return files[1]


def _list_suffixes(name: str) -> tuple[str, ...]:
    return (".tif", ".gpkg") if name in _MAPS else (".tif",)
