"""A scene in, a product out: exact, in place, resumed, and whole or not there at all."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo.cogeo import cog_validate

from geotrans.errors import (
    BandError,
    DeviceError,
    DomainError,
    OutputError,
    SceneError,
    TaskError,
    TilingError,
    UsageError,
)
from geotrans.parts import Parts
from geotrans.translation import writer as graph
from geotrans.translation.estimate import estimate
from geotrans.translation.translate import translate
from tests.helpers.bundles import identity_bundle, random_bundle
from tests.helpers.scenes import coded, write_scene
from tests.helpers.thorough import examples

Make = Callable[..., Path]

HOLE = np.zeros((150, 131), bool)
HOLE[20:60, 30:100] = True
HOLE[::17, ::13] = True


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one bundle with a random network, with noise and without."""
    folder = tmp_path_factory.mktemp("bundles")
    random_bundle(folder / "random.safetensors")
    random_bundle(folder / "noisy.safetensors", noise=(1, 8))
    return folder


def _open(path: Path) -> Any:
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
        return rasterio.open(path)


def _read(path: Path) -> np.ndarray[Any, Any]:
    with _open(path) as file:
        return np.asarray(file.read())


GRIDS: dict[str, dict[str, Any]] = {
    "4326": {"crs": "EPSG:4326"},
    "utm": {"crs": "EPSG:32611"},
    "rotated": {"crs": "EPSG:32611", "rotation": 17.0},
    "none": {"crs": None},
}
GAPS: dict[str, dict[str, Any]] = {
    "whole": {},
    "nodata": {"nodata": 7, "invalid": HOLE},
    "alpha": {"alpha": True, "invalid": HOLE},
    "mask": {"mask": True, "invalid": HOLE},
    "nodata-nan": {"nodata": math.nan, "invalid": HOLE},
    "nan": {"data": np.where(HOLE, np.nan, coded(HOLE.shape, dtype="float32"))},
}
WHOLE_NUMBERS = ("uint8", "uint16", "int16")


@pytest.mark.parametrize(
    ("dtype", "grid", "gaps"),
    [(d, "utm", g) for d in WHOLE_NUMBERS for g in GAPS if "nan" not in g]
    + [("float32", "utm", g) for g in GAPS]
    + [("uint16", grid, "mask") for grid in GRIDS if grid != "utm"]
    + [("float32", grid, "nodata") for grid in GRIDS if grid != "utm"],
)
def test_a_coded_scene_comes_back_bit_for_bit(
    tmp_path: Path, dtype: str, grid: str, gaps: str
) -> None:
    path = write_scene(
        tmp_path / "scene.tif", shape=HOLE.shape, dtype=dtype, **GRIDS[grid], **GAPS[gaps]
    )
    bundle = identity_bundle(tmp_path / "same.safetensors", dtype=dtype, halo=5, align=4)

    product = translate(path, task=bundle, tile=40)

    assert product.path == tmp_path / "scene_same.tif"
    with _open(path) as source, _open(product.path) as made:
        assert made.crs == source.crs
        assert made.transform == source.transform
        assert made.shape == source.shape
        assert made.dtypes == source.dtypes[:3]
        assert np.array_equal([made.nodata or 0], [source.nodata or 0], equal_nan=True)
        assert (made.nodata is None) == (source.nodata is None)
        assert made.descriptions == ("red", "green", "blue")
        valid = np.ones_like(HOLE) if gaps == "whole" else ~HOLE
        assert np.array_equal(made.read()[:, valid], source.read([1, 2, 3])[:, valid])
        assert np.array_equal(made.dataset_mask() != 0, valid)
        assert made.tags()["GEOTRANS_SYNTHETIC"] == "YES"
    with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
        assert cog_validate(product.path, strict=True, quiet=True) == (True, [], [])
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "same.safetensors",
        "scene.tif",
        "scene_same.tif",
    ]


@examples(12)
@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.integers(1, 100),
    halo=st.integers(0, 40),
    align=st.sampled_from([1, 2, 8, 16]),
    corner=st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)),
)
def test_an_identity_task_returns_the_scene_for_any_shape_tile_and_halo(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int],
    tile: int,
    halo: int,
    align: int,
    corner: tuple[int, int],
) -> None:
    folder = tmp_path_factory.mktemp("any")
    transform = Affine.translation(corner[0] * 2.0, corner[1] * 2.0) @ Affine.scale(2, -2)
    path = write_scene(folder / "scene.tif", shape=shape, transform=transform)
    bundle = identity_bundle(folder / "same.safetensors", halo=halo, align=align)
    # A tile a pixel wide makes thousands of parts: a few of them show as much.
    tile = max(tile, max(shape) // 6)
    product = translate(path, task=bundle, tile=tile)
    assert np.array_equal(_read(product.path), _read(path))


def test_tile_size_and_workers_never_change_a_pixel(tmp_path: Path, bundles: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", shape=(211, 307), gsd_m=0.6)
    products = [
        _read(translate(path, task=bundles / "noisy.safetensors", out=tmp_path / f"{i}.tif",
                        precision="float32", tile=tile, seed=3).path)
        for i, tile in enumerate((1000, 64, 100, 37))
    ]  # fmt: skip
    for other in products[1:]:
        assert np.array_equal(products[0], other)
    assert len(np.unique(products[0])) > 50
    another = translate(
        path, task=bundles / "noisy.safetensors", out=tmp_path / "seed.tif", tile=64, seed=4
    )
    assert not np.array_equal(_read(another.path), products[0])


def test_a_scene_smaller_than_a_tile_is_as_if_untiled(tmp_path: Path, bundles: Path) -> None:
    from geotrans.grid import Window, ground_anchor
    from geotrans.inference import Translator
    from geotrans.scene import open_scene, read_padded
    from geotrans.tasks import open_bundle

    path = write_scene(tmp_path / "scene.tif", shape=(61, 83), gsd_m=0.6)
    bundle = open_bundle(bundles / "random.safetensors")
    product = translate(path, task=bundle.path, precision="float32", tile=16)

    # The whole scene in one window, by hand.
    scene = open_scene(path)
    anchor = ground_anchor(scene.geobox)
    first = [-(-(bundle.spec.halo + 4) // 4) * 4 + (a % 4) for a in anchor]
    window = Window(-first[1], -first[0], 4 * 64, 4 * 64)
    patch = read_padded(scene, window, (1, 2, 3))
    made = Translator(bundle, precision="float32")(patch.data, window=window, anchor=anchor)
    rows, cols = Window.whole(scene.shape).relative_to(window).slices
    assert np.array_equal(_read(product.path), made[:, rows, cols])


@pytest.mark.parametrize("offset", [(0, 0), (13, 30), (64, 7)])
def test_a_crop_equals_the_full_run_in_its_interior(
    tmp_path: Path, bundles: Path, offset: tuple[int, int]
) -> None:
    bundle = bundles / "noisy.safetensors"
    path = write_scene(tmp_path / "scene.tif", shape=(190, 170), gsd_m=0.6)
    row, col = offset
    with rasterio.open(path) as source:
        data = source.read()[:, row : row + 120, col : col + 101]
        transform = source.transform @ Affine.translation(col, row)
    crop = write_scene(tmp_path / "crop.tif", shape=data.shape[1:], data=data, transform=transform)
    full = _read(translate(path, task=bundle, precision="float32", tile=80).path)
    part = _read(translate(crop, task=bundle, precision="float32", tile=56).path)
    from geotrans.tasks import open_bundle

    n = open_bundle(bundle).spec.halo
    inner = (slice(None), slice(n, -n), slice(n, -n))
    expected = full[:, row : row + 120, col : col + 101]
    assert part[inner].size > 0
    assert np.array_equal(part[inner], expected[inner])


def test_a_bbox_sees_the_context_beyond_it(tmp_path: Path, bundles: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", shape=(160, 150), gsd_m=0.6)
    bundle = bundles / "noisy.safetensors"
    full = _read(translate(path, task=bundle, precision="float32", tile=64).path)
    with rasterio.open(path) as source:
        from rasterio.warp import transform_bounds

        left, top = source.transform @ (40.5, 30.5)
        right, bottom = source.transform @ (99.5, 109.5)
        bbox = transform_bounds(source.crs, "EPSG:4326", left, bottom, right, top)
        expected = source.transform
    product = translate(
        path, task=bundle, precision="float32", bbox=bbox, out=tmp_path / "part.tif"
    )
    with rasterio.open(product.path) as made:
        corner = ~expected @ (made.transform.c, made.transform.f)
        col, row = round(corner[0]), round(corner[1])
        assert corner == pytest.approx((col, row), abs=1e-6)
        assert abs(col - 40) <= 1
        assert abs(row - 30) <= 1
        height, width = made.shape
        assert np.array_equal(made.read(), full[:, row : row + height, col : col + width])


def test_two_workers_make_the_same_product(tmp_path: Path, bundles: Path) -> None:
    path = write_scene(tmp_path / "scene.tif", shape=(120, 130), gsd_m=0.6, nodata=0, invalid=None)
    bundle = bundles / "noisy.safetensors"
    one = translate(path, task=bundle, precision="float32", tile=48, out=tmp_path / "1.tif")
    two = translate(
        path, task=bundle, precision="float32", tile=48, out=tmp_path / "2.tif", workers=2
    )
    assert np.array_equal(_read(one.path), _read(two.path))


def test_a_stopped_run_goes_on_where_it_stopped(
    make_scene: Make, tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_scene(shape=(130, 140), gsd_m=0.6)
    bundle = bundles / "random.safetensors"
    whole = _read(translate(path, task=bundle, tile=32, out=tmp_path / "whole.tif").path)
    made: list[tuple[int, int]] = []
    translate_tile = graph.translate_tile

    def stopping(job: Any, tile: Any) -> Any:
        if len(made) == 7:
            raise KeyboardInterrupt
        made.append((tile.row, tile.col))
        return translate_tile(job, tile)

    monkeypatch.setattr(graph, "translate_tile", stopping)
    out = tmp_path / "out.tif"
    with pytest.raises(KeyboardInterrupt, match=r"of 25 tiles are kept .* goes on from there"):
        translate(path, task=bundle, tile=32, out=out)
    assert not out.exists()
    kept = set(made)
    made.clear()
    monkeypatch.setattr(
        graph, "translate_tile", lambda job, tile: made.append((tile.row, tile.col)) or (
            translate_tile(job, tile)
        )
    )  # fmt: skip
    # Nothing said about the tile: the parts say it.
    product = translate(path, task=bundle, out=out)
    assert product.n_resumed >= 5
    assert len(made) == 25 - product.n_resumed
    assert not set(made) & (kept - {(-1, -1)}) or product.n_resumed < len(kept)
    assert np.array_equal(_read(out), whole)
    assert not Parts.beside(out).folder.exists()


def test_parts_of_another_run_are_told_and_discarded_on_request(
    make_scene: Make, tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = make_scene(shape=(90, 90), gsd_m=0.6), tmp_path / "out.tif"
    bundle = bundles / "noisy.safetensors"
    _stop_after(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        translate(path, task=bundle, tile=32, out=out, seed=1)
    monkeypatch.undo()
    with pytest.raises(OutputError, match=r"another run \(seed 1, now 2\).*overwrite=True"):
        translate(path, task=bundle, tile=32, out=out, seed=2)
    with pytest.raises(OutputError, match="weights"):
        translate(path, task=bundles / "random.safetensors", tile=32, out=out, seed=1)
    other = make_scene(shape=(90, 90), gsd_m=0.6, name="other.tif", data=coded((90, 90))[::-1])
    with pytest.raises(OutputError, match="source sha256:"):
        translate(other, task=bundle, tile=32, out=out, seed=1)
    with pytest.raises(OutputError, match="in windows of"):
        translate(path, task=bundle, tile=80, out=out, seed=1)
    product = translate(path, task=bundle, tile=32, out=out, seed=2, overwrite=True)
    assert product.n_resumed == 0
    assert not Parts.beside(out).folder.exists()


def test_overwrite_goes_on_with_parts_of_its_own(
    make_scene: Make, tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = make_scene(shape=(90, 90), gsd_m=0.6), tmp_path / "out.tif"
    bundle = bundles / "random.safetensors"
    before = translate(path, task=bundle, tile=32, out=out).path.read_bytes()
    _stop_after(4, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        translate(path, task=bundle, tile=32, out=out, overwrite=True)
    assert out.read_bytes() == before, "the old product stays until the new one is whole"
    monkeypatch.undo()
    assert translate(path, task=bundle, tile=32, out=out, overwrite=True).n_resumed > 0


def test_a_damaged_part_is_made_again(
    make_scene: Make, tmp_path: Path, bundles: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = make_scene(shape=(90, 90), gsd_m=0.6), tmp_path / "out.tif"
    bundle = bundles / "random.safetensors"
    whole = _read(translate(path, task=bundle, tile=32, out=tmp_path / "whole.tif").path)
    _stop_after(6, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        translate(path, task=bundle, tile=32, out=out)
    monkeypatch.undo()
    first, second = sorted(Parts.beside(out).folder.glob("*.tif"))[:2]
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    second.write_bytes(b"")
    translate(path, task=bundle, tile=32, out=out)
    assert np.array_equal(_read(out), whole)


def test_wholly_invalid_tiles_cost_nothing(make_scene: Make, tmp_path: Path, bundles: Path) -> None:
    from geotrans.inference import Translator

    invalid = np.ones((128, 128), bool)
    invalid[:20, :20] = False
    path = make_scene(shape=(128, 128), gsd_m=0.6, mask=True, invalid=invalid)
    calls = []
    translator = Translator.__call__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Translator, "__call__", lambda *a, **k: calls.append(1) or translator(*a, **k)
        )
        product = translate(path, task=bundles / "random.safetensors", tile=32, precision="float32")
    assert len(calls) <= 2
    with rasterio.open(product.path) as made:
        assert np.array_equal(made.dataset_mask() == 0, invalid)
        assert made.nodata is None


def test_classes_have_a_legend(make_scene: Make, tmp_path: Path) -> None:
    palette = [
        {"name": "ground", "color": (240, 240, 230)},
        {"name": "street", "color": (255, 180, 90)},
        {"name": "water & sea", "color": (120, 170, 220)},
    ]
    bundle = random_bundle(tmp_path / "classes.safetensors", palette=palette)
    path = make_scene(shape=(90, 70), gsd_m=0.6)
    product = translate(path, task=bundle, as_="classes", tile=32, precision="float32")
    colors = translate(path, task=bundle, tile=48, out=tmp_path / "rgb.tif", precision="float32")
    with rasterio.open(product.path) as made, rasterio.open(colors.path) as rgb:
        assert made.count == 1
        assert made.dtypes == ("uint8",)
        assert made.colorinterp[0].name == "palette"
        table = made.colormap(1)
        classes = made.read(1)
        assert [table[i][:3] for i in range(3)] == [one["color"] for one in palette]
        assert json.loads(made.tags()["GEOTRANS_CLASSES"])[2] == "water & sea"
        lookup = np.array([one["color"] for one in palette], np.uint8)
        assert np.array_equal(np.moveaxis(lookup[classes], -1, 0), rgb.read())
    sidecar = product.path.with_name(f"{product.path.name}.aux.xml").read_text()
    assert "<Category>water &amp; sea</Category>" in sidecar
    assert cog_validate(product.path, strict=True, quiet=True)[0]
    with pytest.raises(UsageError, match="no map"):
        translate(path, task=identity_bundle(tmp_path / "s.safetensors"), as_="classes")


def test_an_estimate_writes_nothing(make_scene: Make, tmp_path: Path, bundles: Path) -> None:
    path = make_scene(shape=(300, 200), gsd_m=0.6)
    before = sorted(tmp_path.iterdir())
    found = estimate(path, task=bundles / "random.safetensors", tile=64)
    assert sorted(tmp_path.iterdir()) == before
    assert found.n_tiles == 20
    assert found.shape == (300, 200)
    assert found.bands == {"red": 1, "green": 2, "blue": 3}
    assert found.gsd_m == pytest.approx(0.6)
    assert found.raw_bytes == 300 * 200 * 3
    assert found.memory_bytes > 10**7
    assert found.seconds > 0
    assert "red = band 1" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["window"] == list(found.window)


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_a_data_array_is_a_scene(make_scene: Make, tmp_path: Path, bundles: Path) -> None:
    import rioxarray

    path = make_scene(shape=(80, 90), gsd_m=0.6)
    bundle = bundles / "random.safetensors"
    from_file = translate(path, task=bundle, tile=32, precision="float32")
    with rioxarray.open_rasterio(path) as array:
        product = translate(
            array, task=bundle, tile=48, precision="float32", out=tmp_path / "array.tif"
        )
    assert np.array_equal(_read(product.path), _read(from_file.path))
    with rasterio.open(product.path) as one, rasterio.open(from_file.path) as other:
        assert one.crs == other.crs
        assert one.transform == other.transform


def test_previews_show_both_sides(make_scene: Make, tmp_path: Path, bundles: Path) -> None:
    path = make_scene(shape=(80, 90), gsd_m=0.6)
    product = translate(path, task=bundles / "random.safetensors", preview=True)
    assert product.preview == product.path.with_suffix(".png")
    assert product.preview is not None
    picture = _read(product.preview)
    assert picture.shape == (4, 80, 90 + 8 + 90)
    assert np.array_equal(picture[:3, :, :90], _read(path))
    assert np.array_equal(picture[:3, :, -90:], _read(product.path))
    with pytest.raises(OutputError, match="exists"):
        translate(
            path, task=bundles / "random.safetensors", preview=True,
            out=product.path.with_suffix(".tiff"),
        )  # fmt: skip


def test_a_rotated_or_unplaced_scene_is_said_so(
    make_scene: Make, bundles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    translate(make_scene(crs=None), task=bundles / "random.safetensors")
    assert "no CRS" in caplog.text
    translate(make_scene(rotation=12.0, gsd_m=0.6), task=bundles / "random.safetensors")
    assert "rotated grid" in caplog.text


class TestBadInput:
    """One clear error before any work, and nothing left behind."""

    @pytest.fixture(autouse=True)
    def _leaves_nothing(self, tmp_path: Path, bundles: Path) -> Any:
        yield
        left = [p for p in tmp_path.rglob("*") if p.name.endswith((".parts", ".tmp"))]
        assert not left

    @pytest.fixture
    def same_bundle(self, tmp_path: Path) -> Path:
        return identity_bundle(tmp_path / "same.safetensors", gsd_m=(0.5, 1.0))

    @pytest.mark.parametrize(
        ("choices", "kind", "message"),
        [
            ({"tile": 0}, TilingError, "tiles of 0 px"),
            ({"workers": 0}, UsageError, "0 workers"),
            ({"bbox": (0, 0, 1, 1)}, TilingError, "outside the scene"),
            ({"bbox": (1, 0, 0, 1)}, TilingError, "empty"),
            ({"bands": {"red": 9}}, BandError, "band 9"),
            ({"bands": {"rad": 1}}, BandError, "did you mean 'red'"),
            ({"memory": 1000}, TilingError, "too little"),
            ({"creation_options": {"COMPRES": "LZW"}}, UsageError, "did you mean 'COMPRESS'"),
            ({"creation_options": {"COMPRESS": "SQUEEZE"}}, UsageError, "SQUEEZE"),
            ({"as_": "classes"}, UsageError, "no map"),
        ],
    )
    def test_options(
        self, make_scene: Make, same_bundle: Path, choices: dict[str, Any], kind: Any, message: str
    ) -> None:
        with pytest.raises(kind, match=message):
            translate(make_scene(gsd_m=0.6), task=same_bundle, **choices)

    def test_task(self, make_scene: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        from geotrans.tasks import registry

        monkeypatch.setattr(registry, "shipped_bundles", lambda: {"map2aerial": Path("x")})
        with pytest.raises(TaskError, match="did you mean 'map2aerial'"):
            translate(make_scene(), task="map2arial")

    def test_bands(self, make_scene: Make, same_bundle: Path) -> None:
        path = make_scene(gsd_m=0.6, bands=("nir", "red", "green"))
        with pytest.raises(BandError, match="blue"):
            translate(path, task=same_bundle)

    def test_ground_sampling_distance(self, make_scene: Make, same_bundle: Path) -> None:
        path = make_scene(gsd_m=10.0)
        with pytest.raises(DomainError, match=r"10 m.*0.5 to 1 m.*any_gsd=True"):
            translate(path, task=same_bundle)
        assert translate(path, task=same_bundle, any_gsd=True).path.exists()

    def test_style(self, make_scene: Make, tmp_path: Path) -> None:
        palette = [{"name": "a", "color": (10, 10, 10)}, {"name": "b", "color": (200, 90, 40)}]
        bundle = identity_bundle(tmp_path / "styled.safetensors", source_palette=palette)
        photo = make_scene(gsd_m=0.6)
        with pytest.raises(DomainError, match=r"--style-of same.*any_style=True"):
            translate(photo, task=bundle)
        assert translate(photo, task=bundle, any_style=True).path.exists()
        drawn = np.zeros((3, 40, 40), np.uint8) + 10
        drawn[:, 10:20] = np.array([200, 90, 40], np.uint8)[:, None, None]
        own = make_scene(gsd_m=0.6, shape=(40, 40), data=drawn, name="map.tif")
        assert translate(own, task=bundle).path.exists()

    def test_values(self, make_scene: Make, tmp_path: Path) -> None:
        bundle = identity_bundle(tmp_path / "same16.safetensors", dtype="uint8")
        path = make_scene(gsd_m=0.6, dtype="uint16", shape=(150, 150))
        with pytest.raises(DomainError, match="any_values=True"):
            translate(path, task=bundle)
        assert translate(path, task=bundle, any_values=True).path.exists()

    def test_device(self, make_scene: Make, same_bundle: Path) -> None:
        import torch

        if torch.cuda.is_available():
            pytest.skip("a GPU is here")
        with pytest.raises(DeviceError):
            translate(make_scene(gsd_m=0.6), task=same_bundle, device="cuda")

    def test_sources(self, tmp_path: Path, make_scene: Make, same_bundle: Path) -> None:
        with pytest.raises(SceneError, match="no such file"):
            translate(tmp_path / "none.tif", task=same_bundle)
        whole = make_scene(gsd_m=0.6, shape=(300, 300), name="whole.tif")
        cut = tmp_path / "cut.tif"
        cut.write_bytes(whole.read_bytes()[:-20_000])
        with pytest.raises(SceneError):
            translate(cut, task=same_bundle)

    def test_nothing_valid(self, make_scene: Make, same_bundle: Path) -> None:
        path = make_scene(gsd_m=0.6, nodata=7, invalid=np.ones((48, 64), bool))
        with pytest.raises(SceneError, match="no valid pixel"):
            translate(path, task=same_bundle)
        assert not path.with_name(f"{path.stem}_same.tif").exists()

    def test_outputs(self, make_scene: Make, same_bundle: Path, tmp_path: Path) -> None:
        path = make_scene(gsd_m=0.6)
        before = path.read_bytes()
        for out, message in (
            (path, "the source itself"),
            (tmp_path / "none" / "x.tif", "does not exist"),
            (same_bundle / "x.tif", "no directory"),
        ):
            with pytest.raises(OutputError, match=message):
                translate(path, task=same_bundle, out=out)
        with pytest.raises(OutputError, match="the source itself"):
            translate(path, task=same_bundle, out=path, overwrite=True)
        with pytest.raises(UsageError, match=r"must end in \.tif"):
            translate(path, task=same_bundle, out=tmp_path / "x.png")
        assert path.read_bytes() == before
        product = translate(path, task=same_bundle, out=tmp_path)
        written = product.path.read_bytes()
        with pytest.raises(OutputError, match="overwrite=True"):
            translate(path, task=same_bundle)
        assert product.path.read_bytes() == written


def _stop_after(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C, as it were, when a tile is asked for after `n` others."""
    translate_tile = graph.translate_tile
    made = []

    def stopping(job: Any, tile: Any) -> Any:
        if len(made) == n:
            raise KeyboardInterrupt
        made.append(tile)
        return translate_tile(job, tile)

    monkeypatch.setattr(graph, "translate_tile", stopping)
