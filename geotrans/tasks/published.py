"""Published CycleGAN and pix2pix weights as bundles."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from geotrans import __version__
from geotrans.errors import BandError, OutputError, UsageError, option
from geotrans.tasks.bundle import save_bundle
from geotrans.tasks.spec import BandSpec, GeneratorSpec, TaskSpec

# Names by which a band may be found in a scene under another one.
_COMMON_NAMES = ("red", "green", "blue", "nir", "rededge", "swir16", "swir22", "pan", "coastal")

_CARD = """\
Imported from `{file}` (SHA-256 `{sha256}`), a generator of the architecture `{arch}` with {norm}
norm as the CycleGAN and pix2pix authors' code writes it, every weight in float32.

The original mirrors or zero-pads its features at the edge of whatever image it is given. Here every
tile is read with the {halo} px around it, and the scene itself is mirrored where it ends: a product
is what the original makes of the whole scene, but for the {halo} px along the scene's own edges, if
its first pixel lies on a multiple of {align} px in its CRS; from there, not from the corner of an
image, the network's stride of {align} px is counted.
{statistics}"""

_INSTANCE = """
Its instance norms take their statistics from the image. Here they are taken once per scene and then
kept, so that tiles agree (`norm_stats`).
"""

_BATCH = """
Its batch norms use the statistics learned in training. The authors' pix2pix test script uses those
of the test image instead, unless `eval` is given: `norm_stats` of `scene` does so here.
"""


def import_weights(
    path: str | PathLike[str],
    *,
    arch: str,
    source: Sequence[str],
    target: Sequence[str],
    norm: str | None = None,
    name: str | None = None,
    gsd_m: tuple[float, float] | None = None,
    licence: str = "",
    out: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a bundle from the weights of a published generator.

    Args:
        path: `.pth` file with its state dict, such as `latest_net_G_A.pth`; never executed.
        arch: Its architecture, a word of `models.REFERENCES`.
        source: Names of the bands it reads, in channel order; 8-bit values become [-1, 1].
        target: Names of the bands it writes.
        norm: `"instance"` or `"batch"`; whichever fits unless given.
        name: Name of the task; the stem of the file unless given.
        gsd_m: Smallest and largest ground sampling distance it was trained at, m.
        licence: Licence of the weights.
        out: Bundle to write; `<name>.safetensors` beside the weights unless given.
        overwrite: Replace an existing file.

    Returns:
        The bundle.

    Raises:
        BundleError: If the file is damaged, holds code, or does not fit the architecture.
        BandError: If it has another number of channels than bands are named.
        UsageError: If an argument cannot be meant.
        OutputError: If the bundle exists or cannot be written.
    """
    from geotrans.models import alignment, build, fit_reference, read_reference, receptive_halo

    path = Path(path)
    name = _to_task_name(path.stem) if name is None else name
    out = path.with_name(f"{name}.safetensors") if out is None else Path(out)
    if out.exists() and not overwrite:
        raise OutputError(
            f"{out} exists; replace it with {option('overwrite', True)} or choose another "
            f"{option('out')}"
        )
    reference = fit_reference(read_reference(path), arch, norm=norm)
    _check_bands(path, "source", "reads", source, reference.channels_in)
    _check_bands(path, "target", "writes", target, reference.channels_out)
    net = build(reference.arch, reference.channels_in, reference.channels_out, **reference.args)
    halo, align = receptive_halo(net, reference.channels_in), alignment(net)
    kind = reference.args["norm"]
    card = _CARD.format(
        file=path.name, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), arch=arch, norm=kind,
        halo=halo, align=align, statistics=_INSTANCE if kind == "instance" else _BATCH,
    )  # fmt: skip
    try:
        spec = TaskSpec(
            name=name,
            title=f"{', '.join(source)} to {', '.join(target)}, imported",
            source=tuple(_make_band(band) for band in source),
            target=tuple(_make_band(band) for band in target),
            gsd_m=gsd_m,
            generator=GeneratorSpec(arch=reference.arch, args=reference.args),
            norm=kind,
            halo=halo,
            align=align,
            licence=licence,
            version=__version__,
            card=card,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
    except ValueError as error:
        raise UsageError(f"no task can be described like this: {_first_message(error)}") from error
    return save_bundle(out, spec, reference.state, exact=True)


def _make_band(name: str) -> BandSpec:
    return BandSpec(name=name, common_name=name if name in _COMMON_NAMES else None)


def _to_task_name(stem: str) -> str:
    """A word that may name a task."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("_.-")[:64] or "imported"


def _check_bands(path: Path, side: str, verb: str, names: Sequence[str], n: int) -> None:
    if len(names) != n or len(set(names)) != n or not all(names):
        raise BandError(
            f"the network in {path} {verb} {n} band{'s' * (n > 1)}; {option(side)} names "
            f"{', '.join(names) or 'none'}; name each of the {n}, in channel order"
        )


def _first_message(error: ValueError) -> str:
    """What pydantic says of the first field that is wrong."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    entry = errors()[0]
    return f"{'.'.join(map(str, entry['loc']))}: {entry['msg'].removeprefix('Value error, ')}"
