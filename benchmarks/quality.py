"""Quality of map2aerial and aerial2map on held-out places, with intervals over places.

    geotrans tile configs/map2aerial.yaml -o CACHE
    python benchmarks/quality.py map2aerial=BUNDLE aerial2map=BUNDLE --cache CACHE \
        --l1 map2aerial=BUNDLE aerial2map=BUNDLE --json quality.json

A bundle is a file or the name of a shipped task. A cache holds the pairs of map and aerial in
either direction; where the two tasks draw the map in different styles, give a cache of each.
Intervals are 95 %, by a bootstrap over places (2000 resamples, seed 0). Kernel distance is 0
between real and real, so that the share of the gap closed is 1 - distance / distance of L1 only.
"""

from __future__ import annotations

import argparse
import json
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from affine import Affine

import geotrans
from geotrans.errors import GeotransError, UsageError
from geotrans.evaluation.baselines import class_means
from geotrans.grid import ground_anchor, make_geobox, plan_tiles, reflect_indices
from geotrans.metrics.interval import Interval, mean, ratio
from geotrans.metrics.kernel import KernelFeatures, compute_features, gap_closed, kernel_distance
from geotrans.metrics.mapping import nearest_class, one_color, palette_counts, road_counts
from geotrans.metrics.texture import contrast, repetition
from geotrans.sampling.cache import PatchCache
from geotrans.tasks.registry import open_bundle
from geotrans.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from geotrans.inference import Translator

UInt8Array = npt.NDArray[np.uint8]
Palette = tuple[tuple[str, tuple[int, int, int]], ...]

RGB = ("red", "green", "blue")
ROADS = ("alley", "street", "arterial")

# Flat pictures per class; lattice positions far enough apart to share no noise.
N_FLAT = 4
FLAT_APART_PX = 10_000


@dataclass(frozen=True)
class Pairs:
    """Maps and aerials of the same places.

    Attributes:
        maps: Red, green, blue, `(N, 3, H + 2 * margin, W + 2 * margin)`.
        margin: Map beyond each side of an aerial, px.
        aerials: `(N, C, H, W)`.
        bands: Names of the aerials' bands.
        classes: Class of each map pixel, `(N, H, W)`.
        palette: Name and colour of each class.
        valid: Pixels that count, `(N, H, W)`.
        places: Place of each pair.
        anchors: Where each pair lies on the ground lattice.
    """

    maps: UInt8Array
    margin: int
    aerials: UInt8Array
    bands: tuple[str, ...]
    classes: UInt8Array
    palette: Palette
    valid: npt.NDArray[np.bool_]
    places: list[str]
    anchors: list[tuple[int, int]]

    @property
    def truth(self) -> UInt8Array:
        """Maps of just what the aerials show."""
        stop = -self.margin or None
        return self.maps[..., self.margin : stop, self.margin : stop]

    @property
    def pictures(self) -> UInt8Array:
        """Red, green and blue of the aerials."""
        return self.aerials[:, [self.bands.index(name) for name in RGB]]

    @property
    def colors(self) -> list[tuple[int, int, int]]:
        """Colour of each class."""
        return [color for _, color in self.palette]

    def named(self, names: Sequence[str]) -> list[int]:
        """Indices of classes by name."""
        return [i for i, (name, _) in enumerate(self.palette) if name in names]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        task: Task scored.
        metric: What is measured.
        score: The score.
        bound: What it has to reach; None if it only informs.
        sense: How score and bound have to compare.
        beside: The same measure of other things.
    """

    task: str
    metric: str
    score: Interval
    bound: float | None = None
    sense: str = ">="
    beside: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def passes(self) -> bool | None:
        """Whether the score, not only its interval, reaches the bound."""
        if self.bound is None:
            return None
        compare: Callable[[float, float], bool] = {">=": operator.ge, "<": operator.lt}[self.sense]
        return compare(self.score.value, self.bound)


def load_pairs(cache: PatchCache, split: str, *, year: str | None) -> Pairs:
    """Pairs of a split, those of one year only if said."""
    manifest = cache.manifest
    if manifest.drawn is None or manifest.palette is None:
        raise UsageError(f"{cache.path} holds no drawn map; give a cache of map and aerial")
    chips = cache.load(split, margin=manifest.margin)
    chosen = [i for i, group in enumerate(chips.groups) if year in (None, group)]
    if not chosen:
        found = ", ".join(sorted(set(chips.groups)))
        raise UsageError(f"split '{split}' has no pair of {year}, but of {found}")
    maps, aerials = chips.source, chips.target
    bands = manifest.target.bands
    if manifest.drawn == "target":
        maps, aerials, bands = aerials, maps, manifest.source.bands
    assert chips.classes is not None
    records = [chips.records[i] for i in chosen]
    grids = [make_geobox(r.shape, Affine(*r.transform), r.crs) for r in records]
    return Pairs(
        maps=maps[chosen],
        margin=manifest.margin,
        aerials=aerials[chosen],
        bands=bands,
        classes=chips.classes[chosen],
        palette=manifest.palette,
        valid=chips.valid[chosen],
        places=[record.place for record in records],
        anchors=[ground_anchor(grid) for grid in grids],
    )


def translate(
    translator: Translator, patch: UInt8Array, *, margin: int, anchor: tuple[int, int]
) -> UInt8Array:
    """Translate a patch as a scene: real surroundings as far as they go, mirrored beyond.

    Args:
        translator: The task, one output px per input px.
        patch: `(C, H + 2 * margin, W + 2 * margin)`.
        margin: Surroundings on each side, px, which the result leaves out.
        anchor: Where the first pixel within the margin lies on the ground lattice.

    Returns:
        `(C_out, H, W)`.
    """
    spec = translator.spec
    height, width = (size - 2 * margin for size in patch.shape[1:])
    plan = plan_tiles((height, width), tile=1024, halo=spec.halo, align=spec.align, anchor=anchor)
    product = np.empty((len(spec.target), height, width), np.uint8)
    for tile in plan:
        read, core = tile.read, tile.core
        rows = reflect_indices(read.row_off + margin, read.height, patch.shape[1])
        cols = reflect_indices(read.col_off + margin, read.width, patch.shape[2])
        window = np.ascontiguousarray(patch[:, rows][:, :, cols])
        found = translator(window, window=read, anchor=anchor)
        top, left = core.row_off - read.row_off, core.col_off - read.col_off
        inner = found[:, top : top + core.height, left : left + core.width]
        product[:, *core.slices] = inner
    return product


def draw_aerials(translator: Translator, pairs: Pairs) -> UInt8Array:
    """Red, green, blue pictures from the maps, `(N, 3, H, W)`."""
    names = [band.name for band in translator.spec.target]
    order = [names.index(name) for name in RGB]
    found = [
        translate(translator, patch, margin=pairs.margin, anchor=anchor)[order]
        for patch, anchor in zip(pairs.maps, pairs.anchors, strict=True)
    ]
    return np.stack(found)


def draw_maps(
    translator: Translator, pictures: UInt8Array, bands: Sequence[str], pairs: Pairs
) -> UInt8Array:
    """Maps from aerial pictures, in colours, `(N, 3, H, W)`."""
    wanted = [band.name for band in translator.spec.source]
    if missing := set(wanted) - set(bands):
        raise UsageError(f"{translator.spec.name} reads {', '.join(sorted(missing))} too")
    order = [bands.index(name) for name in wanted]
    found = [
        translate(translator, picture[order], margin=0, anchor=anchor)
        for picture, anchor in zip(pictures, pairs.anchors, strict=True)
    ]
    return np.stack(found)


def score_aerial2map(
    translator: Translator,
    pairs: Pairs,
    train: Pairs,
    *,
    l1: Translator | None,
    roads: Sequence[str],
) -> list[Row]:
    """Palette accuracy and road IoU beside the best single colour and the L1-only model."""
    color = pairs.colors[one_color(train.truth, pairs.colors)]
    flat = np.broadcast_to(np.array(color, np.uint8)[:, None, None], pairs.truth.shape)
    candidates = {"score": draw_maps(translator, pairs.aerials, pairs.bands, pairs)}
    candidates["one colour"] = flat
    if l1 is not None:
        candidates["L1 only"] = draw_maps(l1, pairs.aerials, pairs.bands, pairs)
    within = {
        name: ratio(*palette_counts(maps, pairs.truth, valid=pairs.valid), pairs.places)
        for name, maps in candidates.items()
    }
    iou = {
        name: road_overlap(maps, pairs, pairs.colors, roads) for name, maps in candidates.items()
    }
    return [
        Row("aerial2map", "road IoU", iou.pop("score"), 0.65, beside=iou),
        Row("aerial2map", "within 16 levels", within.pop("score"), 0.72, beside=within),
    ]


def road_overlap(
    maps: UInt8Array,
    pairs: Pairs,
    colors: Sequence[tuple[int, int, int]],
    roads: Sequence[str],
    palette: Palette | None = None,
) -> Interval:
    """Road IoU of maps in the colours of `palette`, the pairs' own unless given."""
    names = [name for name, _ in palette or pairs.palette]
    found = np.isin(nearest_class(maps, colors), [i for i, n in enumerate(names) if n in roads])
    true = np.isin(pairs.classes, pairs.named(roads))
    counts = road_counts(found.astype(np.uint8), true.astype(np.uint8), [1], valid=pairs.valid)
    return ratio(*counts, pairs.places)


def score_map2aerial(
    translator: Translator,
    pairs: Pairs,
    train: Pairs,
    *,
    l1: Translator | None,
    reader: Translator | None,
    roads: Sequence[str],
) -> list[Row]:
    """Likeness to real aerials, and whether the streets are where the map has them."""
    pictures = draw_aerials(translator, pairs)
    baseline = None if l1 is None else draw_aerials(l1, pairs)
    rows = distance_rows(pictures, pairs, train, baseline=baseline)
    spread = {"real": mean(contrast(pairs.pictures), pairs.places)}
    if baseline is not None:
        spread["L1 only"] = mean(contrast(baseline), pairs.places)
    own = mean(contrast(pictures), pairs.places)
    rows.append(Row("map2aerial", "contrast", own, beside=spread))
    if reader is not None:
        rows.append(reading_row(reader, pictures, pairs, baseline=baseline, roads=roads))
    return [*rows, flat_row(translator, pairs, roads)]


def distance_rows(
    pictures: UInt8Array, pairs: Pairs, train: Pairs, *, baseline: UInt8Array | None
) -> list[Row]:
    """Kernel distance to the real aerials, and the share of the way from L1 only."""
    real = seen(pairs.pictures, pairs)
    found = kernel_distance(seen(pictures, pairs), real)
    means = class_means(train.pictures, train.classes, pairs.classes)
    beside = {
        "real, training places": kernel_distance(seen(train.pictures, train), real),
        "mean colour of each class": kernel_distance(seen(means, pairs), real),
    }
    rows = [Row("map2aerial", "kernel distance x 1000", found, beside=beside)]
    if baseline is not None:
        beside["L1 only"] = kernel_distance(seen(baseline, pairs), real)
        share = gap_closed(found, beside["L1 only"])
        rows.append(Row("map2aerial", "share of the distance gap closed", share, 0.65))
    return rows


def seen(pictures: UInt8Array, pairs: Pairs) -> KernelFeatures:
    """Features of the pictures of pairs."""
    return compute_features(pictures, pairs.places, valid=pairs.valid)


def reading_row(
    reader: Translator,
    pictures: UInt8Array,
    pairs: Pairs,
    *,
    baseline: UInt8Array | None,
    roads: Sequence[str],
) -> Row:
    """Road IoU of aerial2map on the pictures against the maps they were made from."""
    assert reader.spec.palette is not None
    palette = tuple((entry.name, entry.color) for entry in reader.spec.palette)

    def overlap(images: UInt8Array) -> Interval:
        maps = draw_maps(reader, images, RGB, pairs)
        return road_overlap(maps, pairs, [color for _, color in palette], roads, palette)

    beside = {"real": overlap(pairs.pictures)}
    if baseline is not None:
        beside["L1 only"] = overlap(baseline)
    return Row("map2aerial", "road IoU through aerial2map", overlap(pictures), 0.62, beside=beside)


def flat_row(translator: Translator, pairs: Pairs, roads: Sequence[str]) -> Row:
    """Repetition in pictures of a map of one class, the worst class that is no road."""
    names = [band.name for band in translator.spec.target]
    order = [names.index(name) for name in RGB]
    size = pairs.truth.shape[-1]
    found: dict[str, Interval] = {}
    used = set(np.unique(pairs.classes)) - set(pairs.named(roads))
    for index, (name, color) in enumerate(pairs.palette):
        if index not in used:
            continue
        # Nothing but the colour, for as far as the network looks.
        margin = translator.spec.halo + translator.spec.align
        patch = np.empty((3, size + 2 * margin, size + 2 * margin), np.uint8)
        patch[:] = np.array(color, np.uint8)[:, None, None]
        pictures = [
            translate(translator, patch, margin=margin, anchor=(i * FLAT_APART_PX, 0))[order]
            for i in range(N_FLAT)
        ]
        found[name] = mean(repetition(np.stack(pictures)), [str(i) for i in range(N_FLAT)])
    real = mean(repetition(pairs.pictures, valid=pairs.valid), pairs.places)
    worst = max(found, key=lambda name: found[name].value)
    beside = {"real": real, **found}
    metric = f"repetition on flat input, worst class ({worst})"
    return Row("map2aerial", metric, found[worst], 2 * real.value, "<", beside)


def palette_of(spec: TaskSpec) -> Palette | None:
    """Classes of the map a task reads or writes."""
    entries = spec.palette or spec.source_palette
    return None if entries is None else tuple((entry.name, entry.color) for entry in entries)


def cache_for(spec: TaskSpec, caches: Sequence[PatchCache]) -> PatchCache:
    """The cache whose maps are drawn as the task knows them."""
    palette = palette_of(spec)
    for cache in caches:
        if palette is None or cache.manifest.palette == palette:
            return cache
    given = ", ".join(str(cache.path) for cache in caches)
    raise UsageError(
        f"task '{spec.name}' knows the map in another style than {given}; "
        "give a cache drawn in its style with --cache"
    )


def as_json(row: Row) -> dict[str, Any]:
    """A row without its resamples."""

    def plain(score: Interval) -> dict[str, float]:
        return {name: value for name, value in asdict(score).items() if name != "draws"}

    beside = {name: plain(score) for name, score in row.beside.items()}
    bound = {"bound": row.bound, "sense": row.sense, "passes": row.passes}
    return {"task": row.task, "metric": row.metric, **plain(row.score), **bound, "beside": beside}


def as_text(row: Row) -> str:
    """A row and what stands beside it, for people."""
    bound = (
        ""
        if row.bound is None
        else f"  {row.sense} {row.bound:.3g}: {'yes' if row.passes else 'NO'}"
    )
    lines = [f"{row.task:<11} {row.metric}: {row.score}{bound}"]
    return "\n".join(lines + [f"{'':<15} {name}: {score}" for name, score in row.beside.items()])


def conclude(rows: Sequence[Row], path: Path | None, **facts: Any) -> int:
    """Print the scores, write them with some facts, and say whether all reach what they must.

    Returns:
        Exit status.
    """
    print("\n".join(as_text(row) for row in rows))
    if path is not None:
        scores = [as_json(row) for row in rows]
        report = {"version": geotrans.__version__, **facts, "scores": scores}
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0 if all(row.passes is not False for row in rows) else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", metavar="TASK[=BUNDLE]")
    parser.add_argument("--cache", nargs="+", required=True, help="patch caches")
    parser.add_argument("--l1", nargs="*", default=[], metavar="TASK=BUNDLE", help="L1-only models")
    parser.add_argument("--split", default="val")
    parser.add_argument("--year", default="2020", help="group of the pairs; 'all' for every one")
    parser.add_argument("--roads", default=",".join(ROADS), help="names of the road classes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the scores here")
    return parser.parse_args(arguments)


def load_models(
    given: Sequence[str], *, device: str, precision: str, seed: int
) -> tuple[dict[str, Translator], dict[str, str]]:
    """Translators and digests of their weights by task."""
    from geotrans.inference import Translator

    translators, digests = {}, {}
    for text in given:
        task, _, where = text.partition("=")
        if task not in ("map2aerial", "aerial2map"):
            raise UsageError(f"asked to score '{text}'; write map2aerial=FILE or aerial2map=FILE")
        bundle = open_bundle(where or task)
        translators[task] = Translator(bundle, device=device, precision=precision, seed=seed)
        digests[task] = bundle.sha256
    return translators, digests


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    caches = [PatchCache.open(path) for path in options.cache]
    roads = options.roads.split(",")
    year = None if options.year == "all" else options.year
    how = {"device": options.device, "precision": options.precision, "seed": options.seed}
    models, digests = load_models(options.bundles, **how)
    l1, l1_digests = load_models(options.l1, **how)
    rows: list[Row] = []
    for task, translator in models.items():
        cache = cache_for(translator.spec, caches)
        pairs, train = (load_pairs(cache, split, year=year) for split in (options.split, "train"))
        if task == "aerial2map":
            rows += score_aerial2map(translator, pairs, train, l1=l1.get(task), roads=roads)
        else:
            reader = models.get("aerial2map")
            rows += score_map2aerial(
                translator, pairs, train, l1=l1.get(task), reader=reader, roads=roads
            )
    return conclude(
        rows,
        options.json,
        split=options.split,
        year=options.year,
        weights_sha256=digests,
        l1_weights_sha256=l1_digests,
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GeotransError as error:
        sys.exit(f"error: {error}")
