"""Tags of a mosaic: its sources and options, and whether it is synthetic."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from geotrans import __version__
from geotrans.mosaicking.job import MosaicJob
from geotrans.mosaicking.sources import Sources
from geotrans.scene.access.urls import strip_secrets
from geotrans.scene.views.classes import CLASSES_TAG

# Sources that a mosaic names; of more it tells how many, and their digest.
_MAX_NAMED = 256


def make_tags(job: MosaicJob, sources: Sources) -> dict[str, str]:
    """Tags of a mosaic's default domain: its sources and options.

    It is synthetic if any of its tiles is, and names the task if they share one.
    """
    items = sources.items
    names = [strip_secrets(item.path) for item in items[:_MAX_NAMED]]
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
    tasks = {item.task for item in items}
    if len(tasks) == 1 and (task := tasks.pop()):
        tags["GEOTRANS_TASK"], tags["GEOTRANS_WEIGHTS_SHA256"] = task
    if any(item.name for item in job.layout.classes or ()):
        tags[CLASSES_TAG] = json.dumps([item.name for item in job.layout.classes or ()])
    return tags
