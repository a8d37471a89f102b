"""Provenance tags of a product: that it is synthetic, by which weights, from which source."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from geotrans import __version__
from geotrans.translation import Job
from geotrans.translation.norm_statistics import TAG as NORM_TAG


def product_tags(job: Job) -> dict[str, str]:
    """Tags of a product's default domain.

    Args:
        job: What was translated.

    Returns:
        `GEOTRANS_*` as the README lists them, and GDAL's `AREA_OR_POINT`. Nothing else is taken
        over from the source: its statistics and descriptions are not the product's.
    """
    identity = job.scene.identity
    tags = {
        "GEOTRANS_SYNTHETIC": "YES",
        "GEOTRANS_VERSION": __version__,
        "GEOTRANS_TASK": job.spec.name,
        "GEOTRANS_WEIGHTS_SHA256": job.bundle.sha256,
        "GEOTRANS_SOURCE": job.scene.public_uri,
        # "sha256" says so by its name; any other kind of identity says what it is.
        f"GEOTRANS_SOURCE_{identity.kind.upper().replace('-', '_')}": identity.value,
        "GEOTRANS_PARAMS": json.dumps(_resolved_parameters(job), separators=(",", ":")),
        "GEOTRANS_CREATED": datetime.now(UTC).isoformat(timespec="seconds"),
        "AREA_OR_POINT": job.scene.tags.get("AREA_OR_POINT", "Area"),
    }
    if job.layout.classes:
        tags["GEOTRANS_CLASSES"] = json.dumps([item.name for item in job.layout.classes])
    if job.norm is not None:
        tags[NORM_TAG] = json.dumps(job.norm.to_dict(), separators=(",", ":"))
    return tags


def _resolved_parameters(job: Job) -> dict[str, Any]:
    """The resolved options: enough to make the product again, and to find its tiles.

    Edges are counted in pixels of the product.
    """
    area, scale = job.plan.area, job.layout.scale
    height, width = job.plan.window_shape
    bands = dict(zip((band.name for band in job.spec.source), job.bands, strict=True))
    optional: dict[str, Any] = {}
    if job.halo_error is not None:
        optional["halo_error"] = job.halo_error.to_dict()
    if job.nodata is not None:
        optional["nodata"] = job.nodata
    return {
        "bands": bands,
        "window": [area.col_off, area.row_off, area.width, area.height],
        "tile": [width, height],
        "row_edges": [(row - area.row_off) * scale for row in job.plan.row_edges],
        "col_edges": [(col - area.col_off) * scale for col in job.plan.col_edges],
        "halo": job.plan.halo,
        **optional,
        "precision": job.precision,
        "device": job.device,
        "seed": job.seed,
        "as": job.as_,
    }
