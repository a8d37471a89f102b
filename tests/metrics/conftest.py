from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def read_chips(folder: Path, pattern: str) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Chips `(N, C, H, W)` and their places, the last word of each name."""
    import rasterio

    paths = sorted(folder.glob(pattern))
    chips = []
    for path in paths:
        with rasterio.open(path) as scene:
            chips.append(scene.read())
    return np.stack(chips), [path.stem.rsplit("_", 1)[1] for path in paths]


def one_over_f(
    rng: np.random.Generator, n: int, *, size: int = 256, slope: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Grey images whose spectrum falls as natural ones do, `(n, 3, size, size)`."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    frequency[0, 0] = 1
    white = np.fft.fft2(rng.standard_normal((n, size, size)))
    field = np.fft.ifft2(white / frequency**slope).real
    grey = np.clip(128 + 40 * field / field.std(), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, None], 3, axis=1)
