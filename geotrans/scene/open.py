"""Opening a scene from a path, a URL, an array or a scene."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from geotrans.errors import UsageError
from geotrans.scene.base import Scene
from geotrans.scene.samples import PREFIX, open_sample

if TYPE_CHECKING:
    import xarray as xr


def open_scene(source: str | os.PathLike[str] | xr.DataArray | Scene) -> Scene:
    """Open a georeferenced raster.

    Args:
        source: Path, URL or GDAL name of a raster GDAL reads; `sample:NAME`, a scene that comes
            with the package; a `DataArray` with spatial dimensions, as rioxarray and odc-stac make
            them; or a scene, which is returned as it is.

    Returns:
        The scene; nothing but its header is read.

    Raises:
        SceneError: If it is missing, damaged or no raster.

    Examples:
        >>> import geotrans
        >>> [band.name for band in geotrans.open_scene("sample:suburb").bands]
        ['red', 'green', 'blue']
    """
    if isinstance(source, Scene):
        return source
    if isinstance(source, str | os.PathLike):
        uri = os.fspath(source)
        if uri.startswith(PREFIX):
            return open_sample(uri.removeprefix(PREFIX))
        from geotrans.scene.raster import RasterScene

        return RasterScene(os.path.expanduser(uri))
    # A DataArray can only be given by someone who has imported xarray already.
    xarray = sys.modules.get("xarray")
    if xarray is not None and isinstance(source, xarray.DataArray):
        from geotrans.scene.array import ArrayScene

        return ArrayScene(source)
    raise UsageError(
        f"cannot open a {type(source).__name__} as a scene; give a path, a URL or a DataArray"
    )
