"""`geotrans samples`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import Json, Overwrite
from geotrans.errors import OutputError
from geotrans.scene.samples import list_samples, sample_files

EXAMPLES = (
    "geotrans samples",
    "geotrans samples town",
    "geotrans samples town town_photo -o my_data",
)


def command(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Samples to copy.  [default: list them all]",
            autocompletion=completion.samples,
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder to copy to.", metavar="DIR")
    ] = Path(),
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """List the small samples that ship with geotrans, or copy their files to a folder.

    Every command that reads a raster takes sample:NAME as well, and so does 'geotrans render' for
    the vectors that a map was drawn from. Prints the files written.
    """
    if not names:
        _print_samples(as_json=as_json)
        return
    files = [path for name in names for path in sample_files(name)]
    copies = [output / path.name for path in files]
    if not overwrite and (existing := next((copy for copy in copies if copy.exists()), None)):
        raise OutputError(f"{existing} exists; replace it with --overwrite or choose another -o")
    for path, copy in zip(files, copies, strict=True):
        _copy_file(path, copy)
    paths = [str(copy) for copy in copies]
    console.emit(paths if as_json else "\n".join(paths), as_json=as_json)


def _print_samples(*, as_json: bool) -> None:
    titles = list_samples()
    if as_json:
        console.emit(
            [
                {"name": name, "title": title, "files": [str(path) for path in sample_files(name)]}
                for name, title in titles.items()
            ],
            as_json=True,
        )
        return
    width = max(map(len, titles))
    for name, title in titles.items():
        files = ", ".join(path.name for path in sample_files(name))
        console.emit(f"{name:<{width}}  {title} ({files})")


def _copy_file(path: Path, copy: Path) -> None:
    from geotrans.runtime.files import write_whole

    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{copy.parent} cannot be made: {error.strerror or error}") from error
    write_whole(copy, path.read_bytes())
