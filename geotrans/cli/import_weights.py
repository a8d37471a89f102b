"""`geotrans import-weights`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from geotrans.cli import console
from geotrans.cli.options import Json, Overwrite, parse_names, parse_range


class Norm(StrEnum):
    """Normalisation of the network."""

    instance = "instance"
    batch = "batch"


EXAMPLES = (
    "geotrans import-weights latest_net_G_A.pth --arch resnet_9blocks \\\n"
    "    --source-bands red,green,blue --target-bands red,green,blue --name sat2map",
)


def command(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS.pth", help="State dict, as torch.save wrote it.")
    ],
    arch: Annotated[
        str,
        typer.Option(help="resnet_9blocks, resnet_6blocks, unet_256 or unet_128."),
    ],
    source_bands: Annotated[
        str, typer.Option(help="Bands it reads, in channel order.", metavar="red,green,blue")
    ],
    target_bands: Annotated[
        str, typer.Option(help="Bands it writes, in channel order.", metavar="red,green,blue")
    ],
    norm: Annotated[
        Norm | None, typer.Option(help="Normalisation.  [default: whichever fits]")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the task.  [default: stem of the file]")
    ] = None,
    gsd: Annotated[
        str | None,
        typer.Option(help="Pixel sizes it was trained at, m.  [default: any]", metavar="LOW,HIGH"),
    ] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the card.")] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Bundle to write.  [default: NAME.safetensors beside it]"
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a bundle of CycleGAN or pix2pix weights that the authors' own code has trained.

    Reads the generators ResNet-9, ResNet-6, U-Net-256 and U-Net-128 of 8-bit images, with instance
    or batch norm, of any width and number of bands. Nothing in the file is executed. The outputs
    are the original's; a network with instance norm gets its statistics once per scene (see
    --norm-stats of 'geotrans translate').
    """
    from geotrans.tasks import Bundle
    from geotrans.tasks.published import import_weights

    path = import_weights(
        weights,
        arch=arch,
        source=parse_names(source_bands),
        target=parse_names(target_bands),
        norm=None if norm is None else norm.value,
        name=name,
        gsd_m=parse_range(gsd, option="--gsd"),
        licence=licence,
        out=output,
        overwrite=overwrite,
    )
    if not as_json:
        console.emit(path)
        return
    spec = Bundle.open(path).spec
    facts = spec.model_dump(mode="json", include={"name", "generator", "norm", "halo", "align"})
    console.emit({"bundle": str(path), **facts}, as_json=True)
