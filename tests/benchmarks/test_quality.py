"""The benchmark's arithmetic, on made-up pairs and translators that know the answer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from geotrans.errors import UsageError
from geotrans.grid import Window
from geotrans.metrics.interval import Interval
from geotrans.sampling.cache import (
    Manifest,
    PatchCache,
    PatchRecord,
    SideRecord,
)
from geotrans.sampling.writing import CachedPatch, write_cache
from geotrans.tasks.spec import BandSpec, GeneratorSpec, PaletteClass, TaskSpec

SIZE, MARGIN = 128, 16
PALETTE = (("houses", (240, 170, 150)), ("street", (60, 50, 60)), ("park", (90, 210, 60)))
GROUND = np.array([[120, 110, 100], [70, 70, 75], [60, 90, 50]], np.uint8)


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "quality.py"
    found = importlib.util.spec_from_file_location("quality", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["quality"] = module  # dataclasses look their module up
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> PatchCache:
    rng = np.random.default_rng(0)
    colors = np.array([color for _, color in PALETTE], np.uint8)

    def patches(prefix: str, years: list[str]) -> list[CachedPatch]:
        found = []
        for number in range(4):
            wide = SIZE + 2 * MARGIN
            classes = rng.integers(0, 3, (wide // 16, wide // 16), dtype=np.uint8)
            classes = classes.repeat(16, 0).repeat(16, 1)
            inner = classes[MARGIN:-MARGIN, MARGIN:-MARGIN]
            for year in years:
                grain = rng.integers(-15, 16, (SIZE, SIZE, 1))
                aerial = np.clip(GROUND[inner] + grain, 0, 255).astype(np.uint8)
                record = PatchRecord(
                    name=f"{prefix}{number}_{year}",
                    place=f"{prefix}{number}",
                    group=year,
                    crs="EPSG:26911",
                    transform=(0.6, 0, 360_000.0 + 600 * number, 0, -0.6, 3_765_000.0),
                    shape=(SIZE, SIZE),
                    window=(0, 0, SIZE, SIZE),
                )
                found.append(
                    CachedPatch(
                        record,
                        source=np.moveaxis(colors[classes], -1, 0),
                        target=np.moveaxis(aerial, -1, 0),
                        valid=np.ones((SIZE, SIZE), bool),
                        classes=inner,
                    )
                )
        return found

    side = SideRecord(bands=("red", "green", "blue"), dtype="uint8")
    manifest = Manifest(source=side, target=side, margin=MARGIN, drawn="source", palette=PALETTE)
    splits = {"train": patches("t", ["2020"]), "val": patches("v", ["2018", "2020"])}
    return write_cache(tmp_path_factory.mktemp("cache") / "pairs", manifest, splits)


def spec(name: str, **more: object) -> TaskSpec:
    bands = tuple(BandSpec(name=band) for band in ("red", "green", "blue"))
    generator = GeneratorSpec(arch="identity")
    fields = {"source": bands, "target": bands, "generator": generator, "halo": 5, "align": 4}
    return TaskSpec(name=name, **{**fields, **more})


class Lookup:
    """A translator that answers by the nearest of some colours."""

    def __init__(self, task: TaskSpec, known: np.ndarray, answers: np.ndarray) -> None:
        self.spec, self.known, self.answers = task, known.astype(int), answers

    def __call__(self, data: np.ndarray, *, window: Window, anchor: tuple[int, int]) -> np.ndarray:
        assert data.shape[1:] == window.shape
        distance = ((data[None].astype(int) - self.known[:, :, None, None]) ** 2).sum(1)
        grain = np.random.default_rng(abs(anchor[0])).integers(-15, 16, data.shape[1:])
        found = np.moveaxis(self.answers[distance.argmin(0)], -1, 0)
        if self.spec.palette is None:
            found = np.clip(found + grain, 0, 255)
        return found.astype(np.uint8)


COLORS = np.array([color for _, color in PALETTE], np.uint8)
MAP_CLASSES = tuple(PaletteClass(name=name, color=color) for name, color in PALETTE)


def painter() -> Lookup:
    return Lookup(spec("map2aerial", source_palette=MAP_CLASSES), COLORS, GROUND)


def reader() -> Lookup:
    return Lookup(spec("aerial2map", palette=MAP_CLASSES), GROUND, COLORS)


def blind() -> Lookup:
    return Lookup(spec("map2aerial"), COLORS, np.full((3, 3), 90, np.uint8))


def test_pairs_of_a_year(quality: ModuleType, cache: PatchCache) -> None:
    pairs = quality.load_pairs(cache, "val", year="2020")
    assert len(pairs.places) == len(set(pairs.places)) == 4
    assert pairs.truth.shape == (4, 3, SIZE, SIZE)
    assert np.array_equal(np.moveaxis(COLORS[pairs.classes], -1, 1), pairs.truth)
    assert pairs.anchors[1][1] - pairs.anchors[0][1] == 1000
    assert len(quality.load_pairs(cache, "val", year=None).places) == 8
    with pytest.raises(UsageError, match="no pair of 1999, but of 2018, 2020"):
        quality.load_pairs(cache, "val", year="1999")


@pytest.mark.parametrize("anchor", [(0, 0), (3, 2), (-5, 7)])
@pytest.mark.parametrize("margin", [0, 3, 16])
def test_translating_a_patch_keeps_every_pixel_in_place(
    quality: ModuleType, margin: int, anchor: tuple[int, int]
) -> None:
    rng = np.random.default_rng(20)
    patch = rng.integers(0, 256, (3, 40 + 2 * margin, 54 + 2 * margin), dtype=np.uint8)

    def identity(data: np.ndarray, *, window: Window, anchor: tuple[int, int]) -> np.ndarray:
        assert (window.row_off + anchor[0]) % 4 == (window.col_off + anchor[1]) % 4 == 0
        return data

    translator = SimpleNamespace(spec=spec("identity"))
    wrapped = type("Identity", (), {"spec": translator.spec, "__call__": staticmethod(identity)})()
    found = quality.translate(wrapped, patch, margin=margin, anchor=anchor)
    assert np.array_equal(found, patch[:, margin : margin + 40, margin : margin + 54])


def test_a_reader_that_knows_scores_1(quality: ModuleType, cache: PatchCache) -> None:
    pairs, train = (quality.load_pairs(cache, split, year="2020") for split in ("val", "train"))
    rows = quality.score_aerial2map(reader(), pairs, train, l1=None, roads=["street"])
    assert [row.score.value for row in rows] == [1, 1]
    assert all(row.passes for row in rows)
    overlap, within = rows
    assert overlap.beside["one colour"].value in (0, pytest.approx((pairs.classes == 1).mean()))
    assert 0.2 < within.beside["one colour"].value < 0.5


def test_a_painter_that_knows_beats_one_that_does_not(
    quality: ModuleType, cache: PatchCache
) -> None:
    pairs, train = (quality.load_pairs(cache, split, year="2020") for split in ("val", "train"))
    rows = quality.score_map2aerial(
        painter(), pairs, train, l1=blind(), reader=reader(), roads=["street"]
    )
    found = {row.metric.split(",")[0]: row for row in rows}
    assert found["share of the distance gap closed"].score.value > 0.9
    assert found["share of the distance gap closed"].passes
    assert found["road IoU through aerial2map"].score.value == 1
    assert found["road IoU through aerial2map"].beside["real"].value == 1
    assert found["contrast"].score.value == pytest.approx(
        found["contrast"].beside["real"].value, rel=0.1
    )
    assert found["repetition on flat input"].passes
    text = "\n".join(quality.as_text(row) for row in rows)
    assert "mean colour of each class" in text
    assert "draws" not in quality.as_json(rows[0])


def test_wallpaper_fails(quality: ModuleType, cache: PatchCache) -> None:
    pairs = quality.load_pairs(cache, "val", year="2020")
    stripes = painter()

    def striped(data: np.ndarray, *, window: Window, anchor: tuple[int, int]) -> np.ndarray:
        cols = np.arange(window.col_off, window.col_end) % 16 * 10
        return np.broadcast_to(cols.astype(np.uint8), data.shape)

    wallpaper = type("Striped", (), {"spec": stripes.spec, "__call__": staticmethod(striped)})()
    row = quality.flat_row(wallpaper, pairs, ["street"])
    assert row.passes is False
    assert row.score.value > 0.9


def test_a_task_needs_a_cache_in_its_style(quality: ModuleType, cache: PatchCache) -> None:
    assert quality.cache_for(painter().spec, [cache]) is cache
    other = spec("map2aerial", source_palette=MAP_CLASSES[:2])
    with pytest.raises(UsageError, match="another style"):
        quality.cache_for(other, [cache])


def test_bounds(quality: ModuleType) -> None:
    score = Interval.from_draws(0.65, np.array([0.6, 0.7]), n=2)
    assert quality.Row("t", "m", score, 0.65).passes is True
    assert quality.Row("t", "m", score, 0.65, "<").passes is False
    assert quality.Row("t", "m", score).passes is None
