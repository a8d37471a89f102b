"""The STAC Item of a bundle, by the machine learning model extension."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geotrans import __version__
from geotrans.product.stac.document import (
    JSON,
    VERSION,
    checksum_fields,
    common_name_field,
    extension_url,
    file_url,
    make_link,
    relative_href,
    write_document,
)
from geotrans.scene.bands import find_common_name
from geotrans.tasks import Bundle
from geotrans.tasks.card import render_card
from geotrans.tasks.spec import BandSpec, TaskSpec

_EXTENSIONS = (("mlm", "1.5.2"), ("file", "2.1.0"), ("processing", "1.2.0"))


def make_model_item(
    bundle: Bundle, folder: Path, *, collection: Path | None = None, is_sent: bool = False
) -> dict[str, Any]:
    """The STAC Item of a bundle's network.

    Args:
        bundle: Task and weights.
        folder: Where the document will lie; links are relative to it.
        collection: The STAC Collection it belongs to.
        is_sent: Whether it goes to another machine, where the weights are not.
    """
    spec = bundle.spec
    created = _creation_time(bundle)
    bands = _band_fields(spec.source)
    extensions = [extension_url(*name_version) for name_version in _EXTENSIONS]
    if any("eo:common_name" in band for band in bands):
        extensions.append(extension_url("eo", "2.0.0"))
    weights = {
        "href": file_url(bundle.path) if is_sent else relative_href(bundle.path, folder),
        "type": "application/octet-stream; application=safetensors",
        "title": f"weights of {spec.name} {spec.version}",
        "roles": ["mlm:model", "mlm:weights"],
        "mlm:artifact_type": "safetensors.torch.save_file",
        "bands": bands,
        **checksum_fields(bundle.path),
    }
    links = []
    if collection is not None:
        href = relative_href(collection, folder)
        links = [make_link(rel, href, JSON) for rel in ("root", "parent", "collection")]
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": extensions,
        "id": spec.name,
        # Where it was trained is in the description; it may be used anywhere.
        "geometry": None,
        "properties": {
            "datetime": created,
            "created": created,
            "title": spec.title or spec.name,
            "description": render_card(bundle),
            "version": spec.version,
            "bands": bands,
            "processing:software": {"geotrans": __version__},
            **_model_fields(bundle),
        },
        "assets": {"weights": weights},
        "links": links,
        **({"collection": collection.parent.resolve().name} if collection is not None else {}),
    }


def write_models(bundles: Sequence[Bundle], folder: Path) -> list[Path]:
    """Write the items of bundles and a collection of them.

    Args:
        bundles: Tasks and weights.
        folder: Where to; made if it is not there.

    Returns:
        The documents: `collection.json`, and one of each task's name.
    """
    from geotrans.product.stac.collection import make_folder

    make_folder(folder)
    documents = make_model_documents(bundles, folder)
    return [write_document(document, folder / name) for name, document in documents.items()]


def make_model_documents(
    bundles: Sequence[Bundle], folder: Path, *, is_sent: bool = False
) -> dict[str, dict[str, Any]]:
    """The documents that `write_models` writes, by name.

    Args:
        bundles: Tasks and weights.
        folder: Where they will lie.
        is_sent: As in `make_model_item`.
    """
    from geotrans.product.stac.collection import make_collection

    collection = folder / "collection.json"
    items = [
        make_model_item(bundle, folder, collection=collection, is_sent=is_sent)
        for bundle in bundles
    ]
    document = make_collection(
        collection,
        title="Networks of geotrans",
        description="Networks that translate georeferenced rasters between visual domains.",
        items=[(f"{item['id']}.json", item) for item in items],
    )
    return {collection.name: document, **{f"{item['id']}.json": item for item in items}}


def _model_fields(bundle: Bundle) -> dict[str, Any]:
    spec = bundle.spec
    # The extension requires names that begin and end with a letter or digit.
    name = spec.name if re.fullmatch(r"[a-zA-Z].*[a-zA-Z0-9]", spec.name) else f"task {spec.name} x"
    tasks = ["generative"] if spec.palette is None else ["generative", "semantic-segmentation"]
    hyper = {"norm": spec.norm, "halo": spec.halo, "align": spec.align, **spec.generator.args}
    return {
        "mlm:name": name,
        "mlm:architecture": spec.generator.arch,
        "mlm:tasks": tasks,
        "mlm:framework": "PyTorch",
        "mlm:total_parameters": bundle.n_parameters(),
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:hyperparameters": hyper,
        "mlm:input": [_input_fields(spec)],
        "mlm:output": [_output_fields(spec, tasks)],
    }


def _input_fields(spec: TaskSpec) -> dict[str, Any]:
    """Channels of the network's input: bands on [-1, 1] or a plane a class, coordinates, noise."""
    extra = [f"{name} of each pixel" for name in spec.coordinates]
    extra += [
        f"noise at {s} px, fixed to the ground" for s in (spec.noise.scales if spec.noise else ())
    ]
    channels = (
        f"one plane for each of {spec.n_source} classes" if spec.source_classes else "the bands"
    )
    return {
        "name": "source",
        "bands": [band.name for band in spec.source],
        "description": ", then ".join(
            [f"{channels}, height and width multiples of {spec.align}", *extra]
        ),
        "input": {
            "shape": [1, spec.channels_in, -1, -1],
            "dim_order": ["batch", "bands", "height", "width"],
            "data_type": "float32",
        },
        # Normalization to [-1, 1] is the linear map of these two ends.
        "value_scaling": None
        if spec.source_classes
        else [
            {"type": "min-max", "minimum": low, "maximum": high}
            for low, high in (band.value_range for band in spec.source)
        ],
    }


def _output_fields(spec: TaskSpec, tasks: list[str]) -> dict[str, Any]:
    output: dict[str, Any] = {
        "name": "target",
        "tasks": tasks,
        "bands": [] if spec.palette else [band.name for band in spec.target],
        "description": "scores of the classes"
        if spec.palette
        else f"bands {', '.join(band.name for band in spec.target)}, -1 to 1",
        "result": {
            "shape": [1, spec.channels_out, -1, -1],
            "dim_order": ["batch", "class" if spec.palette else "bands", "height", "width"],
            "data_type": "float32",
        },
    }
    if spec.palette:
        output["classification:classes"] = [
            {
                "value": value,
                "name": re.sub(r"[^0-9A-Za-z]", "_", item.name),
                "description": item.name,
            }
            for value, item in enumerate(spec.palette)
        ]
    return output


def _band_fields(bands: Sequence[BandSpec]) -> list[dict[str, Any]]:
    return [
        {
            "name": band.name,
            "data_type": band.dtype,
            **common_name_field(band.common_name or find_common_name(band.name)),
        }
        for band in bands
    ]


def _creation_time(bundle: Bundle) -> str:
    """When the bundle was exported, else when its file was written; UTC."""
    from datetime import UTC, datetime

    text = bundle.spec.created
    moment = (
        datetime.fromisoformat(text)
        if text
        else datetime.fromtimestamp(int(bundle.path.stat().st_mtime), UTC)
    )
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")
