"""Pictures inside a page."""

from __future__ import annotations

import base64
import warnings
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.html.page import Html

UInt8Array = npt.NDArray[np.uint8]

_QUALITY = 88


def embed_picture(pixels: UInt8Array, alt: str, *, lossless: bool = False) -> Html:
    """A picture as part of a page.

    Args:
        pixels: Red, green, blue, `(3, H, W)`, or grey, `(1, H, W)`.
        alt: Alternative text.
        lossless: PNG, for maps of few colours, instead of JPEG.
    """
    kind = "png" if lossless else "jpeg"
    data = base64.b64encode(encode_picture(pixels, kind)).decode("ascii")
    return Html(f'<img src="data:image/{kind};base64,{data}" alt="{escape(alt)}" loading="lazy">')


def encode_picture(pixels: UInt8Array, kind: str) -> bytes:
    """The file of a picture `(C, H, W)`: `"png"` or `"jpeg"`."""
    from rasterio import Env, MemoryFile
    from rasterio.errors import NotGeoreferencedWarning

    count, height, width = pixels.shape
    options: dict[str, Any] = {"QUALITY": _QUALITY} if kind == "jpeg" else {"ZLEVEL": 6}
    with warnings.catch_warnings(), Env(GDAL_PAM_ENABLED="NO"), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # intended
        with memory.open(
            driver=kind.upper(), dtype="uint8", count=count, height=height, width=width, **options
        ) as file:
            file.write(pixels)
        return bytes(memory.read())


def read_picture(path: Path, *, max_px: int) -> UInt8Array:
    """A picture from a file, `(3, H, W)`, at most so many px along its longer edge."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            factor = max(1.0, max(file.shape) / max_px)
            shape = tuple(max(1, round(n / factor)) for n in file.shape)
            pixels: UInt8Array = file.read(
                [1, 2, 3], out_shape=(3, *shape), resampling=Resampling.average
            )
    return pixels
