"""Options of a mosaic."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, TypedDict

from geotrans.errors import UsageError
from geotrans.mosaicking.blend import FEATHER_PX


class MosaicKeywords(TypedDict, total=False):
    """Keywords of `MosaicOptions`."""

    blend: str
    feather: int
    seamline: bool
    balance: bool
    crs: Any
    gsd_m: float | None
    bbox: tuple[float, float, float, float] | None
    like: str | os.PathLike[str] | None
    resampling: str
    plan: str | os.PathLike[str] | None


@dataclass(frozen=True)
class MosaicOptions:
    """What decides the pixels of a mosaic.

    Attributes:
        blend: What becomes of a pixel that several tiles hold: `"first"`, `"last"`, `"min"`,
            `"max"`, `"mean"`, or `"feather"`, a mean whose weights rise from each tile's edge.
        feather: Px over which they rise.
        seamline: Cut overlaps where the tiles differ least, instead of blending them.
        balance: Give each tile the gain and offset, band by band, with which they agree best where
            they overlap.
        crs: CRS of the mosaic; that of most tiles unless given.
        gsd_m: Its pixel size, m; that of most tiles, whose pixels are then copied, unless given.
        bbox: `xmin, ymin, xmax, ymax` of the part that is wanted, lon-lat degrees.
        like: Raster whose grid it is, instead of the three above.
        resampling: How tiles on other pixels are brought to these.
        plan: `plan.json` of the tiles that `cut_tiles` made, or their folder: it says where each
            tile goes, by its name, and of which only the core is wanted. Leave out the choices
            above.
    """

    blend: str = "first"
    feather: int = FEATHER_PX
    seamline: bool = False
    balance: bool = False
    crs: Any = None
    gsd_m: float | None = None
    bbox: tuple[float, float, float, float] | None = None
    like: str | os.PathLike[str] | None = None
    resampling: str = "bilinear"
    plan: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.feather < 1:
            raise UsageError(f"a feather of {self.feather} px is none; give at least 1")
        if self.seamline and self.blend != "first":
            raise UsageError(
                f"along a seamline nothing is left to blend; leave out blend {self.blend}"
            )
        if self.plan is not None:
            grid = (self.crs, self.gsd_m, self.bbox, self.like)
            is_plain = self.blend == "first" and not (self.seamline or self.balance)
            if not is_plain or any(value is not None for value in grid):
                raise UsageError(
                    "the plan says where every pixel goes; leave out blend, seamline, balance, "
                    "crs, gsd, bbox and like"
                )
