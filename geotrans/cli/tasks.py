"""`geotrans tasks`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import console
from geotrans.cli.options import Json

EXAMPLES = (
    "geotrans tasks",
    "geotrans tasks --json",
    "geotrans tasks --stac networks",
)


def command(
    stac: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write a STAC Item of each network to, and a collection of them.",
            metavar="DIR",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tasks whose weights ship with geotrans.

    Each with the bands it reads and writes, the pixel size it has seen, its held-out scores and the
    licence of its weights. 'geotrans inspect NAME' tells the rest.
    """
    from geotrans.tasks import Bundle, shipped_bundles
    from geotrans.tasks.spec import describe_bands

    bundles = [Bundle.open(path) for path in shipped_bundles().values()]
    if stac is not None:
        from geotrans.product.stac.model import write_models

        paths = [str(path) for path in write_models(bundles, stac)]
        console.emit(paths if as_json else "\n".join(paths), as_json=as_json)
        return
    if as_json:
        console.emit(
            [{"path": str(b.path), **b.spec.model_dump(mode="json")} for b in bundles],
            as_json=True,
        )
        return
    for bundle in bundles:
        spec = bundle.spec
        console.emit(f"{spec.name}  {spec.title}")
        rows = {
            "reads": spec.describe_source() + (", and noise" if spec.noise else ""),
            "writes": describe_bands(spec.target)
            + (f"; or {len(spec.palette)} classes" if spec.palette else ""),
            "pixel": spec.describe_gsd(),
            "place": spec.place,
            "licence": spec.licence,
            "file": f"{bundle.n_bytes / 1e6:.1f} MB",
            **{name: str(score) for name, score in spec.metrics.items()},
        }
        width = max(len(name) for name in rows)
        for name, value in rows.items():
            if value:
                console.emit(f"    {name:<{width}}  {value}")
