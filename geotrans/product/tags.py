"""What a product says about itself: that it is synthetic, by which weights, from which source."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from geotrans import __version__
from geotrans.mosaicking import Job
from geotrans.mosaicking.calibration import TAG as NORM_TAG

# IPTC's term for a picture made by a trained network.
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"

_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    Iptc4xmpExt:DigitalSourceType="{source_type}"
    xmp:CreatorTool="geotrans {version}"/>
 </rdf:RDF>
</x:xmpmeta>"""


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
        "GEOTRANS_PARAMS": json.dumps(_parameters(job), separators=(",", ":")),
        "GEOTRANS_CREATED": datetime.now(UTC).isoformat(timespec="seconds"),
        "AREA_OR_POINT": job.scene.tags.get("AREA_OR_POINT", "Area"),
    }
    if job.layout.classes:
        tags["GEOTRANS_CLASSES"] = json.dumps([one.name for one in job.layout.classes])
    if job.norm is not None:
        tags[NORM_TAG] = json.dumps(job.norm.to_dict(), separators=(",", ":"))
    return tags


def xmp_packet() -> str:
    """The XMP packet that tells picture software the same."""
    return _XMP.format(source_type=_SOURCE_TYPE, version=__version__)


def _parameters(job: Job) -> dict[str, Any]:
    """What was asked, as it was resolved: enough to make the product again."""
    area = job.plan.area
    height, width = job.plan.window_shape
    bands = dict(zip((band.name for band in job.spec.source), job.bands, strict=True))
    inexact = {} if job.halo_error is None else {"halo_error": job.halo_error.to_dict()}
    return {
        "bands": bands,
        "window": [area.col_off, area.row_off, area.width, area.height],
        "tile": [width, height],
        "halo": job.plan.halo,
        **inexact,
        "precision": job.precision,
        "device": job.device,
        "seed": job.seed,
        "as": job.as_,
    }
