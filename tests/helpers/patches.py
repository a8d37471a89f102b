"""Small patch caches and training configurations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.runtime.config import validate_section
from geotrans.sampling.cache import Manifest, PatchCache, PatchRecord, SideRecord
from geotrans.sampling.writing import CachedPatch, CachedWindow, write_cache
from geotrans.training.config import TrainConfig

PALETTE = (("yard", (30, 160, 60)), ("road", (250, 250, 250)), ("house", (200, 40, 30)))
RGB = ("red", "green", "blue")

# A network and a critic of a few hundred weights; a step takes milliseconds.
BASE: dict[str, Any] = {
    "task": {"name": "toy"},
    "data": {"splits": {"train": "a", "val": "b"}, "source": {}, "target": {}},
    "generator": {
        "arch": "unet",
        "args": {"depth": 2, "width": 6, "max_width": 8, "head_width": 6},
    },
    "critic": {"width": 4, "layers": 2},
    "loss": {"gan": 1, "l1": 10},
    "training": {
        "batch": 2,
        "crop": 32,
        "steps": 4,
        "evaluate_every": 2,
        "accelerator": "cpu",
        "precision": "32-true",
    },
}


def toy_config(
    changes: Mapping[str, Any] | None = None, *, without: Sequence[str] = (), **overrides: Any
) -> TrainConfig:
    """A small run.

    Args:
        changes: Sections whose values win over the small run's.
        without: Sections of the small run to leave out, such as its losses.
        overrides: The same as `changes`, as `loss={"gan": 0}` or `loss__gan=0`.
    """
    content = {key: dict(value) for key, value in BASE.items() if key not in without}
    for key, value in {**(changes or {}), **overrides}.items():
        section, _, name = key.partition("__")
        content.setdefault(section, {}).update({name: value} if name else value)
    return validate_section(TrainConfig, content, where="toy")


def drawing(rng: np.random.Generator, size: int) -> npt.NDArray[np.uint8]:
    """Classes `(size, size)` of some houses and one street on a lawn."""
    classes = np.zeros((size, size), np.uint8)
    for row, col in rng.integers(0, size - 8, (6, 2)):
        classes[row : row + 8, col : col + 8] = 2
    street = int(rng.integers(4, size - 8))
    classes[street : street + 5] = 1
    return classes


def toy_cache(
    folder: Path,
    *,
    drawn: str | None = "source",
    margin: int = 0,
    size: int = 48,
    n: int = 3,
    groups: Sequence[str] = ("2020",),
    splits: Iterable[str] = ("train", "val"),
    dtype: str = "uint8",
    target: Sequence[str] = RGB,
) -> PatchCache:
    """A town drawn as a map, and an aerial of it that the map tells of.

    Args:
        folder: Where the cache is made.
        drawn: Side that is the map.
        margin: Map beyond each side of a patch, px.
        size: Edge of a patch, px.
        n: Patches a split and group.
        groups: Years.
        splits: Names of the splits.
        dtype: Type of the aerial.
        target: Bands of the aerial, as far as it is the target.
    """
    colors = np.array([color for _, color in PALETTE], np.uint8)

    def patch(split: str, i: int, group: str) -> CachedPatch:
        rng = np.random.default_rng([i, *map(ord, split), *map(ord, group)])
        classes = drawing(rng, size + 2 * margin)
        picture = np.moveaxis(colors[classes], -1, 0)
        inner = classes[margin : margin + size, margin : margin + size]
        bands = len(target) if drawn != "target" else 3
        aerial = rng.normal(60 * inner + 40, 8, (bands, size, size)).clip(0, 255)
        aerial = (aerial * (16 if dtype != "uint8" else 1)).astype(dtype)
        valid = np.ones((size, size), bool)
        valid[:2, :3] = False
        record = PatchRecord(
            name=f"{split}_{group}_{i}",
            place=f"{split}{i}",
            group=group,
            crs="EPSG:32611",
            transform=(0.6, 0.0, 0.0, 0.0, -0.6, 0.0),
            shape=(size, size),
            window=(0, 0, size, size),
        )
        cut = picture[:, margin : margin + size, margin : margin + size]
        sides = {"source": (picture, aerial), "target": (aerial, picture), None: (cut, aerial)}
        return CachedPatch(record, *sides[drawn], valid, inner if drawn else None)

    def side(name: str) -> SideRecord:
        is_aerial = (name == "source") == (drawn == "target")
        bands = RGB if not is_aerial or drawn == "target" else tuple(target)
        return SideRecord(bands=bands, dtype=dtype if is_aerial else "uint8")

    manifest = Manifest(
        source=side("source"),
        target=side("target"),
        gsd_m=(0.6, 0.6),
        margin=margin if drawn else 0,
        drawn=drawn,
        palette=PALETTE if drawn else None,
        style={"name": "toy"} if drawn else None,
    )
    patches = {s: [patch(s, i, g) for g in groups for i in range(n)] for s in splits}
    return write_cache(folder, manifest, patches, overwrite=True)


CIR = ("nir", "red", "green")


def toy_domains(
    folder: Path,
    *,
    source: Sequence[str] = CIR,
    target: Sequence[str] = RGB,
    n: tuple[int, int] = (4, 3),
    size: int = 48,
    paired: bool = True,
) -> PatchCache:
    """Two domains of towns that have nothing in common, and two held-out towns.

    Blue follows from the other bands, so that there is something to learn.

    Args:
        folder: Where the cache is made.
        source: Bands of the source, of nir, red, green and blue.
        target: The same of the target.
        n: Patches of the source and of the target.
        size: Edge of a patch, px.
        paired: Whether what is held out is seen by both sides, or two domains as well.
    """
    order = ("nir", "red", "green", "blue")

    def values(split: str, i: int, bands: Sequence[str]) -> npt.NDArray[np.uint8]:
        rng = np.random.default_rng([i, *map(ord, split)])
        levels = np.array([[200, 60, 90], [90, 180, 120], [60, 170, 100]])  # a row a class
        infrared = levels[drawing(rng, size)].transpose(2, 0, 1) + rng.normal(0, 6, (3, size, size))
        blue = 0.3 * infrared[1] + 0.6 * infrared[2] - 0.1 * infrared[0] + 20
        every = np.concatenate([infrared, blue[None]]).clip(0, 255).astype(np.uint8)
        return every[[order.index(name) for name in bands]]

    def record(split: str, i: int) -> PatchRecord:
        return PatchRecord(
            name=f"{split}_{i}", place=f"{split}{i}", crs="EPSG:32611",
            transform=(0.6, 0.0, 0.0, 0.0, -0.6, 0.0), shape=(size, size),
            window=(0, 0, size, size),
        )  # fmt: skip

    def domain(split: str, count: int, bands: Sequence[str]) -> list[CachedWindow]:
        valid = np.ones((size, size), bool)
        valid[:2, :3] = False
        return [
            CachedWindow(record(split, i), values(split, i, bands), valid) for i in range(count)
        ]

    manifest = Manifest(
        source=SideRecord(bands=tuple(source), dtype="uint8"),
        target=SideRecord(bands=tuple(target), dtype="uint8"),
        gsd_m=(0.6, 0.6),
    )
    unpaired = {"train": (domain("one", n[0], source), domain("other", n[1], target))}
    whole = np.ones((size, size), bool)
    pairs = {
        "val": [
            CachedPatch(record("val", i), values("val", i, source), values("val", i, target), whole)
            for i in range(2)
        ]
    }
    if not paired:
        unpaired["val"] = (domain("val_one", 3, source), domain("val_other", 2, target))
        pairs = {}
    return write_cache(folder, manifest, pairs, unpaired=unpaired, overwrite=True)


def toy_data(folder: Path, write: Callable[..., Path], *, places: int = 3) -> dict[str, Any]:
    """Aerials of some places on disk, and the `data:` section that pairs infrared and colour.

    Args:
        folder: Data root.
        write: `make_scene`, whose names start from there.
        places: How many train; two more are held out.
    """
    for split, columns in (("train", range(places)), ("val", range(places, places + 2))):
        (folder / split).mkdir()
        for col in columns:
            write(
                name=f"{split}/town_{col}.tif",
                bands=("red", "green", "blue", "nir"),
                shape=(48, 48),
                gsd_m=0.6,
                origin=(400_000.0 + 400 * col, 3_800_000.0),
            )
    return {
        "root": str(folder),
        "cache": str(folder / "cache"),
        "splits": {"train": "train", "val": "val"},
        "source": {"bands": ["nir"]},
        "target": {"bands": ["red", "green", "blue"]},
        "place": r"_(\d+)$",
    }
