r"""What to train from: the `data:` section of a training configuration.

```yaml
data:
  splits: {train: santa_monica/aerial/train, val: santa_monica/aerial/val}
  source: {vectors: santa_monica/streetmap.gpkg, style: plain, margin: 64}
  target: {bands: [red, green, blue, nir]}
  place: (santa_monica)_\d{4}_(\d+)
  group: _(\d{4})_
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from geotrans.errors import ConfigError, SamplingError, suggest
from geotrans.runtime.config import read_sections, validate_section

Resampling = Literal["nearest", "bilinear", "cubic", "cubic_spline", "lanczos", "average"]


# Key that tells each kind of splits of scenes that share one folder.
_BY_REGION = ("polygons", "block_m", "boxes")

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Degrees = Annotated[float, Field(ge=-180, le=180)]
# One may be given as it is.
_Files = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1),
]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RasterSide(_Strict):
    """One side of the pairs, read from rasters.

    Attributes:
        files: Glob of the rasters from the data root, in which `{split}` stands for the split's
            entry; None takes the split's entry itself as a folder or a glob.
        bands: Names, or numbers from 1, in channel order; None takes all.
        resampling: How this side gets onto the other's grid.
        units: `"dn"` for stored values, else a physical unit, to which scale and offset lead.
        classes: Whether this side is one band of classes, named in the rasters.
        range: Values that become -1 and 1, in `units`; None takes the whole range of an integer
            type, which is too much for most 16-bit data, and -1 and 1 of any other.
        derive: Bands that are sums of others: factor by band, by name of the new band, as
            `{pan: {red: 0.299, green: 0.587, blue: 0.114}}`; rounded where values are integers.
    """

    files: str | None = None
    bands: tuple[str | int, ...] | None = Field(default=None, min_length=1)
    resampling: Resampling = "bilinear"
    units: str = "dn"
    classes: bool = False
    range: tuple[_Finite, _Finite] | None = None
    derive: dict[str, Annotated[dict[str, _Finite], Field(min_length=1)]] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _check_range_and_bands(self) -> RasterSide:
        if self.range is not None and not self.range[0] < self.range[1]:
            raise ValueError(f"range {self.range[0]:g} to {self.range[1]:g} is empty")
        if self.classes and (self.range is not None or self.derive):
            raise ValueError(
                "classes are names, which have no range, and nothing derives from them"
            )
        for name in self.derive:
            if self.bands is not None and name not in self.bands:
                raise ValueError(
                    f"derive makes the band '{name}', and bands does not ask for it"
                    f"{suggest(name, map(str, self.bands))}"
                )
        return self


class DerivedSide(_Strict):
    """The source as classes that a recipe derives from the target's own pixels.

    Attributes:
        recipe: Name or path of a recipe.
    """

    recipe: str


class MapSide(_Strict):
    """One side of the pairs, drawn from vectors on the other side's grid.

    Attributes:
        vectors: Vector file, from the data root.
        style: Name or path of a style.
        margin: Map drawn beyond each side of a patch, px, so that a network can be shown real
            surroundings instead of padding.
    """

    vectors: Path
    style: str = "plain"
    margin: int = Field(default=0, ge=0)


class FolderSplits(_Strict):
    """Splits that lie in folders of their own.

    Attributes:
        folders: Folders or globs by split, from the data root.
    """

    folders: dict[str, _Files] = Field(min_length=1)


class PolygonSplits(_Strict):
    """Splits drawn as polygons over scenes that share one folder.

    Attributes:
        scenes: Folder or glob of the scenes, from the data root.
        polygons: Vector file, from the data root.
        attribute: Column that names the split of a polygon.
        gap_m: Ground left unused between two splits, m.
    """

    scenes: str
    polygons: Path
    attribute: str = "split"
    gap_m: float = Field(default=0.0, ge=0)


class BlockSplits(_Strict):
    """Splits by square blocks of ground over scenes that share one folder.

    Attributes:
        scenes: Folder or glob of the scenes, from the data root.
        block_m: Edge of a block, m.
        shares: Share of the blocks by split; scaled to a sum of 1.
        seed: Which of the equally good assignments.
        gap_m: Ground left unused between two splits, m.
    """

    scenes: str
    block_m: float = Field(gt=0)
    shares: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    seed: int = 0
    gap_m: float = Field(default=0.0, ge=0)


class BoxSplits(_Strict):
    """Splits by boxes of longitude and latitude over scenes that share one folder.

    Attributes:
        scenes: Folder or glob of the scenes, from the data root.
        boxes: Boxes `[west, south, east, north]` by split, degrees.
        gap_m: Ground left unused between two splits, m.
    """

    scenes: str
    boxes: dict[str, tuple[tuple[_Degrees, _Degrees, _Degrees, _Degrees], ...]] = Field(
        min_length=1
    )
    gap_m: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _check_boxes(self) -> BoxSplits:
        for name, boxes in self.boxes.items():
            for west, south, east, north in boxes:
                if not (west < east and south < north):
                    raise ValueError(
                        f"box {west:g},{south:g},{east:g},{north:g} of '{name}' is empty; give "
                        "west, south, east, north, and two boxes across the date line"
                    )
        return self


class Collection(_Strict):
    """Scenes of one kind that a domain is drawn from, such as those of one sensor.

    Attributes:
        files: Folders or globs, from the data root.
        bands: Names, or numbers from 1, in channel order; None takes those of the side.
        share: Share of the domain's windows; None leaves what the others do not claim, by area.
    """

    files: _Files
    bands: tuple[str | int, ...] | None = Field(default=None, min_length=1)
    share: float | None = Field(default=None, gt=0, le=1)


class UnpairedSplit(_Strict):
    """Two domains whose windows are drawn independently of each other.

    Attributes:
        source: Collections the source is drawn from.
        target: Collections the target is drawn from.
        windows: Windows of each domain; None takes as many as would cover its scenes.
        balance: Whether a scene of a collection is drawn by its `"area"`, or all `"scenes"` alike.
        min_valid: Share of a window's pixels that must be valid; 0 takes any that holds one.
        same_place: Whether scenes of the two domains may share ground.
        seed: Which of the equally good draws.
    """

    source: tuple[Collection, ...] = Field(min_length=1)
    target: tuple[Collection, ...] = Field(min_length=1)
    windows: int | None = Field(default=None, ge=1)
    balance: Literal["area", "scenes"] = "area"
    min_valid: float = Field(default=0.9, ge=0.0, le=1.0)
    same_place: bool = False
    seed: int = Field(default=0, ge=0)

    @field_validator("source", "target", mode="before")
    @classmethod
    def _expand_files(cls, value: Any) -> Any:
        """`photos/*.tif` is short for `[{files: photos/*.tif}]`, and so is a list of such."""
        entries = value if isinstance(value, list | tuple) else [value]
        return tuple({"files": entry} if isinstance(entry, str) else entry for entry in entries)

    @model_validator(mode="after")
    def _check_shares(self) -> UnpairedSplit:
        for name in ("source", "target"):
            shares = [collection.share for collection in getattr(self, name)]
            claimed = sum(share for share in shares if share is not None)
            if None in shares and claimed >= 1:
                raise ValueError(f"the shares of {name} leave nothing to a collection without one")
        return self


def _get_side_tag(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else vars(value)
    return next((f"({k})" for k in ("vectors", "recipe") if k in keys), "(rasters)")


def _get_splits_tag(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else vars(value)
    return next(
        (f"({kind})" for kind in ("polygons", "block_m", "boxes") if kind in keys), "(folders)"
    )


Side = Annotated[
    Annotated[RasterSide, Tag("(rasters)")]
    | Annotated[MapSide, Tag("(vectors)")]
    | Annotated[DerivedSide, Tag("(recipe)")],
    Discriminator(_get_side_tag),
]
Splits = Annotated[
    Annotated[FolderSplits, Tag("(folders)")]
    | Annotated[PolygonSplits, Tag("(polygons)")]
    | Annotated[BlockSplits, Tag("(block_m)")]
    | Annotated[BoxSplits, Tag("(boxes)")],
    Discriminator(_get_splits_tag),
]


class DataConfig(_Strict):
    """Pairs of source and target, or two domains without pairs, and the splits they fall into.

    Attributes:
        root: Folder that relative paths start from; None takes `GEOTRANS_DATA`, else
            `../shared/data` beside the checkout.
        splits: Of pairs: folder or glob by split, or polygons, or blocks of ground; None if there
            is no pair.
        unpaired: Two domains by split, such as `train`; what is held out may still be pairs.
        source: What the network reads.
        target: What it is to write.
        grid: Side whose pixel grid both are read on; a drawn map takes the other's in any case.
        pair: Pattern on file names, without suffix; scenes of the two sides whose matches agree
            are a pair. None pairs by ground: each scene with the one that covers most of it.
        place: Pattern on the grid scene's name; scenes whose matches agree show the same place.
            None makes every scene a place.
        group: Pattern on the grid scene's name for what a place may be seen under, as a year.
        patch: Edge of a patch, px; None takes each scene as one patch.
        stride: Distance between patches, px; None leaves no overlap.
        min_valid: Share of pixels that must be valid on both sides to keep a patch; one without
            any valid pixel is never kept.
        cache: Folder of the patch cache; None keeps it among the user's cache files.
    """

    root: Path | None = None
    splits: Splits | None = None
    unpaired: dict[str, UnpairedSplit] = Field(default_factory=dict)
    source: Side
    target: Side
    grid: Literal["source", "target"] = "target"
    pair: re.Pattern[str] | None = None
    place: re.Pattern[str] | None = None
    group: re.Pattern[str] | None = None
    patch: int | None = Field(default=None, ge=1)
    stride: int | None = Field(default=None, ge=1)
    min_valid: float = Field(default=0.0, ge=0.0, le=1.0)
    cache: Path | None = None

    @field_validator("splits", mode="before")
    @classmethod
    def _expand_folders(cls, value: Any) -> Any:
        """`{train: a, val: b}` is short for `{folders: {train: a, val: b}}`."""
        if isinstance(value, Mapping) and not value.keys() & {
            "folders",
            "polygons",
            "block_m",
            "boxes",
        }:
            return {"folders": dict(value)}
        return value

    @model_validator(mode="after")
    def _check_sides(self) -> DataConfig:
        if isinstance(self.source, MapSide) and isinstance(self.target, MapSide):
            raise ValueError("source and target are both drawn from vectors; one must be rasters")
        if isinstance(self.target, DerivedSide):
            raise ValueError("a recipe derives a source from its target; give the target rasters")
        if isinstance(self.source, DerivedSide) and isinstance(self.target, MapSide):
            raise ValueError("a recipe looks at photographs, and the target is drawn from vectors")
        if self.stride is not None and self.patch is None:
            raise ValueError("stride without patch; give the edge of a patch too")
        return self

    @model_validator(mode="after")
    def _check_unpaired(self) -> DataConfig:
        if self.splits is None and not self.unpaired:
            raise ValueError("no data; give splits of pairs, or unpaired domains")
        if not self.unpaired:
            return self
        for name in ("source", "target"):
            side = getattr(self, name)
            if not isinstance(side, RasterSide) or side.classes:
                raise ValueError(f"unpaired domains are images read from rasters; {name} is not")
        if self.patch is None:
            raise ValueError("unpaired domains need patch, the edge of their windows, px")
        return self

    @property
    def grid_side(self) -> Literal["source", "target"]:
        """Side whose pixel grid both are read on."""
        if isinstance(self.source, MapSide | DerivedSide):
            return "target"
        return "source" if isinstance(self.target, MapSide) else self.grid

    @property
    def drawn_side(self) -> Literal["source", "target"] | None:
        """Side that is drawn from vectors, if any."""
        if isinstance(self.source, MapSide):
            return "source"
        return "target" if isinstance(self.target, MapSide) else None


def find_data_root(config: DataConfig) -> Path:
    """Folder that the relative paths of a configuration start from.

    Raises:
        SamplingError: If there is none.
    """
    if config.root is not None:
        root, origin = config.root.expanduser(), "data.root"
    elif "GEOTRANS_DATA" in os.environ:
        root, origin = Path(os.environ["GEOTRANS_DATA"]).expanduser(), "GEOTRANS_DATA"
    else:
        import geotrans

        root = Path(geotrans.__file__).parents[1].parent / "shared" / "data"
        origin = "the default, '../shared/data' beside the checkout"
    if not root.is_dir():
        raise SamplingError(
            f"data root {root} ({origin}) is no folder; set GEOTRANS_DATA or data.root"
        )
    return root


def load_data_config(path: str | Path, overrides: Sequence[str] = ()) -> DataConfig:
    """The `data:` section of a configuration file.

    Args:
        path: YAML file; its other sections are left alone.
        overrides: `data.key.key=value`, the value in YAML.

    Raises:
        ConfigError: If the file cannot be read or says something unknown.
    """
    content = read_sections(path, overrides)
    if not isinstance(content.get("data"), dict):
        raise ConfigError(f"{path} has no section 'data:'; it says which pairs to read")
    return validate_section(DataConfig, content["data"], where=f"{path}: data")
