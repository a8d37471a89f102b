"""The archive as a static STAC catalogue: an item beside each product, one collection over them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from geotrans.archive.inputs import Entry
from geotrans.archive.journal import Journal
from geotrans.archive.location import COLLECTION, MODELS, Location
from geotrans.errors import OutputError, option
from geotrans.product.preview import Picture, render_picture
from geotrans.product.stac.collection import make_collection
from geotrans.product.stac.document import GEOJSON, file_url, relative_href, write_document
from geotrans.product.stac.item import Acquisition, find_acquisition, make_product_item
from geotrans.product.stac.model import make_model_documents
from geotrans.runtime.gdal import quiet_gdal
from geotrans.scene import Scene
from geotrans.scene.access.urls import is_url
from geotrans.scene.raster import RasterScene
from geotrans.tasks import Bundle

# Longer edge of a thumbnail, px.
_THUMBNAIL_PX = 512


def describe_product(
    path: Path, bundle: Bundle, entry: Entry, scene: Scene, *, is_sent: bool = False
) -> str:
    """Write thumbnail and STAC Item of a product beside it.

    Args:
        path: The product.
        bundle: The task and its weights.
        entry: The scene in the archive.
        scene: The same scene, open.
        is_sent: Whether they are uploaded, away from a source on this machine.

    Returns:
        Bbox and times of the item for the collection, as JSON.
    """
    thumbnail = path.with_suffix(".png")
    with quiet_gdal(), RasterScene(str(path)) as product:
        Picture(render_picture(product, max_px=_THUMBNAIL_PX)).save(thumbnail)
    item = make_product_item(
        path,
        bundle.spec,
        acquisition=_describe_acquisition(scene),
        source=_make_source_link(entry, path.parent, is_sent=is_sent),
        thumbnail=thumbnail,
        model=path.parent / MODELS / f"{bundle.spec.name}.json",
        collection=path.parent / COLLECTION,
    )
    write_document(item, path.with_suffix(".json"))
    names = ("datetime", "start_datetime", "end_datetime")
    times = {name: v for name, v in item["properties"].items() if name in names}
    return json.dumps({"bbox": item.get("bbox"), "properties": times})


def _make_source_link(entry: Entry, folder: Path, *, is_sent: bool) -> dict[str, Any]:
    """Fields of the link to the source of a product."""
    kind = {} if entry.item is None else {"kind": GEOJSON}
    path = Path(entry.uri)
    if is_url(entry.key) or not path.exists():
        return {"href": entry.key, **kind}
    href = file_url(path) if is_sent else relative_href(path, folder)
    return {"href": href, "title": path.name, **kind}


def _describe_acquisition(scene: Scene) -> Acquisition:
    """Acquisition time of a scene: by its tags, else some time before its file was written."""
    acquisition = find_acquisition(scene)
    if acquisition == Acquisition() and Path(scene.uri).is_file():
        modified = datetime.fromtimestamp(int(Path(scene.uri).stat().st_mtime), UTC)
        return Acquisition(end=modified.isoformat().replace("+00:00", "Z"))
    return acquisition


def check_free(location: Location, task: str) -> None:
    """Check that a new archive would not replace the catalogue of another.

    Raises:
        OutputError: If it would.
    """
    for name in (COLLECTION, f"{MODELS}/{COLLECTION}", f"{MODELS}/{task}.json"):
        if location.has(name):
            raise OutputError(
                f"{location}/{name} exists and is not of this job, whose journal would be in "
                f"{location.folder}; go on where that journal is, choose another {option('out')}, "
                f"or give {option('overwrite', True)}"
            )


def write_model(location: Location, bundle: Bundle) -> None:
    """Write the item of the network, and the collection it is in."""
    documents = make_model_documents(
        [bundle], location.folder / MODELS, is_sent=location.target is not None
    )
    for name, document in documents.items():
        location.write(f"{MODELS}/{name}", document)


def write_catalogue(journal: Journal, location: Location, bundle: Bundle) -> None:
    """Write the collection of all products in a journal, and the item of the network."""
    spec = bundle.spec
    write_model(location, bundle)
    items: list[tuple[str, dict[str, Any]]] = [
        (f"{row.name}_{spec.name}.json", json.loads(row.facts))
        for row in journal.read_rows().values()
        if row.state == "done" and row.facts
    ]
    document = make_collection(
        location.folder / COLLECTION,
        title=f"{spec.title or spec.name}, synthetic",
        description=f"Rasters translated by task {spec.name} of geotrans. They are synthetic: "
        "made by a trained network, and no evidence of anything on the ground.",
        items=sorted(items, key=lambda item: item[0]),
    )
    location.write(COLLECTION, document)
