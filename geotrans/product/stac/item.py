"""The STAC Item of a product: its footprint, acquisition of its source, how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from shapely import MultiPolygon, Polygon, box
from shapely.affinity import translate
from shapely.geometry import mapping
from shapely.geometry.polygon import orient

from geotrans.grid import gsd_m
from geotrans.product.stac.document import (
    COG,
    GEOJSON,
    JSON,
    VERSION,
    checksum_fields,
    common_name_field,
    extension_url,
    make_link,
    relative_href,
)
from geotrans.scene import Scene
from geotrans.scene.bands import find_common_name
from geotrans.scene.raster import RasterScene
from geotrans.tasks.spec import TaskSpec

# No photograph from above is older.
_FIRST_PHOTOGRAPH = "1858-01-01T00:00:00Z"

# Points on each edge of a footprint: it bends by far less than a pixel between so many.
_EDGE_POINTS = 16

_EXTENSIONS = (
    ("projection", "2.0.0"),
    ("raster", "2.0.0"),
    ("processing", "1.2.0"),
    ("file", "2.1.0"),
)


@dataclass(frozen=True)
class Acquisition:
    """When a source was acquired, as ISO 8601, UTC.

    Attributes:
        at: The moment; None if it is not known.
        start: Not before this.
        end: Not after this.
    """

    at: str | None = None
    start: str | None = None
    end: str | None = None

    def to_properties(self, created: str) -> dict[str, Any]:
        """Times as properties; unknown ones span from the first photograph to the product."""
        if self.at is not None:
            interval = {"start_datetime": self.start, "end_datetime": self.end}
            return {"datetime": self.at, **(interval if self.start and self.end else {})}
        return {
            "datetime": None,
            "start_datetime": self.start or _FIRST_PHOTOGRAPH,
            "end_datetime": self.end or created,
        }


def make_product_item(
    path: Path,
    spec: TaskSpec,
    *,
    acquisition: Acquisition,
    source: Mapping[str, Any],
    thumbnail: Path | None = None,
    model: Path | None = None,
    collection: Path | None = None,
) -> dict[str, Any]:
    """The STAC Item of a product.

    Args:
        path: The product.
        spec: The task that made it.
        acquisition: When its source was acquired.
        source: Fields of the link to the source, `href` among them.
        thumbnail: A small picture of it.
        model: The STAC Item of its weights.
        collection: The STAC Collection it belongs to.

    Returns:
        The document, with links relative to the folder of the product.
    """
    with RasterScene(str(path)) as product:
        tags = product.tags
        created = tags["GEOTRANS_CREATED"].replace("+00:00", "Z")
        bands = _band_fields(product, spec)
        geometry, bbox = footprint(product.geobox)
        properties = {
            **acquisition.to_properties(created),
            "title": f"{path.stem}: {spec.title or spec.name}, synthetic",
            "created": created,
            **_projection_fields(product),
            **_processing_fields(tags),
        }
    extensions = [extension_url(*name_version) for name_version in _EXTENSIONS]
    data = {
        "href": relative_href(path, path.parent), "type": COG, "roles": ["data"],
        "title": f"{spec.title or spec.name} (synthetic)", "bands": bands,
        "raster:sampling": tags.get("AREA_OR_POINT", "Area").lower(), **checksum_fields(path),
    }  # fmt: skip
    if any("eo:common_name" in band for band in bands):
        extensions.append(extension_url("eo", "2.0.0"))
    if classes := _class_fields(tags, spec):
        data["classification:classes"] = classes
        extensions.append(extension_url("classification", "1.1.0"))
    assets = {"data": data}
    if thumbnail is not None:
        assets["thumbnail"] = {
            "href": relative_href(thumbnail, path.parent),
            "type": "image/png",
            "roles": ["thumbnail"],
        }
    links = [make_link("derived_from", **{"kind": COG, **source})]
    if model is not None:
        model_link = make_link("derived_from", relative_href(model, path.parent), GEOJSON)
        links.append({**model_link, "title": f"model {spec.name}", "mlm:name": spec.name})
    if collection is not None:
        href = relative_href(collection, path.parent)
        links += [make_link(rel, href, JSON) for rel in ("root", "parent", "collection")]
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": extensions,
        "id": path.stem,
        "geometry": geometry,
        **({"bbox": bbox} if bbox else {}),
        "properties": properties,
        "assets": assets,
        "links": links,
        **({"collection": collection.parent.resolve().name} if collection is not None else {}),
    }


def footprint(geobox: GeoBox) -> tuple[dict[str, Any] | None, list[float] | None]:
    """Outline of a grid, lon-lat, edges densified: GeoJSON geometry and bbox; None without a CRS.

    A grid across the date line becomes two parts, and its bbox begins east of where it ends.
    """
    if geobox.crs is None:
        return None, None
    lon, lat = _trace_edges(geobox)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None, None
    south, north = float(lat.min()), float(lat.max())
    if abs(lon[-1] - lon[0]) > 180:  # The edges run around a pole.
        low, high = (south, 90.0) if lat.mean() > 0 else (-90.0, north)
        bbox = [-180.0, low, 180.0, high]
        return mapping(box(*bbox)), bbox
    ring = Polygon(np.stack([lon, lat], axis=-1))
    parts = [
        orient(translate(ring & box(turn - 180, -90, turn + 180, 90), -turn))
        for turn in (-360, 0, 360)
        if (ring & box(turn - 180, -90, turn + 180, 90)).area
    ]
    west, east = min(p.bounds[0] for p in parts), max(p.bounds[2] for p in parts)
    if len(parts) > 1 and lon.max() - lon.min() < 359:
        west = min(p.bounds[0] for p in parts if p.bounds[2] == east)
        east = max(p.bounds[2] for p in parts if p.bounds[0] == -180.0)
    shape = parts[0] if len(parts) == 1 else MultiPolygon(parts)
    return mapping(shape), [west, south, east, north]


def _trace_edges(geobox: GeoBox) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Longitude and latitude along the edges of a grid and back; longitudes do not jump."""
    assert geobox.crs is not None
    height, width = geobox.shape
    t = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)
    zeros = np.zeros_like(t)
    cols = np.concatenate([zeros, t, zeros + 1, 1 - t, [0]]) * width  # Down, right, up, left.
    rows = np.concatenate([t, zeros + 1, 1 - t, zeros, [0]]) * height
    points = np.array([geobox.affine @ (col, row) for col, row in zip(cols, rows, strict=True)])
    to_lon_lat = Transformer.from_crs(geobox.crs.proj, "EPSG:4326", always_xy=True)
    lon, lat = to_lon_lat.transform(points[:, 0], points[:, 1])
    # A centimetre; no coordinates are more accurate.
    return np.round(np.unwrap(lon, period=360), 7), np.round(lat, 7)


def _projection_fields(product: Scene) -> dict[str, Any]:
    """Grid by the projection extension."""
    height, width = product.shape
    geobox, size = product.geobox, gsd_m(product.geobox)
    fields: dict[str, Any] = {
        "proj:shape": [height, width],
        "proj:transform": [*tuple(geobox.affine)[:6], 0, 0, 1],
        "proj:bbox": list(geobox.extent.boundingbox.bbox),
    }
    code = None if geobox.crs is None else geobox.crs.epsg
    fields["proj:code"] = None if code is None else f"EPSG:{code}"
    if code is None and geobox.crs is not None:
        fields["proj:wkt2"] = geobox.crs.to_wkt()
    if size is not None:
        fields["gsd"] = round(size, 6)
    return fields


def _processing_fields(tags: Mapping[str, str]) -> dict[str, Any]:
    """How the product was made, by the processing extension."""
    version, task = tags["GEOTRANS_VERSION"], tags["GEOTRANS_TASK"]
    sha256, source = tags["GEOTRANS_WEIGHTS_SHA256"], tags["GEOTRANS_SOURCE"]
    identity = {
        name.removeprefix("GEOTRANS_SOURCE_").lower(): value
        for name, value in tags.items()
        if name.startswith("GEOTRANS_SOURCE_")
    }
    return {
        "processing:lineage": (
            f"Synthetic: translated from {source} by geotrans {version} with the network of task "
            f"{task}. It is no evidence of anything on the ground."
        ),
        "processing:datetime": tags["GEOTRANS_CREATED"].replace("+00:00", "Z"),
        "processing:software": {"geotrans": version},
        "processing:expression": {
            "format": "geotrans",
            "expression": {
                "task": task,
                "weights_sha256": sha256,
                "source": {"href": source, **identity},
                **json.loads(tags["GEOTRANS_PARAMS"]),
            },
        },
    }


def _band_fields(product: Scene, spec: TaskSpec) -> list[dict[str, Any]]:
    common_names = {
        band.name: band.common_name or find_common_name(band.name) for band in spec.target
    }
    documents = []
    for band, statistics in zip(product.bands, _compute_statistics(product), strict=True):
        fields: dict[str, Any] = {
            "name": band.name or str(band.index),
            "data_type": str(band.dtype),
            **common_name_field(common_names.get(band.name or "")),
            "statistics": statistics,
        }
        if product.nodata is not None:
            fields["nodata"] = product.nodata if np.isfinite(product.nodata) else "nan"
        if band.units:
            fields["unit"] = band.units
        if (band.scale, band.offset) != (1.0, 0.0):
            fields |= {"raster:scale": band.scale, "raster:offset": band.offset}
        documents.append(fields)
    return documents


def _compute_statistics(product: Scene) -> list[dict[str, float]]:
    """Exact statistics of the valid pixels of each band, read block by block."""
    from geotrans.output import iter_windows

    count, n_px = 0, 0
    lows, highs = [], []
    sums = np.zeros((2, len(product.bands)))
    for window in iter_windows(*product.shape):
        patch = product.read(window)
        values = patch.data[:, patch.valid].astype(np.float64)
        n_px += patch.valid.size
        count += values.shape[1]
        if values.size:
            lows.append(values.min(axis=1))
            highs.append(values.max(axis=1))
            sums += values.sum(axis=1), np.square(values).sum(axis=1)
    if not count:
        return [{"valid_percent": 0.0} for _ in product.bands]
    mean = sums[0] / count
    deviation = np.sqrt(np.maximum(sums[1] / count - mean**2, 0.0))
    return [
        {
            "minimum": float(low), "maximum": float(high), "mean": round(float(m), 6),
            "stddev": round(float(s), 6), "count": count,
            "valid_percent": round(100 * count / n_px, 4),
        }
        for low, high, m, s in zip(
            np.min(lows, axis=0), np.max(highs, axis=0), mean, deviation, strict=True
        )
    ]  # fmt: skip


def _class_fields(tags: Mapping[str, str], spec: TaskSpec) -> list[dict[str, Any]]:
    """Legend of a product of classes, by the classification extension."""
    if "GEOTRANS_CLASSES" not in tags or spec.palette is None:
        return []
    return [
        {
            "value": value,
            "name": "".join(c if c.isascii() and c.isalnum() else "_" for c in item.name),
            "description": item.name,
            "color_hint": "{:02x}{:02x}{:02x}".format(*item.color),
        }
        for value, item in enumerate(spec.palette)
    ]


def find_acquisition(scene: Scene) -> Acquisition:
    """Acquisition time by the tags of a file; most have none."""
    tags = {name.upper(): _parse_time(value) for name, value in scene.tags.items()}
    times = (tags.get(name) for name in ("ACQUISITIONDATETIME", "ACQUISITION_DATETIME"))
    at = next((time for time in times if time), None)
    return Acquisition(at, tags.get("START_DATETIME"), tags.get("END_DATETIME"))


def _parse_time(text: str | None) -> str | None:
    """A moment as STAC writes it; None if the text is none. Without a zone it is UTC."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")
