"""`geotrans inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import Json
from geotrans.errors import BundleError, SceneError

What = Annotated[
    str,
    typer.Argument(
        metavar="FILE|TASK",
        help="A bundle, a product, or a shipped task.",
        autocompletion=completion.tasks,
    ),
]

_TAG_PREFIX = "GEOTRANS_"

# Statistics of norms are a tag of many kB.
_MAX_CHARS = 400  # characters of a value in a table


EXAMPLES = (
    "geotrans inspect map2aerial",
    "geotrans inspect town_map2aerial.tif --json",
)


def command(what: What, as_json: Json = False) -> None:
    """Say what a bundle or a product is.

    Of a bundle: its card, with scores, data, limits and how to make it again. Of a product: which
    weights made it, from which source, with which parameters, as its tags tell.
    """
    from geotrans.tasks import shipped_bundles

    path = Path(what)
    if what in shipped_bundles() and not path.exists():
        _inspect_bundle(shipped_bundles()[what], as_json=as_json)
        return
    if not path.is_file():
        reason = "it is a folder" if path.is_dir() else "there is no such file"
        shipped = ", ".join(shipped_bundles())
        raise SceneError(
            f"cannot inspect {what}: {reason}; give a bundle, a product, or one of {shipped}"
        )
    try:
        _inspect_bundle(path, as_json=as_json)
    except BundleError as error:
        product = _read_product(path)
        if product is None:
            raise BundleError(f"{path} is neither a bundle ({error}) nor a product") from error
        _print_product(product, as_json=as_json)


def _inspect_bundle(path: Path, *, as_json: bool) -> None:
    from geotrans.tasks import Bundle, render_card

    bundle = Bundle.open(path)
    if as_json:
        facts = {"path": str(path), "sha256": bundle.sha256, "n_bytes": bundle.n_bytes}
        facts["n_parameters"] = bundle.n_parameters()
        console.emit({**facts, **bundle.spec.model_dump(mode="json")}, as_json=True)
        return
    console.emit(render_card(bundle).rstrip("\n"))


def _read_product(path: Path) -> dict[str, Any] | None:
    """What a product says about itself; None if the file is none of ours."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    try:
        with rasterio.open(path) as file:
            tags = {k: v for k, v in file.tags().items() if k.startswith(_TAG_PREFIX)}
            if f"{_TAG_PREFIX}VERSION" not in tags:
                return None
            raster = {
                "path": str(path),
                "width": file.width,
                "height": file.height,
                "bands": list(file.descriptions),
                "dtype": file.dtypes[0],
                "crs": file.crs.to_string() if file.crs else None,
                "transform": list(file.transform)[:6],
                "nodata": file.nodata,
            }
    except RasterioIOError:
        return None
    facts = {k.removeprefix(_TAG_PREFIX).lower(): _parse_tag(v) for k, v in sorted(tags.items())}
    return {**raster, **facts}


def _parse_tag(text: str) -> Any:
    """A tag as it was meant: JSON where it holds an object or a list."""
    return json.loads(text) if text[:1] in ("{", "[") else text


def _print_product(product: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.emit(product, as_json=True)
        return
    width = max(len(name) for name in product)
    for name, value in product.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        if len(text) > _MAX_CHARS:
            text = f"{text[:_MAX_CHARS]} ... (all of it with --json)"
        console.emit(f"{name:<{width}}  {text}")
