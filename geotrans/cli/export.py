"""`geotrans export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import completion, console
from geotrans.cli.options import Json, Overwrite


class Format(StrEnum):
    """Kinds of file a bundle may be written as."""

    onnx = "onnx"


EXAMPLES = ("geotrans export map2aerial --to onnx -o map2aerial.onnx",)


def command(
    task: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE|TASK", help="A bundle or shipped task.", autocompletion=completion.tasks
        ),
    ],
    to: Annotated[Format, typer.Option("--to", help="Kind of file.")] = Format.onnx,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="File to write.  [default: TASK.onnx, here]"),
    ] = None,
    norm_stats: Annotated[
        Path | None,
        typer.Option(
            metavar="PRODUCT.tif",
            help="Product whose statistics a network with instance norm keeps; without one, each "
            "window has its own and tiles do not agree.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a bundle as an ONNX file that needs nothing else, checked against torch.

    It takes stored values as float32 and gives those of the product, for windows of any height and
    width on the network's stride; noise, where the task has it, is a second input. Its metadata
    holds the task, how to use the file, and how to make the noise. Nothing is written if
    onnxruntime does not compute what torch does, to 1e-4.
    """
    from geotrans.inference.onnx_export import export_onnx
    from geotrans.tasks import open_bundle
    from geotrans.translation.norm_statistics import read_statistics

    bundle = open_bundle(task)
    export = export_onnx(
        bundle,
        output or Path(f"{bundle.spec.name}.onnx"),
        norm=None if norm_stats is None else read_statistics(norm_stats, bundle),
        overwrite=overwrite,
    )
    if as_json:
        console.emit(export.to_dict(), as_json=True)
        return
    console.emit(export.parity)
    console.emit(export.path)
