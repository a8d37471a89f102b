"""`geotrans tile`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import console
from geotrans.cli.options import Json

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG.yaml", help="Configuration with a section 'data:'.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Such as data.patch=256.", show_default=False),
]
Folder = Annotated[Path, typer.Option("-o", "--output", help="Folder to make.")]
Replace = Annotated[bool, typer.Option("--overwrite", help="Replace a patch cache.")]


def command(
    config: Config,
    output: Folder,
    overrides: Overrides = None,
    overwrite: Replace = False,
    as_json: Json = False,
) -> None:
    """Cut pairs of scenes into a patch cache to train from.

    The 'data:' section of CONFIG.yaml says what source and target are and which places train and
    which are held out; splits that share ground are refused. Training reads the cache with torch
    and numpy alone, on a machine that needs neither the rasters nor GDAL.
    """
    from geotrans.sampling.config import load_data_config
    from geotrans.sampling.tiling import tile

    data = load_data_config(config, overrides or [])
    with ExitStack() as stack:

        def progress(split: str, total: int) -> Callable[[int], None]:
            # The bar of the split before is done.
            stack.close()
            return stack.enter_context(console.progress(split, total=total, unit="patches"))

        cache = tile(data, output, overwrite=overwrite, progress=progress)
    manifest = cache.manifest
    if as_json:
        console.emit({"path": str(cache.path), **manifest.model_dump(mode="json")}, as_json=True)
        return
    for split, records in manifest.splits.items():
        n_places = len({record.place for record in records})
        console.emit(f"{split}: {len(records)} patches of {n_places} places")
    console.emit(cache.path)
