"""What a task is: everything about a network that is needed to use it, as one typed value."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    value_range: tuple[float, float] = (0.0, 255.0)
    units: str = "dn"


class GeneratorSpec(_Frozen):
    """A network: its name in the model registry and the arguments it was built with."""

    arch: str
    args: dict[str, Any] = Field(default_factory=dict)


class NoiseSpec(_Frozen):
    """Ground-anchored noise channels, appended to the source bands in this order.

    Attributes:
        scales: Distance between independent values, px, one channel each.
    """

    scales: tuple[int, ...]


class PaletteClass(_Frozen):
    """One class of a map: what it is called and the colour `(red, green, blue)` it is drawn in."""

    name: str
    color: tuple[int, int, int]


class TaskSpec(_Frozen):
    """A translation from one visual domain to another.

    Attributes:
        name: Word after `--task`.
        title: One line for a list of tasks.
        source: Bands the network reads, in channel order.
        target: Bands the product has, in channel order.
        gsd_m: Smallest and largest ground sampling distance seen in training, m; None if any.
        generator: The network.
        norm: Normalisation of the network; `"instance"` is calibrated once per scene.
        halo: Context each pixel needs on each side, px; computed from the network.
        align: Stride of the network, px.
        scale: Output px per input px.
        noise: Noise channels, if the task has them.
        palette: Classes of the target, if it is a map; the network then writes one score a class.
        source_palette: Classes of the source, if it is a map in a style of its own.
        style: The style a map was rendered in, as its YAML holds it.
        nodata: Value of invalid pixels in the product; `"source"` repeats the source's; None
            leaves them to the mask alone.
        place: Where the training data lies.
        data: Training data and where it comes from.
        licence: Licence of the weights.
        version: Version of the weights.
        metrics: Held-out scores by name.
        training: The resolved training configuration.
        card: The card, Markdown.
        created: ISO 8601 time of export, UTC.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    title: str = ""
    source: tuple[BandSpec, ...]
    target: tuple[BandSpec, ...]
    gsd_m: tuple[float, float] | None = None
    generator: GeneratorSpec
    norm: Literal["batch", "instance", "none"] = "batch"
    halo: int = Field(ge=0)
    align: int = Field(ge=1)
    scale: int = Field(default=1, ge=1)
    noise: NoiseSpec | None = None
    palette: tuple[PaletteClass, ...] | None = None
    source_palette: tuple[PaletteClass, ...] | None = None
    style: dict[str, Any] | None = None
    nodata: float | Literal["source"] | None = None
    place: str = ""
    data: str = ""
    licence: str = ""
    version: str = "0"
    metrics: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    card: str = ""
    created: str = ""

    @property
    def channels_in(self) -> int:
        """Channels the network sees: source bands and noise."""
        return len(self.source) + (len(self.noise.scales) if self.noise else 0)

    @property
    def channels_out(self) -> int:
        """Channels the network writes: target bands, or one score a class of the palette."""
        return len(self.palette) if self.palette else len(self.target)
