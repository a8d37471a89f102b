"""Scores place by place, as geodata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from geotrans.evaluation.scores import slug
from geotrans.sampling.ground import common_crs, outline

if TYPE_CHECKING:
    from geotrans.evaluation.run import Evaluation


def places_table(found: Evaluation) -> Any:
    """One row a place and group, in the CRS all share, else in longitude and latitude.

    Returns:
        A `GeoDataFrame`: `name`, `place`, `group`, one column a score that a place has of its own,
        and each of these of other pictures as `<score>__<picture>`.
    """
    import geopandas as gpd

    places = found.places
    columns: dict[str, Any] = {
        "name": [record.name for record in places.records],
        "place": places.names,
        "group": [record.group for record in places.records],
    }
    for ending, scores in (
        ("", found.scores),
        *((f"__{slug(k)}", s) for k, s in found.beside.items()),
    ):
        columns |= {f"{s.name}{ending}": s.each for s in scores.values() if s.each is not None}
    crs = common_crs(places.geoboxes)
    shapes = [outline(geobox, crs) for geobox in places.geoboxes]
    return gpd.GeoDataFrame(columns, geometry=shapes, crs=None if crs is None else str(crs))
