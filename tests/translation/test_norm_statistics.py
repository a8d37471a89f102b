"""Statistics of the scene: decided once, the same in every tile, worker, rerun and door."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.errors import OutputError, SceneError, TilingError, UsageError
from geotrans.translation import writer as graph
from geotrans.translation.translate import translate
from tests.helpers.bundles import identity_bundle, instance_bundle, random_bundle
from tests.helpers.scenes import write_scene
from tests.helpers.thorough import slow

SHAPE = (330, 410)


@pytest.fixture(scope="module")
def instance_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with a hole, a bundle with instance norm and noise, and its product."""
    folder = tmp_path_factory.mktemp("norms")
    rng = np.random.default_rng(4)
    blocks = rng.integers(0, 255, (3, 42, 52)).astype("uint8")
    data = np.kron(blocks, np.ones((1, 8, 8), "uint8"))[:, : SHAPE[0], : SHAPE[1]]
    invalid = np.zeros(SHAPE, bool)
    invalid[30:200, 100:220] = True
    write_scene(folder / "scene.tif", shape=SHAPE, data=data, gsd_m=0.6, mask=True, invalid=invalid)
    instance_bundle(folder / "instance.safetensors", noise=(1, 8))
    _make(folder, "whole.tif", tile=1000)
    return folder


def _make(folder: Path, out: str | Path, scene: str = "scene.tif", **choices: Any) -> Path:
    choices = {"task": folder / "instance.safetensors", "precision": "float32"} | choices
    return translate(folder / scene, out=folder / out, **choices).path


def _read(path: Path) -> np.ndarray[Any, Any]:
    with rasterio.open(path) as file:
        return np.asarray(file.read())


def _stats(path: Path) -> dict[str, str]:
    with rasterio.open(path) as file:
        found: dict[str, str] = json.loads(file.tags()["GEOTRANS_NORM_STATS"])
    return found


@pytest.mark.parametrize("mode", ["scene", "exact"])
@pytest.mark.parametrize("choices", [{"tile": 64}, {"tile": 100}, slow({"tile": 48, "workers": 2})])
def test_tilings_and_workers_never_change_a_pixel(
    instance_scene: Path, tmp_path: Path, mode: str, choices: dict[str, Any]
) -> None:
    whole = instance_scene / f"whole_{mode}.tif"
    if not whole.exists():
        _make(instance_scene, whole, tile=1000, norm_stats=mode)
    made = _make(instance_scene, tmp_path / "made.tif", norm_stats=mode, **choices)
    assert np.array_equal(_read(made), _read(whole))
    assert _stats(made) == _stats(whole)
    assert _stats(made)["mode"] == mode


def test_the_scene_is_the_default_and_tiles_differ(instance_scene: Path, tmp_path: Path) -> None:
    whole, tiled = (
        instance_scene / "whole.tif",
        _make(instance_scene, tmp_path / "tiled.tif", tile=64),
    )
    assert _stats(tiled)["mode"] == "scene"
    assert np.array_equal(_read(whole), _read(tiled))
    assert _read(whole).std() > 20
    by_tile = _make(instance_scene, tmp_path / "by_tile.tif", tile=64, norm_stats="tile")
    assert (_read(by_tile) != _read(whole)).mean() > 0.3
    assert _stats(by_tile)["mode"] == "tile"


def test_a_sample_is_close_to_all_of_the_scene(instance_scene: Path, tmp_path: Path) -> None:
    """This scene is small enough that the sample is all of it, cut into windows without context."""
    exact = _make(instance_scene, tmp_path / "exact.tif", norm_stats="exact")
    difference = np.abs(_read(exact).astype(int) - _read(instance_scene / "whole.tif"))
    assert 0 < difference.mean() < 3


@pytest.mark.parametrize("reason", ["large", "memory"])
def test_a_scene_too_large_for_one_pass_gets_the_same_statistics(
    instance_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    from geotrans.inference import calibration as pooling
    from geotrans.translation import norm_statistics as calibration

    exact = _make(instance_scene, tmp_path / "exact.tif", norm_stats="exact")
    if reason == "large":
        monkeypatch.setattr(calibration, "_ONE_PASS_PX", 0)
    else:
        monkeypatch.setattr(calibration, "_pooling_bytes", lambda *_: 1e12)
    monkeypatch.setattr(pooling, "pool_together", None)
    made = _make(instance_scene, tmp_path / "made.tif", norm_stats="exact", memory=4 * 10**9)
    assert _stats(made) == _stats(exact)
    assert np.array_equal(_read(made), _read(exact))


def test_a_bbox_has_the_statistics_of_the_whole_scene(instance_scene: Path, tmp_path: Path) -> None:
    with rasterio.open(instance_scene / "scene.tif") as scene:
        from rasterio.warp import transform_bounds

        left, top = scene.transform @ (240.5, 40.5)
        right, bottom = scene.transform @ (299.5, 109.5)
        bbox = transform_bounds(scene.crs, "EPSG:4326", left, bottom, right, top)
        grid = scene.transform
    part = _make(instance_scene, tmp_path / "part.tif", bbox=bbox)
    assert _stats(part) == _stats(instance_scene / "whole.tif")
    with rasterio.open(part) as made:
        col, row = (round(v) for v in ~grid @ (made.transform.c, made.transform.f))
        height, width = made.shape
    expected = _read(instance_scene / "whole.tif")[:, row : row + height, col : col + width]
    assert np.array_equal(_read(part), expected)


@pytest.mark.parametrize("workers", [1, slow(2)])
def test_a_stopped_run_goes_on_with_the_same_statistics(
    instance_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    from geotrans.inference import calibration

    n_made, write = 0, graph.translate_tile

    def stopping(job: Any, tile: Any) -> Any:
        nonlocal n_made
        n_made += 1
        if n_made == 6:
            raise KeyboardInterrupt
        return write(job, tile)

    monkeypatch.setattr(graph, "translate_tile", stopping)
    out = tmp_path / "out.tif"
    with pytest.raises(KeyboardInterrupt, match="are kept"):
        _make(instance_scene, out, tile=96)
    monkeypatch.undo()
    with pytest.raises(OutputError, match="norm scene, now exact"):
        _make(instance_scene, out, tile=96, norm_stats="exact")

    def never(*_: Any) -> bytes:
        raise AssertionError("the statistics are already there")

    monkeypatch.setattr(calibration, "pool_together", never)
    _make(instance_scene, out, workers=workers)
    assert np.array_equal(_read(out), _read(instance_scene / "whole.tif"))
    assert _stats(out) == _stats(instance_scene / "whole.tif")


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_the_xarray_door_gives_the_same_pixels(instance_scene: Path, tmp_path: Path) -> None:
    import rioxarray

    import geotrans.accessor  # noqa: F401  registers `.geotrans`

    with rasterio.open(instance_scene / "scene.tif") as scene:
        data = scene.read()
    path = write_scene(tmp_path / "plain.tif", shape=SHAPE, data=data, gsd_m=0.6)
    from_file = _make(instance_scene, tmp_path / "made.tif", str(path))
    with rioxarray.open_rasterio(path) as array:
        product = array.geotrans.translate(
            task=instance_scene / "instance.safetensors", precision="float32", tile=128
        )
        assert np.array_equal(product.values, _read(from_file))


def test_neighbours_may_share_statistics(instance_scene: Path, tmp_path: Path) -> None:
    whole = instance_scene / "whole.tif"
    with rasterio.open(instance_scene / "scene.tif") as scene:
        data = scene.read()[:, :, 240:400]
        transform = scene.transform @ rasterio.Affine.translation(240, 0)
    write_scene(
        tmp_path / "east.tif", shape=data.shape[1:], data=data, gsd_m=0.6, transform=transform
    )
    shared = _make(
        instance_scene, tmp_path / "shared.tif", str(tmp_path / "east.tif"), norm_stats=whole
    )
    assert _stats(shared) == _stats(whole)
    inner = np.s_[:, 60:-60, 60:-60]
    assert np.array_equal(_read(shared)[inner], _read(whole)[:, :, 240:400][inner])
    own = _make(instance_scene, tmp_path / "own.tif", str(tmp_path / "east.tif"))
    assert not np.array_equal(_read(own)[inner], _read(shared)[inner])


def test_what_is_invalid_does_not_count(instance_scene: Path, tmp_path: Path) -> None:
    """Other values under the mask change nothing, though far more of them than valid ones."""
    rng = np.random.default_rng(0)
    invalid = np.ones((200, 300), bool)
    invalid[120:190, 20:80] = False
    data = rng.integers(100, 200, (3, *invalid.shape)).astype("uint8")
    made = []
    for name, value in (("dark", 0), ("light", 255)):
        data[:, invalid] = value
        scene = write_scene(
            tmp_path / f"{name}.tif", shape=invalid.shape, data=data, gsd_m=0.6, mask=True,
            invalid=invalid,
        )  # fmt: skip
        made.append(_make(instance_scene, tmp_path / f"{name}_made.tif", str(scene)))
    assert _stats(made[0]) == _stats(made[1])
    assert np.array_equal(_read(made[0])[:, ~invalid], _read(made[1])[:, ~invalid])


def test_batch_norms_may_be_calibrated_too(tmp_path: Path, instance_scene: Path) -> None:
    """As pix2pix is tested: with statistics of the test image instead of those learned."""
    bundle = instance_bundle(tmp_path / "batch.safetensors", norm="batch")
    learned = _make(instance_scene, tmp_path / "learned.tif", task=bundle)
    with rasterio.open(learned) as file:
        assert "GEOTRANS_NORM_STATS" not in file.tags()
    ones = [
        _make(instance_scene, tmp_path / f"{tile}.tif", task=bundle, norm_stats="scene", tile=tile)
        for tile in (64, 1000)
    ]
    assert np.array_equal(_read(ones[0]), _read(ones[1]))
    assert (_read(ones[0]) != _read(learned)).mean() > 0.3


def test_what_cannot_be_meant_is_told(instance_scene: Path, tmp_path: Path) -> None:
    same = identity_bundle(tmp_path / "same.safetensors")
    with pytest.raises(UsageError, match="has no norms; leave out norm_stats"):
        _make(instance_scene, tmp_path / "x.tif", task=same, norm_stats="scene")
    with pytest.raises(UsageError, match=r"norm_stats=.scen. is neither .* did you mean 'scene'\?"):
        _make(instance_scene, tmp_path / "x.tif", norm_stats="scen")
    with pytest.raises(UsageError, match="holds no statistics of norms"):
        _make(instance_scene, tmp_path / "x.tif", norm_stats=instance_scene / "scene.tif")
    other = random_bundle(tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match="made by other weights"):
        _make(
            instance_scene, tmp_path / "x.tif", task=other, norm_stats=instance_scene / "whole.tif"
        )
    with pytest.raises(TilingError, match="is too little to take the statistics"):
        _make(instance_scene, tmp_path / "x.tif", memory=10**6)
    nothing = write_scene(
        tmp_path / "nothing.tif", shape=(40, 50), gsd_m=0.6, mask=True,
        invalid=np.ones((40, 50), bool),
    )  # fmt: skip
    for mode in ("scene", "exact"):
        with pytest.raises(SceneError, match="no valid pixel"):
            _make(instance_scene, tmp_path / "x.tif", str(nothing), norm_stats=mode)
