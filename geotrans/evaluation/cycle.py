"""Cycle consistency: products translated back and compared with their sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from geotrans.errors import BandError
from geotrans.evaluation.places import Array, Places, class_index, crop_margin
from geotrans.evaluation.products import relabel_classes, translate_places
from geotrans.evaluation.scores import MetricResult, class_groups, class_scores, ratio_score
from geotrans.metrics.mapping import nearest_class, road_counts
from geotrans.models import alignment, build, receptive_halo
from geotrans.tasks import Bundle, TaskSpec, open_bundle, save_bundle


@dataclass(frozen=True)
class InverseTask:
    """The inverse of a task: a network or a labelling recipe that recovers the source.

    Attributes:
        bundle: A task of the way back.
        recipe: The recipe that the source was labelled with, where there is no such task.
    """

    bundle: Bundle | None
    recipe: str | None

    @classmethod
    def open(cls, bundle: Bundle, inverse: str | PathLike[str] | None, folder: Path) -> InverseTask:
        """The task given, else the inverse a bundle carries, else the recipe of its source, if any.

        Args:
            bundle: The task.
            inverse: Task or bundle file of the way back.
            folder: Where a bundle's own inverse may be written.

        Raises:
            BandError: If the task given does not lead from products to sources.
        """
        source = (bundle.spec.training.get("data") or {}).get("source") or {}
        return cls(open_inverse(bundle, inverse, folder), source.get("recipe"))

    def score(
        self, products: Array, places: Places, *, device: str, precision: str
    ) -> dict[str, MetricResult]:
        """Cycle scores of products `(N, K, H, W)` of places; empty without an inverse."""
        if self.bundle is not None:
            side = places.manifest.source.model_copy(
                update={"bands": places.bands, "classes": None}
            )
            manifest = places.manifest.model_copy(update={"source": side})
            back_places = replace(places, source=products, margin=0, manifest=manifest)
            tile = max(places.valid.shape)
            back = translate_places(
                self.bundle, back_places, seed=0, tile=tile, device=device, precision=precision
            )
            results = _score_sources(back.values, places, self.bundle.spec)
        elif self.recipe is not None and places.classes is not None:
            known = places.manifest.source.classes or ()
            index = class_index(known, [name for name, _ in places.palette])
            labels = index[relabel_classes(self.recipe, products, places)[:, 0]]
            valid = places.valid
            results = [*class_scores(labels, places, places.classes, valid=valid, prefix="cycle_")]
        else:
            results = []
        return {score.name: score for score in results}


def _score_sources(outputs: Array, places: Places, spec: TaskSpec) -> list[MetricResult]:
    """Cycle error, and overlap of classes where the source is a map."""
    valid, results = places.valid, []
    palette = tuple((item.name, item.color) for item in spec.palette or ())
    if not palette or palette == places.palette:
        names = [band.name for band in spec.target]
        source = crop_margin(places.source_bands(names, subject="the way back"), places.margin)
        gap = np.abs(outputs.astype(np.float64) - source).mean(axis=1) * valid
        counts = gap.sum((1, 2)), valid.sum((1, 2))
        title = "cycle error, mean of |difference|"
        results.append(ratio_score("cycle_l1", title, counts, places, better="lower"))
    if palette and places.classes is not None and places.map_side == "source":
        groups = (spec.training.get("task") or {}).get("iou_groups") or {}
        task_groups, place_groups = (
            class_groups(groups, palette),
            class_groups(groups, places.palette),
        )
        classes = nearest_class(outputs, [color for _, color in palette])
        for name in task_groups.keys() & place_groups.keys():
            # The two styles may number their classes differently.
            overlap = road_counts(
                np.isin(classes, task_groups[name]).astype(np.uint8),
                np.isin(places.classes, place_groups[name]).astype(np.uint8), [1], valid=valid,
            )  # fmt: skip
            title = f"IoU of {name} through the way back"
            results.append(ratio_score(f"cycle_{name}_iou", title, overlap, places))
    return results


def open_inverse(
    bundle: Bundle, inverse_task: str | PathLike[str] | None, folder: Path
) -> Bundle | None:
    """The way back: the bundle given, else the one a bundle carries; None if there is none.

    Args:
        bundle: The task.
        inverse_task: Task or bundle file of the way back.
        folder: Where a bundle's own inverse may be written.

    Raises:
        BandError: If the way back does not lead from products to sources.
    """
    spec = bundle.spec
    if inverse_task is not None:
        inverse = open_bundle(inverse_task)
    elif spec.inverse is not None and "inverse" in bundle.parts:
        inverse = _extract_inverse(bundle, folder)
    else:
        return None
    (reads, writes), (task_reads, task_writes) = (
        [[band.name for band in side] for side in (item.source, item.target)]
        for item in (inverse.spec, spec)
    )
    if not (set(reads) <= set(task_writes) and set(writes) <= set(task_reads)):
        raise BandError(
            f"the inverse '{inverse.spec.name}' reads {', '.join(reads)} and writes "
            f"{', '.join(writes)}; task '{spec.name}' writes {', '.join(task_writes)} and reads "
            f"{', '.join(task_reads)}; give a task that leads back"
        )
    return inverse


def _extract_inverse(bundle: Bundle, folder: Path) -> Bundle:
    """The inverse within a bundle, as a separate bundle."""
    spec, generator = bundle.spec, bundle.spec.inverse
    assert generator is not None
    net = build(generator.arch, len(spec.target), len(spec.source), **generator.args)
    source = tuple(
        band.model_copy(update={"dtype": spec.source[0].dtype}) if band.dtype == "source" else band
        for band in spec.target
    )
    inverse_spec = TaskSpec(
        name=f"{spec.name[:56]}-inverse",
        source=source,
        target=spec.source,
        generator=generator,
        norm=generator.args.get("norm", spec.norm),
        halo=receptive_halo(net, len(source)),
        align=alignment(net),
    )
    return Bundle.open(
        save_bundle(folder / "inverse.safetensors", inverse_spec, bundle.state("inverse"))
    )
