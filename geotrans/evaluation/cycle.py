"""The way back from products to sources: what a translation has kept of what it was given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np

from geotrans.errors import BandError
from geotrans.evaluation.places import Array, Places, class_index, crop_margin
from geotrans.evaluation.products import relabel_classes, translate_places
from geotrans.evaluation.scores import ScoreOfPlaces, class_groups, class_scores, ratio_score
from geotrans.metrics.mapping import nearest_class, road_counts
from geotrans.models import alignment, build, receptive_halo
from geotrans.tasks import Bundle, TaskSpec, open_bundle, save_bundle


@dataclass(frozen=True)
class InverseTask:
    """What leads from the products of a task back to what it was given.

    Attributes:
        bundle: A task of the way back.
        recipe: The recipe that the source was labelled with, where there is no such task.
    """

    bundle: Bundle | None
    recipe: str | None

    @classmethod
    def of(cls, bundle: Bundle, given: str | PathLike[str] | None, folder: Path) -> InverseTask:
        """The task given, else the inverse a bundle carries, else the recipe of its source, if any.

        Args:
            bundle: The task.
            given: Task or bundle file of the way back.
            folder: Where a bundle's own inverse may be written.

        Raises:
            BandError: If the task given does not lead from products to sources.
        """
        source = (bundle.spec.training.get("data") or {}).get("source") or {}
        return cls(open_inverse(bundle, given, folder), source.get("recipe"))

    def scores(
        self, products: Array, places: Places, *, device: str, precision: str
    ) -> dict[str, ScoreOfPlaces]:
        """How well products `(N, K, H, W)` of places lead back; empty without a way."""
        if self.bundle is not None:
            side = places.manifest.source.model_copy(
                update={"bands": places.bands, "classes": None}
            )
            manifest = places.manifest.model_copy(update={"source": side})
            there = replace(places, source=products, margin=0, manifest=manifest)
            tile = max(places.valid.shape)
            made = translate_places(
                self.bundle, there, seed=0, tile=tile, device=device, precision=precision
            )
            found = _against_source(made.values, places, self.bundle.spec)
        elif self.recipe is not None and places.classes is not None:
            known = places.manifest.source.classes or ()
            index = class_index(known, [name for name, _ in places.palette])
            labels = index[relabel_classes(self.recipe, products, places)[:, 0]]
            seen = places.valid
            found = [*class_scores(labels, places, places.classes, valid=seen, prefix="cycle_")]
        else:
            found = []
        return {score.name: score for score in found}


def _against_source(back: Array, places: Places, spec: TaskSpec) -> list[ScoreOfPlaces]:
    """Cycle error, and overlap of classes where the source is a map."""
    valid, found = places.valid, []
    palette = tuple((one.name, one.color) for one in spec.palette or ())
    if not palette or palette == places.palette:
        names = [band.name for band in spec.target]
        source = crop_margin(places.source_bands(names, who="the way back"), places.margin)
        gap = np.abs(back.astype(np.float64) - source).mean(axis=1) * valid
        counts = gap.sum((1, 2)), valid.sum((1, 2))
        title = "cycle error, mean of |difference|"
        found.append(ratio_score("cycle_l1", title, counts, places, better="lower"))
    if palette and places.classes is not None and places.map_side == "source":
        groups = (spec.training.get("task") or {}).get("iou_groups") or {}
        there, here = class_groups(groups, palette), class_groups(groups, places.palette)
        classes = nearest_class(back, [color for _, color in palette])
        for name in there.keys() & here.keys():
            # The two styles may number their classes differently.
            both = road_counts(
                np.isin(classes, there[name]).astype(np.uint8),
                np.isin(places.classes, here[name]).astype(np.uint8), [1], valid=valid,
            )  # fmt: skip
            title = f"IoU of {name} through the way back"
            found.append(ratio_score(f"cycle_{name}_iou", title, both, places))
    return found


def open_inverse(bundle: Bundle, given: str | PathLike[str] | None, folder: Path) -> Bundle | None:
    """The way back: the bundle given, else the one a bundle carries; None if there is none.

    Args:
        bundle: The task.
        given: Task or bundle file of the way back.
        folder: Where a bundle's own inverse may be written.

    Raises:
        BandError: If the way back does not lead from products to sources.
    """
    spec = bundle.spec
    if given is not None:
        back = open_bundle(given)
    elif spec.inverse is not None and "inverse" in bundle.parts:
        back = _find_carried(bundle, folder)
    else:
        return None
    (reads, writes), (own_reads, own_writes) = (
        [[band.name for band in side] for side in (one.source, one.target)]
        for one in (back.spec, spec)
    )
    if not (set(reads) <= set(own_writes) and set(writes) <= set(own_reads)):
        raise BandError(
            f"the inverse '{back.spec.name}' reads {', '.join(reads)} and writes "
            f"{', '.join(writes)}; task '{spec.name}' writes {', '.join(own_writes)} and reads "
            f"{', '.join(own_reads)}; give a task that leads back"
        )
    return back


def _find_carried(bundle: Bundle, folder: Path) -> Bundle:
    """The inverse within a bundle, as a bundle of its own."""
    spec, generator = bundle.spec, bundle.spec.inverse
    assert generator is not None
    net = build(generator.arch, len(spec.target), len(spec.source), **generator.args)
    source = tuple(
        band.model_copy(update={"dtype": spec.source[0].dtype}) if band.dtype == "source" else band
        for band in spec.target
    )
    back = TaskSpec(
        name=f"{spec.name[:56]}-inverse",
        source=source,
        target=spec.source,
        generator=generator,
        norm=generator.args.get("norm", spec.norm),
        halo=receptive_halo(net, len(source)),
        align=alignment(net),
    )
    return Bundle.open(save_bundle(folder / "inverse.safetensors", back, bundle.state("inverse")))
