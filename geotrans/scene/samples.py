"""Sample scenes: small maps of places that do not exist, with the vectors they were drawn from.

`benchmarks/samples/draw.py` draws them.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from geotrans.errors import SceneError, nearest

if TYPE_CHECKING:
    from geotrans.scene.base import Scene

_TITLES = {
    "town": "The middle of a small town on a slanted grid",
    "suburb": "Houses along bending streets, a park and a school",
}


def list_samples() -> dict[str, str]:
    """Names of the samples, each with one line on what it is."""
    return dict(_TITLES)


def open_sample(name: str) -> Scene:
    """Open a sample scene: a small map of a place that does not exist.

    Args:
        name: What follows `sample:`, `"town"` or `"suburb"`.

    Raises:
        SceneError: If there is no such sample; names the nearest.

    Examples:
        >>> import geotrans
        >>> geotrans.open_sample("suburb").geobox.crs.epsg
        32611
    """
    from geotrans.scene.raster import RasterScene

    scene = RasterScene(str(sample_files(name)[0]))
    # Whatever is made of it belongs to where the user is, and not beside the shipped file.
    scene.info = replace(scene.info, uri=f"sample:{name}")
    return scene


def sample_files(name: str) -> tuple[Path, Path]:
    """Map (GeoTIFF) and vectors (GeoPackage) of a sample.

    Raises:
        SceneError: If there is no such sample.
    """
    if name not in _TITLES:
        raise SceneError(
            f"no sample '{name}'; there are {', '.join(_TITLES)}{nearest(name, _TITLES)}"
        )
    folder = Path(str(resources.files("geotrans.scene"))) / "data"
    return folder / f"{name}.tif", folder / f"{name}.gpkg"
