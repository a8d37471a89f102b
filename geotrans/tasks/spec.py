"""What a task is: everything about a network that is needed to use it, as one typed value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from geotrans.grid import Coordinate

if TYPE_CHECKING:
    from geotrans.html.page import Html


SCHEMA_VERSION = 1

_Level = Annotated[int, Field(ge=0, le=255)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_dtype(name: str, dtype: str) -> None:
    with suppress(TypeError):
        if np.dtype(dtype).kind in "uif":
            return
    raise ValueError(f"band '{name}' has the unknown dtype '{dtype}'")


class BandSpec(_Frozen):
    """One band a task reads or writes.

    Attributes:
        name: Name by which the band is found and written.
        common_name: STAC common name, where the band has one.
        dtype: Type of the stored value; `"source"` in a target that repeats the source's type.
        value_range: Values that become -1 and 1, in `units`.
        units: `"dn"` for stored values, else a physical unit, to which scale and offset lead.
    """

    name: str
    common_name: str | None = None
    dtype: str = "uint8"
    value_range: tuple[_Finite, _Finite] = (0.0, 255.0)
    units: str = "dn"

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.value_range
        if not low < high:
            raise ValueError(f"band '{self.name}' has the empty value range {low:g} to {high:g}")
        if self.dtype != "source":
            _check_dtype(self.name, self.dtype)
        return self


def describe_bands(bands: Iterable[BandSpec]) -> str:
    """`red, green, blue`, with the type and range where it is not plain 8 bit."""
    parts = []
    for band in bands:
        low, high = band.value_range
        is_plain = (band.dtype, low, high, band.units) == ("uint8", 0, 255, "dn")
        units = "" if band.units == "dn" else f" {band.units}"
        parts.append(
            band.name if is_plain else f"{band.name} ({band.dtype}, {low:g} to {high:g}{units})"
        )
    return ", ".join(parts)


class GeneratorSpec(_Frozen):
    """A network: its name in the model registry and the arguments it was built with."""

    arch: str
    args: dict[str, Any] = Field(default_factory=dict)


class NoiseSpec(_Frozen):
    """Ground-anchored noise channels, appended to the source bands in this order.

    Attributes:
        scales: Distance between independent values, px, one channel each.
    """

    scales: tuple[Annotated[int, Field(ge=1)], ...]


class PaletteClass(_Frozen):
    """One class of a map: what it is called and the colour `(red, green, blue)` it is drawn in."""

    name: str
    color: tuple[_Level, _Level, _Level]


class SourceClass(PaletteClass):
    """One class of a source raster: stored value, name and colour."""

    value: int


class Score(_Frozen):
    """A held-out score, with baselines that do without this network.

    Attributes:
        value: The score.
        low: Lower end of its 95 % confidence interval.
        high: Upper end of it.
        better: Which way is better.
        baselines: The same score of other methods, by name, such as `"no network"`.
        split: What it was measured on.
    """

    value: _Finite
    low: _Finite | None = None
    high: _Finite | None = None
    better: Literal["higher", "lower"] | None = None
    baselines: dict[str, _Finite] = Field(default_factory=dict)
    split: str = ""

    def __str__(self) -> str:
        """`0.66 (0.61 to 0.70)`; the interval only where it is known."""
        if self.low is None or self.high is None:
            return f"{self.value:.3g}"
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"


def _as_score(value: Any) -> Any:
    """A plain number where a score is meant."""
    return {"value": value} if isinstance(value, int | float) else value


class TaskSpec(_Frozen):
    """A translation from one visual domain to another.

    Attributes:
        name: What the task is called.
        title: One line for a list of tasks.
        source: Bands the network reads, in channel order.
        target: Bands the product has, in channel order.
        gsd_m: Smallest and largest ground sampling distance seen in training, m; None if any.
        generator: The network.
        inverse: The network of the way back, where the bundle carries one.
        norm: Normalisation of the network; `"instance"` is calibrated once per scene.
        halo: Context each pixel needs on each side, px; computed from the network.
        align: Stride of the network, px.
        scale: Output px per input px.
        noise: Noise channels, if the task has them.
        coordinates: Channels that follow from where a pixel lies, between source and noise.
        palette: Classes of the target, if it is a map; the network then writes one score a class.
        source_palette: Classes of the source, if it is a map in a style of its own.
        source_classes: Classes of a source that is one band of class values; the network then sees
            one channel a class, 1 where a pixel is of it, in this order.
        style: The style a map was rendered in, as its YAML holds it.
        nodata: Value of invalid pixels in the product; `"source"` repeats the source's; None
            leaves them to the mask alone.
        place: Where the training data lies.
        data: Training data and where it comes from.
        licence: Licence of the weights.
        version: Version of the weights.
        metrics: Held-out scores by name; a plain number is a score without further detail.
        limits: What the task cannot do, Markdown.
        reproduce: Command that trains the weights anew.
        training: The resolved training configuration.
        card: What else a user should know, Markdown; part of the card `render_card` writes.
        samples: Picture of held-out samples, a file beside the card.
        created: ISO 8601 time of export, UTC.
    """

    schema_version: int = SCHEMA_VERSION
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)
    title: str = ""
    source: tuple[BandSpec, ...] = Field(min_length=1)
    target: tuple[BandSpec, ...] = Field(min_length=1)
    gsd_m: tuple[_Finite, _Finite] | None = None
    generator: GeneratorSpec
    inverse: GeneratorSpec | None = None
    norm: Literal["batch", "instance", "none"] = "batch"
    halo: int = Field(ge=0)
    align: int = Field(ge=1)
    scale: int = Field(default=1, ge=1)
    noise: NoiseSpec | None = None
    coordinates: tuple[Coordinate, ...] = ()
    palette: tuple[PaletteClass, ...] | None = Field(default=None, min_length=2, max_length=256)
    source_palette: tuple[PaletteClass, ...] | None = Field(default=None, min_length=1)
    source_classes: tuple[SourceClass, ...] | None = Field(default=None, min_length=2)
    style: dict[str, Any] | None = None
    nodata: _Finite | Literal["source"] | None = None
    place: str = ""
    data: str = ""
    licence: str = ""
    version: str = "0"
    metrics: dict[str, Annotated[Score, BeforeValidator(_as_score)]] = Field(default_factory=dict)
    limits: str = ""
    reproduce: str = ""
    training: dict[str, Any] = Field(default_factory=dict)
    card: str = ""
    samples: str = ""
    created: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gsd_m is not None and not 0 < self.gsd_m[0] <= self.gsd_m[1]:
            raise ValueError(f"gsd_m {self.gsd_m[0]:g} to {self.gsd_m[1]:g} is no range")
        if self.palette is not None and any(b.dtype != "uint8" for b in self.target):
            raise ValueError("a target with a palette is written in uint8")
        if self.palette is not None and len(self.target) != 3:
            raise ValueError("a target with a palette has the bands red, green and blue")
        if self.source_classes is not None:
            if len(self.source) != 1:
                raise ValueError("a source of classes is one band")
            for field in ("value", "name"):
                if len({getattr(item, field) for item in self.source_classes}) < self.n_source:
                    raise ValueError(f"two source classes have one {field}")
        if any(band.dtype == "source" for band in self.source):
            raise ValueError("a source band needs a dtype of its own")
        return self

    def _repr_html_(self) -> str:
        return self.render_html()

    def render_html(
        self, *, more: Sequence[tuple[str, object]] = (), figure: Html | None = None
    ) -> str:
        """A small card, as a notebook shows it.

        Args:
            more: Further facts, such as those of a bundle's file.
            figure: Picture below them.
        """
        from geotrans.html.card import render_card

        facts: list[tuple[str, object]] = [
            ("reads", self.describe_source() + (", and noise" if self.noise else "")),
            ("writes", self.describe_target()),
            ("pixel", self.describe_gsd()),
            ("place", self.place),
            ("licence", self.licence),
            *self.metrics.items(),
            *more,
        ]
        return render_card(self.name, self.title, facts, figure=figure)

    def describe_source(self) -> str:
        """What the task reads: its bands, or how many classes."""
        if self.source_classes:
            return f"one band of {len(self.source_classes)} classes"
        return describe_bands(self.source)

    def describe_target(self) -> str:
        """What the task writes: its bands, or also one band of classes."""
        bands = describe_bands(self.target)
        return f"{bands}; or one band of {len(self.palette)} classes" if self.palette else bands

    def describe_gsd(self) -> str:
        """`0.6 m`, `0.5 to 1 m` or `any`."""
        if self.gsd_m is None:
            return "any"
        low, high = self.gsd_m
        return f"{low:g} m" if low == high else f"{low:g} to {high:g} m"

    @property
    def channels_in(self) -> int:
        """Channels the network sees: source bands or classes, coordinates, and noise."""
        return self.n_source + len(self.coordinates) + (len(self.noise.scales) if self.noise else 0)

    @property
    def n_source(self) -> int:
        """Channels of the source: its bands, or its classes."""
        return len(self.source_classes or self.source)

    @property
    def channels_out(self) -> int:
        """Channels the network writes: target bands, or one score a class of the palette."""
        return len(self.palette) if self.palette else len(self.target)
