"""How a scene is translated: options that decide pixels, and options that never do.

Everything that translates (`geotrans.translate`, `geotrans.batch`, `.geotrans.translate` of arrays,
the commands) takes these by keyword and hands them on as two values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any, TypedDict, cast

from geotrans.errors import UsageError, suggest
from geotrans.execution.cluster import Cluster
from geotrans.execution.connect import open_cluster
from geotrans.parts.layout import As
from geotrans.scene import parse_mapping
from geotrans.tasks import TaskSpec


class PixelKeywords(TypedDict, total=False):
    """Keywords of `PixelOptions`."""

    bands: Mapping[str, int | str] | str | None
    as_: As
    seed: int
    halo: int | None
    precision: str
    norm_stats: str | os.PathLike[str] | None
    nodata: float | None
    any_gsd: bool
    any_values: bool
    any_style: bool


class RunKeywords(TypedDict, total=False):
    """Keywords of `RunOptions`."""

    tile: int | None
    memory: int | str | None
    workers: int
    cluster: str | os.PathLike[str] | Cluster | None
    device: str


class TranslationKeywords(PixelKeywords, RunKeywords, total=False):
    """Keywords of both."""


@dataclass(frozen=True)
class PixelOptions:
    """What decides the pixels of a product.

    Attributes:
        bands: Position or description in the scene of a band the task reads, by its name there;
            or the same as text, `"nir=1,red=2"`.
        as_: `"classes"` for one band of class numbers, where the task draws a map.
        seed: Which of the equally plausible pictures, for tasks with noise.
        halo: Context to read around each tile, px; less than the network sees is an approximation,
            whose error is measured on one tile, reported and recorded.
        precision: `"auto"`, `"float32"` or `"bfloat16"`.
        norm_stats: Where the norms of the network have their statistics from: `"scene"`, once from
            a fixed sample of it, as networks with instance norm do by default;
            `"exact"`, from all of it; `"tile"`, from each tile; or a product whose statistics are
            used again.
        nodata: Stored value that marks pixels as not measured, where the file does not say it.
        any_gsd: Take pixels of a size the task has not seen.
        any_values: Take values the task has not seen.
        any_style: Take a map in a style the task has not seen.
    """

    bands: Mapping[str, int | str] | str | None = None
    as_: As = "rgb"
    seed: int = 0
    halo: int | None = None
    precision: str = "auto"
    norm_stats: str | os.PathLike[str] | None = None
    nodata: float | None = None
    any_gsd: bool = False
    any_values: bool = False
    any_style: bool = False

    def band_mapping(self, spec: TaskSpec) -> Mapping[str, int | str] | None:
        """`bands` by name of the task's band, however it was given."""
        return parse_mapping(self.bands, spec.source) if isinstance(self.bands, str) else self.bands


@dataclass(frozen=True)
class RunOptions:
    """What never changes a pixel: where and in which pieces the work is done.

    Attributes:
        tile: Largest core edge of a tile, px.
        memory: Budget for the whole run, bytes or `"1.5GB"`; sets the tile. Of a cluster, no more
            workers are used than are there when it begins.
        workers: Processes that translate.
        cluster: Address or scheduler file of a Dask cluster whose workers translate, or one that
            `geotrans.execution.connect.connect` opened. Whatever is read and written must lie
            where they find it under the same path.
        device: `"auto"`, `"cpu"` or `"cuda"`.
    """

    tile: int | None = None
    memory: int | str | None = None
    workers: int = 1
    cluster: str | os.PathLike[str] | Cluster | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"asked for {self.workers} workers; give at least 1")

    def open_cluster(self) -> AbstractContextManager[Cluster | None]:
        """The requested cluster, open; None if there is none.

        With a memory budget, which is divided among the workers there are, no more of them get any
        work.
        """
        is_budgeted = self.memory is not None
        return open_cluster(self.cluster, workers=self.workers, is_budgeted=is_budgeted)


def split_options(options: Mapping[str, Any]) -> tuple[PixelOptions, RunOptions]:
    """Keywords of a public function as the two values they stand for.

    Raises:
        UsageError: If there is no option of that name; names the nearest.
    """
    rest = dict(options)
    pixels, run = take_options(PixelOptions, rest), take_options(RunOptions, rest)
    if rest:
        known = [*option_names(PixelOptions), *option_names(RunOptions)]
        name = next(iter(rest))
        raise UsageError(
            f"there is no option '{name}'{suggest(name, known)}; options are {', '.join(known)}"
        )
    return pixels, run


def take_options[Kind](kind: type[Kind], options: dict[str, Any]) -> Kind:
    """Take the options of one kind out of keywords, as its value."""
    return kind(**{name: options.pop(name) for name in option_names(kind) if name in options})


def join_options(pixels: PixelOptions, run: RunOptions) -> TranslationKeywords:
    """The two values as keywords again."""
    return cast(TranslationKeywords, {**vars(pixels), **vars(run)})


def option_names(kind: type[Any]) -> list[str]:
    """Names of the options a dataclass holds."""
    return [field.name for field in fields(kind)]
