"""What a product says about itself: that it is synthetic, by which weights, from which source."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from geotrans import __version__
from geotrans.mosaicking import Job
from geotrans.mosaicking.calibration import TAG as NORM_TAG
from geotrans.mosaicking.mosaic import MosaicJob
from geotrans.mosaicking.sources import Sources
from geotrans.scene.classes import CLASSES_TAG
from geotrans.scene.remote import without_secrets

# IPTC's terms for a picture made by a trained network, and for one with such a picture in it.
_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_SYNTHETIC, _COMPOSITE = "trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"

# Sources that a mosaic names; of more it tells how many, and their digest.
_NAMED = 256

_XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
{source_type}    xmp:CreatorTool="geotrans {version}"/>
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


def xmp_packet(synthetic: float = 1.0) -> str:
    """The XMP packet that tells picture software the same.

    Args:
        synthetic: Share of what it was made from that a network painted, in [0, 1].
    """
    said = ""
    if synthetic > 0:
        kind = _SYNTHETIC if synthetic == 1 else _COMPOSITE
        said = f'    Iptc4xmpExt:DigitalSourceType="{_SOURCE_TYPES}{kind}"\n'
    return _XMP.format(source_type=said, version=__version__)


def mosaic_tags(job: MosaicJob, sources: Sources) -> dict[str, str]:
    """Tags of a mosaic's default domain: what it was made of and how.

    It is synthetic if any of its tiles says so of itself, and names the task if they share one.
    """
    items = sources.items
    names = [without_secrets(one.path) for one in items[:_NAMED]]
    tags = {
        "GEOTRANS_VERSION": __version__,
        "GEOTRANS_SOURCES": json.dumps(names, ensure_ascii=False),
        "GEOTRANS_N_SOURCES": str(len(items)),
        "GEOTRANS_SOURCES_STAT": sources.digest(),
        "GEOTRANS_PARAMS": json.dumps(job.scene.choices, separators=(",", ":")),
        "GEOTRANS_CREATED": datetime.now(UTC).isoformat(timespec="seconds"),
        "AREA_OR_POINT": job.scene.tags.get("AREA_OR_POINT", "Area"),
    }
    if sources.n_synthetic:
        tags["GEOTRANS_SYNTHETIC"] = "YES"
        tags["GEOTRANS_N_SYNTHETIC"] = str(sources.n_synthetic)
    tasks = {one.task for one in items}
    if len(tasks) == 1 and (task := tasks.pop()):
        tags["GEOTRANS_TASK"], tags["GEOTRANS_WEIGHTS_SHA256"] = task
    if any(one.name for one in job.layout.classes or ()):
        tags[CLASSES_TAG] = json.dumps([one.name for one in job.layout.classes or ()])
    return tags


def _parameters(job: Job) -> dict[str, Any]:
    """What was asked, as it was resolved: enough to make the product again, and to find its tiles.

    Edges are counted in pixels of the product.
    """
    area, scale = job.plan.area, job.layout.scale
    height, width = job.plan.window_shape
    bands = dict(zip((band.name for band in job.spec.source), job.bands, strict=True))
    inexact = {} if job.halo_error is None else {"halo_error": job.halo_error.to_dict()}
    return {
        "bands": bands,
        "window": [area.col_off, area.row_off, area.width, area.height],
        "tile": [width, height],
        "row_edges": [(row - area.row_off) * scale for row in job.plan.row_edges],
        "col_edges": [(col - area.col_off) * scale for col in job.plan.col_edges],
        "halo": job.plan.halo,
        **inexact,
        "precision": job.precision,
        "device": job.device,
        "seed": job.seed,
        "as": job.as_,
    }
