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
        bundle: What made it.
        entry: Of which scene of the archive.
        scene: That scene.
        is_sent: Whether they go to a store, where a source on this machine is not.

    Returns:
        What the collection needs to know of the item, as JSON.
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
    """The link to what a product was made from."""
    kind = {} if entry.item is None else {"kind": GEOJSON}
    path = Path(entry.uri)
    if is_url(entry.key) or not path.exists():
        return {"href": entry.key, **kind}
    href = file_url(path) if is_sent else relative_href(path, folder)
    return {"href": href, "title": path.name, **kind}


def _describe_acquisition(scene: Scene) -> Acquisition:
    """When a scene was seen: as its file says, else at some time before that was written."""
    seen = find_acquisition(scene)
    if seen == Acquisition() and Path(scene.uri).is_file():
        written = datetime.fromtimestamp(int(Path(scene.uri).stat().st_mtime), UTC)
        return Acquisition(end=written.isoformat().replace("+00:00", "Z"))
    return seen


def check_free(place: Location, task: str) -> None:
    """See that an archive that begins would replace no catalogue of another.

    Raises:
        OutputError: If it would.
    """
    for name in (COLLECTION, f"{MODELS}/{COLLECTION}", f"{MODELS}/{task}.json"):
        if place.has(name):
            raise OutputError(
                f"{place}/{name} exists and is not of this job, whose journal would be in "
                f"{place.folder}; go on where that journal is, choose another {option('out')}, or "
                f"give {option('overwrite', True)}"
            )


def write_model(place: Location, bundle: Bundle) -> None:
    """Write the item of the network, and the collection it is in."""
    documents = make_model_documents(
        [bundle], place.folder / MODELS, is_sent=place.target is not None
    )
    for name, document in documents.items():
        place.write(f"{MODELS}/{name}", document)


def write_catalogue(journal: Journal, place: Location, bundle: Bundle) -> None:
    """Write the collection of all products a journal knows, and the item of the network."""
    spec = bundle.spec
    write_model(place, bundle)
    items: list[tuple[str, dict[str, Any]]] = [
        (f"{row.name}_{spec.name}.json", json.loads(row.facts))
        for row in journal.read_rows().values()
        if row.state == "done" and row.facts
    ]
    document = make_collection(
        place.folder / COLLECTION,
        title=f"{spec.title or spec.name}, synthetic",
        description=f"Rasters translated by task {spec.name} of geotrans. They are synthetic: "
        "made by a trained network, and no evidence of anything on the ground.",
        items=sorted(items, key=lambda item: item[0]),
    )
    place.write(COLLECTION, document)
