"""How large a tile may be, and how many at a time, under a memory budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from geotrans.errors import TilingError, option
from geotrans.runtime.gdal import GDAL_CACHE_BYTES
from geotrans.tasks import Bundle, TaskSpec

if TYPE_CHECKING:
    from geotrans.inference import Translator

# Edge of the default window, halo included, px: networks are as fast in it as in larger ones, and
# a whole city stays under 1.5 GB.
WINDOW_PX = 1024

# Tiles at a time in one process. On a CPU the network takes nearly all the time, so that one tile
# can be written and the next one read while another is computed; in bfloat16 it takes half of that,
# and waits unless these are two. A GPU waits for more of them.
_IN_FLIGHT = {"float32": 2, "bfloat16": 3}
_IN_FLIGHT_ELSEWHERE = 4


# Copies that a tile holds in addition to the network: source, product and masks; what the network
# reads and writes in float32.
_COPIES = 4

# Times its largest layer is what a network took on a CPU: 2.3 to 3.0 in either precision, with
# skip connections, copies in another order and memory that is kept for the next layer.
_LAYERS = 3


def default_tile(spec: TaskSpec) -> int:
    """Core edge whose window, halo included, is `WINDOW_PX`.

    A network with a wide halo gets larger windows, or it would mostly compute halo.
    """
    return max(_core_edge(spec, WINDOW_PX), _aligned_halo(spec), spec.align)


def largest_tile(
    n_bytes: int,
    translator: Translator,
    *,
    base: int,
    dtype: str,
    workers: int,
    halo: int | None = None,
) -> int:
    """Largest core edge that keeps each process inside its share of a budget, px.

    Args:
        n_bytes: Memory for everything together.
        translator: The network.
        base: Memory of this process before the network was loaded, bytes.
        dtype: Type of the source's values.
        workers: Processes that translate.
        halo: Context read on each side, px; what the network sees unless given.

    Raises:
        TilingError: If not even the smallest useful tile fits.
    """
    spec, device = with_halo(translator.spec, halo), str(translator.device)
    per_px = tile_bytes_per_px(spec, dtype, device, translator.precision)
    if device == "cpu":
        per_px += network_bytes_per_px(translator.bundle, translator.precision)
    base += GDAL_CACHE_BYTES
    # Separate worker processes leave this one idle.
    share = n_bytes if workers == 1 else (n_bytes - base) // workers
    window_px = math.isqrt(max(0, int((share - base) / per_px)))
    smallest = 2 * _aligned_halo(spec) + max(spec.align, _aligned_halo(spec) // 2, 64)
    if window_px < smallest:
        needed = base + per_px * smallest**2
        needed = needed if workers == 1 else base + workers * needed
        raise TilingError(
            f"{option('memory', f'{n_bytes / 1e6:.0f}MB')} is too little for task '{spec.name}' "
            f"with {workers} worker{'s' * (workers > 1)}; it needs {math.ceil(needed / 1e7) * 10}MB"
        )
    return min(_core_edge(spec, window_px), default_tile(spec))


def with_halo(spec: TaskSpec, halo: int | None) -> TaskSpec:
    """A task as if its network saw no farther than this, px; itself if None."""
    return spec if halo is None else spec.model_copy(update={"halo": halo})


def _aligned_halo(spec: TaskSpec) -> int:
    """The halo as windows have it, on the network's stride, px."""
    return math.ceil(spec.halo / spec.align) * spec.align


def _core_edge(spec: TaskSpec, window_px: int) -> int:
    """What is left of a window without its halo, px."""
    return (window_px - 2 * _aligned_halo(spec)) // spec.align * spec.align


def tiles_in_flight(device: str, precision: str) -> int:
    """Tiles to work on at a time in one process."""
    return _IN_FLIGHT[precision] if device == "cpu" else _IN_FLIGHT_ELSEWHERE


def tile_bytes_per_px(spec: TaskSpec, dtype: str, device: str, precision: str) -> float:
    """Memory of tiles on their way in and out, bytes a pixel of one window."""
    source = len(spec.source) * np.dtype(dtype).itemsize
    target = len(spec.target) * spec.scale**2
    floats = 4 * (spec.channels_in + spec.channels_out * spec.scale**2)
    return tiles_in_flight(device, precision) * (_COPIES * (source + target + 1) + floats)


def network_bytes_per_px(bundle: Bundle, precision: str) -> float:
    """Memory the network takes while it works, bytes a pixel of its window."""
    from geotrans.models import largest_layer

    value_bytes = 2 if precision == "bfloat16" else 4
    return _LAYERS * value_bytes * largest_layer(bundle.generator(), bundle.spec.channels_in)
