"""Typed training configuration: what a run is, in one YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from geotrans.grid import Coordinate
from geotrans.runtime.config import read_sections, validate_section
from geotrans.runtime.files import write_whole
from geotrans.sampling.config import DataConfig


class _Strict(BaseModel):
    # In YAML a year is a number, wherever a group is meant.
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class TaskConfig(_Strict):
    """What the bundle will say about itself.

    Attributes:
        name: What the task is called.
        title: One line for a list of tasks.
        source: Source bands to read, by name; None takes all.
        target: Target bands to write, by name; None takes all.
        palette: Whether the target is a map of classes; the network then writes one score a class.
        iou_groups: Classes scored together by name of the score, as `road: [alley, street]`.
        noise: Scales of the ground-anchored noise channels, px; none if empty.
        coordinates: Channels that follow from where a pixel lies, as `latitude`, its sine.
        inverse: Whether the bundle carries the network of the way back, where there is one.
        gsd_tolerance: Factor around the training data's sampling distance that is still accepted.
        place: Where the data lies.
        data: What the data is and where it comes from.
        licence: Licence of the weights.
        limits: What the task cannot do.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    title: str = ""
    source: tuple[str, ...] | None = None
    target: tuple[str, ...] | None = None
    palette: bool = False
    iou_groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    noise: tuple[int, ...] = ()
    coordinates: tuple[Coordinate, ...] = ()
    inverse: bool = False
    gsd_tolerance: float = Field(default=1.25, ge=1)
    place: str = ""
    data: str = ""
    licence: str = "Apache-2.0"
    limits: str = ""


class GeneratorConfig(_Strict):
    """The generator.

    Attributes:
        arch: Name in the registry.
        args: Arguments of the architecture.
        pretrained: Whether its encoder starts from ImageNet weights, where the architecture has
            such an encoder.
    """

    arch: str = "unet"
    args: dict[str, Any] = Field(default_factory=dict)
    pretrained: bool = False


class CriticConfig(_Strict):
    """The PatchGAN critic; its arguments are those of `models.PatchGAN`."""

    width: int = Field(default=64, ge=1)
    layers: int = Field(default=3, ge=1)
    scales: int = Field(default=1, ge=1)
    norm: Literal["spectral", "none"] = "spectral"


# Losses of each method, and the weights that differ from those of `LossConfig` unless given.
LOSSES = {
    "pix2pix": ("gan", "feature", "l1", "l2", "perceptual", "cross_entropy", "jaccard"),
    "cyclegan": ("gan", "cycle", "identity", "known"),
    "cut": ("gan", "nce", "nce_identity", "known"),
}
_USUAL_WEIGHTS = {
    "pix2pix": {},
    "cyclegan": {"l1": 0.0, "cycle": 10.0},
    "cut": {"l1": 0.0, "nce": 1.0, "nce_identity": 1.0},
}


class LossConfig(_Strict):
    """Weight of each loss by name; a weight of 0 leaves the loss out.

    Attributes:
        gan: Adversarial loss of the patch critic.
        gan_kind: `"hinge"` or `"least_squares"`.
        feature: Matching of the critic's activations.
        l1: Mean absolute difference, on [-1, 1].
        l2: Mean squared difference, on [-1, 1]: where the source leaves colours open it asks for
            their mean, and `l1` for their median, which is greyer.
        l1_pool: Both sides are averaged over squares of this edge before the difference, px.
        perceptual: Adversarial loss of a critic on pretrained VGG16 features.
        cross_entropy: Cross-entropy over the palette.
        jaccard: One minus the soft intersection over union, mean over the classes present and
            over `task.iou_groups`.
        cycle: Mean absolute difference between a patch and itself there and back, both ways.
        cycle_detached: Whether the cycle loss teaches only the second of the two networks, so that
            the first cannot hide in what it writes what the second is to find.
        identity: The same between a patch and what the network that writes its domain makes of
            it; both domains need as many bands.
        known: Mean absolute difference of the target's bands that the source has by name, and on
            the way back of the source's that the target has.
        nce: Patch-contrastive loss between source and output.
        nce_identity: The same between a target and what the network makes of it.
    """

    gan: float = Field(default=1.0, ge=0)
    gan_kind: Literal["hinge", "least_squares"] = "least_squares"
    feature: float = Field(default=0.0, ge=0)
    l1: float = Field(default=100.0, ge=0)
    l2: float = Field(default=0.0, ge=0)
    l1_pool: int = Field(default=1, ge=1)
    perceptual: float = Field(default=0.0, ge=0)
    cross_entropy: float = Field(default=0.0, ge=0)
    jaccard: float = Field(default=0.0, ge=0)
    cycle: float = Field(default=0.0, ge=0)
    cycle_detached: bool = False
    identity: float = Field(default=0.0, ge=0)
    known: float = Field(default=0.0, ge=0)
    nce: float = Field(default=0.0, ge=0)
    nce_identity: float = Field(default=0.0, ge=0)

    @property
    def weights(self) -> dict[str, float]:
        """Weights above 0 by name."""
        names = {name for losses in LOSSES.values() for name in losses}
        ordered = [name for name in type(self).model_fields if name in names]
        return {name: getattr(self, name) for name in ordered if getattr(self, name) > 0}


class ContrastConfig(_Strict):
    """How the patch-contrastive loss compares.

    Attributes:
        levels: Levels of the generator's encoder, from fine to coarse, counted from 0, which is
            the input itself; None takes all.
        patches: Places compared at each level of a patch.
        width: Channels of the projections.
        temperature: Divisor of the similarities.
    """

    levels: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    patches: int = Field(default=256, ge=2)
    width: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.07, gt=0)


class JitterConfig(_Strict):
    """Random colour changes of the source; each is the largest change, as a share.

    Attributes:
        brightness: Shift of all bands together.
        contrast: Stretch about the patch's mean.
        band: Shift of each band on its own.
        gamma: Exponent about 1.
        both: Whether the target is changed as the source is, except for `band`: a change of
            exposure affects both.
    """

    brightness: float = Field(default=0.0, ge=0, lt=1)
    contrast: float = Field(default=0.0, ge=0, lt=1)
    band: float = Field(default=0.0, ge=0, lt=1)
    gamma: float = Field(default=0.0, ge=0, lt=1)
    both: bool = False


class AugmentConfig(_Strict):
    """Random image changes in training.

    Attributes:
        dihedral: Whether patches are turned and mirrored, both sides alike.
        rotate: Largest further turn, degrees, both sides alike; ground that comes in from beyond
            a patch is not valid.
        zoom: Largest change of scale, as a share, both sides alike.
        critic: DiffAugment policies on what the critics see.
        jitter: Colour changes of the source.
        groups: Share of the patches by group, as years; a group left out is not drawn. Without
            any, every patch is as likely as another.
        like_group: Group whose band means and deviations the targets of the others are given.
    """

    dihedral: bool = True
    rotate: float = Field(default=0.0, ge=0, le=180)
    zoom: float = Field(default=0.0, ge=0, lt=1)
    critic: tuple[Literal["color", "translation", "cutout"], ...] = ()
    jitter: JitterConfig = JitterConfig()
    groups: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    like_group: str | None = None


class LoopConfig(_Strict):
    """How long and how fast.

    Attributes:
        method: `"pix2pix"` learns from pairs, `"cyclegan"` and `"cut"` from
            two domains; pairs given to these are drawn as if they were none.
        steps: Optimiser updates at which the run ends.
        max_minutes: Minutes of training, evaluation included, after which it ends earlier.
        batch: Patches a step and device.
        crop: Edge of a training patch, px; a multiple of the generator's stride.
        margin: Map shown to the generator beyond each side of the crop, px, where the source is
            drawn from vectors.
        lr_generator: Learning rate of the generator.
        lr_critic: Learning rate of the critics.
        betas: Adam's averaging factors.
        decay_from: Share of the run from which the rates fall linearly to 0.
        freeze_norm_from: Share of the run from which batch norms keep their statistics, so that
            the generator ends in the form it is used in; 1 recomputes them for the bundle instead.
        ema: Averaging factor of the exported weights, warmed up.
        pool: Generated patches of a domain kept to show the critics older ones too; 0 shows the
            newest alone.
        seed: Seed of every draw.
        evaluate_every: Steps between held-out scores, sheets and checkpoints.
        select: Held-out score that picks the exported weights, and whether `min` or `max` is best.
        val_group: Group that is scored, as a year; None scores all.
        precision: `"32-true"`, `"bf16-mixed"` or `"auto"`, which takes bf16 on CUDA.
        accelerator: Fabric's accelerator.
        devices: Fabric's number of devices.
    """

    method: Literal["pix2pix", "cyclegan", "cut"] = "pix2pix"
    steps: int = Field(default=100_000, ge=1)
    max_minutes: float | None = Field(default=None, gt=0)
    batch: int = Field(default=8, ge=1)
    crop: int = Field(default=192, ge=1)
    margin: int = Field(default=0, ge=0)
    lr_generator: float = Field(default=2e-4, gt=0)
    lr_critic: float = Field(default=2e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    decay_from: float = Field(default=0.5, ge=0, le=1)
    freeze_norm_from: float = Field(default=1.0, ge=0, le=1)
    ema: float = Field(default=0.999, ge=0, lt=1)
    pool: int = Field(default=50, ge=0)
    seed: int = Field(default=0, ge=0)
    evaluate_every: int = Field(default=500, ge=1)
    select: str = Field(default="l1:min", pattern=r"^[a-z0-9_]+:(min|max)$")
    val_group: str | None = None
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "gpu", "mps"] = "auto"
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = 1


class MemberConfig(_Strict):
    """What one of several trainings does otherwise, by the keys of the run's own sections.

    Attributes:
        loss: Changes to `loss`.
        critic: Changes to `critic`.
        augment: Changes to `augment`.
        training: Changes to `training`, such as another `seed`.
    """

    loss: dict[str, Any] = Field(default_factory=dict)
    critic: dict[str, Any] = Field(default_factory=dict)
    augment: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)


class TrainConfig(_Strict):
    """A whole run.

    Attributes:
        inverse: The generator of the way back; None builds it as the other one is.
        members: Trainings of the same task, one after the other, whose networks are averaged into
            one bundle; without any, the run is one training.
    """

    task: TaskConfig
    data: DataConfig
    generator: GeneratorConfig = GeneratorConfig()
    inverse: GeneratorConfig | None = None
    critic: CriticConfig = CriticConfig()
    loss: LossConfig = LossConfig()
    contrast: ContrastConfig = ContrastConfig()
    augment: AugmentConfig = AugmentConfig()
    training: LoopConfig = LoopConfig()
    members: tuple[MemberConfig, ...] = ()

    @property
    def trainings(self) -> tuple[TrainConfig, ...]:
        """One configuration a member, what it changes worked in; empty without members.

        Raises:
            ConfigError: If a member changes what is not there.
        """
        shared = self.model_dump(mode="json", exclude={"members"})
        return tuple(
            validate_section(
                TrainConfig, _apply_changes(shared, member.model_dump()), where=f"member {i}"
            )
            for i, member in enumerate(self.members, start=1)
        )

    @model_validator(mode="before")
    @classmethod
    def _weights_of_the_method(cls, value: Any) -> Any:
        """Weights that a method usually has, where the configuration gives none."""
        if not isinstance(value, Mapping) or not isinstance(value.get("training"), Mapping):
            return value
        usual = _USUAL_WEIGHTS.get(str(value["training"].get("method")), {})
        loss = value.get("loss", {})
        return {**value, "loss": {**usual, **loss}} if isinstance(loss, Mapping) else value

    @model_validator(mode="after")
    def _method_fits(self) -> TrainConfig:
        method = self.training.method
        for name in self.loss.weights:
            if name not in LOSSES[method]:
                raise ValueError(
                    f"loss.{name} is no loss of {method}, which has {', '.join(LOSSES[method])}"
                )
        if self.task.inverse and method != "cyclegan":
            raise ValueError(f"task.inverse asks for the way back, which {method} does not learn")
        if method == "pix2pix":
            if "train" in self.data.unpaired:
                raise ValueError("pix2pix needs pairs to train; set training.method to cyclegan")
            return self
        if self.task.palette:
            raise ValueError(f"task.palette needs pairs; {method} learns from pictures")
        if self.augment.groups or self.augment.like_group or self.training.margin:
            raise ValueError(
                f"augment.groups, augment.like_group and training.margin need pairs; {method} "
                "draws from two domains"
            )
        return self

    @model_validator(mode="after")
    def _losses_fit_the_target(self) -> TrainConfig:
        weights = self.loss.weights
        class_losses = {"cross_entropy", "jaccard"} & weights.keys()
        if class_losses and not self.task.palette:
            raise ValueError(f"loss.{min(class_losses)} needs classes; set task.palette to true")
        if not weights:
            raise ValueError("every loss has weight 0; nothing would be learned")
        if "feature" in weights and "gan" not in weights:
            raise ValueError("loss.feature matches the critic's activations; set loss.gan above 0")
        return self

    @model_validator(mode="after")
    def _members_differ(self) -> TrainConfig:
        if not self.members:
            return self
        if len(self.members) == 1:
            raise ValueError("members lists one training; list two or more, or leave it out")
        if self.task.inverse:
            raise ValueError("task.inverse asks for the way back, which members do not average")
        trainings = self.trainings
        for i, member in enumerate(trainings):
            if member in trainings[:i]:
                raise ValueError(
                    f"member {i + 1} is the same training as member "
                    f"{trainings.index(member) + 1}; give it another training.seed"
                )
        return self


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """A run from its YAML file.

    Args:
        path: YAML file.
        overrides: `section.key=value`, the value in YAML; they win over the file.

    Raises:
        ConfigError: If the file cannot be read or a key is unknown; names the nearest.
    """
    return validate_section(TrainConfig, read_sections(path, overrides), where=str(path))


def _apply_changes(value: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values with some of them, however deep, replaced."""
    merged = dict(value)
    for key, new in changes.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            merged[key] = _apply_changes(old, new)
        else:
            merged[key] = new
    return merged


def resolve_config(config: TrainConfig) -> dict[str, Any]:
    """The configuration with every default filled in, as plain values."""
    return config.model_dump(mode="json")


def save_config(path: Path, config: TrainConfig) -> None:
    """Write the configuration with every default filled in.

    Raises:
        OutputError: If the file cannot be written.
    """
    text = yaml.safe_dump(resolve_config(config), sort_keys=False, allow_unicode=True)
    write_whole(path, text.encode())
