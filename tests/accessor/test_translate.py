"""The product of an array: the command's pixels, whatever its chunks, and nothing before time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from dask.utils import key_split
from hypothesis import given
from hypothesis import strategies as st

import geotrans
from geotrans.errors import BandError, DomainError, SceneError, UsageError
from geotrans.runtime.memory import resident_bytes
from geotrans.translation import lazy
from tests.helpers.bundles import identity_bundle, instance_bundle
from tests.helpers.scenes import coded
from tests.helpers.thorough import examples

# rioxarray multiplies transforms by `*`, which affine 3 is about to deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

MakeArray = Callable[..., xr.DataArray]
EXACT = {"precision": "float32", "tile": 32}

# What a file says of when and from what it was made.
OF_FILES = ("GEOTRANS_CREATED", "GEOTRANS_SOURCE", "GEOTRANS_SOURCE_SHA256")


def _as_file(product: xr.DataArray) -> xr.DataArray:
    """An array in the words that rioxarray has for a file."""
    plain = product.drop_vars("valid", errors="ignore").assign_coords(band=[1, 2, 3]).rename(None)
    plain.attrs.pop("GEOTRANS_SOURCE")
    return plain


def _from_file(path: Path) -> xr.DataArray:
    with rioxarray.open_rasterio(path) as made:
        for name in OF_FILES:
            del made.attrs[name]
        return made.load()


@pytest.mark.parametrize("nodata", [None, 5])
def test_the_product_is_the_one_that_the_command_writes(
    make_scene: Callable[..., Path], tmp_path: Path, noisy_bundle: Path, nodata: int | None
) -> None:
    invalid = np.zeros((70, 90), bool)
    invalid[10:30, 20:40] = nodata is not None
    path = make_scene(shape=(70, 90), gsd_m=0.6, nodata=nodata, invalid=invalid)
    made = geotrans.translate(path, noisy_bundle, out=tmp_path / "made.tif", **EXACT)
    with rioxarray.open_rasterio(path, chunks={"x": 41, "y": 23}) as array:
        product = array.geotrans.translate(noisy_bundle, **EXACT)
        assert isinstance(product.data, da.Array)
        xr.testing.assert_identical(_as_file(product).load(), _from_file(made.path))
        assert ("valid" in product.coords) == (nodata is not None)
        if nodata is not None:
            assert np.array_equal(product["valid"], ~invalid)


def test_a_carried_nodata_stays(make_scene: Callable[..., Path], tmp_path: Path) -> None:
    same = identity_bundle(tmp_path / "same.safetensors")
    path = make_scene(shape=(40, 60), crs="EPSG:4326", nodata=3)
    with rioxarray.open_rasterio(path) as array:
        left, bottom, right, top = array.rio.bounds()
        middle = (left + right) / 2
        product = array.geotrans.translate(same, bbox=(middle, bottom, right, top))
        assert isinstance(product.data, np.ndarray), "an array in memory is translated at once"
        assert product.rio.nodata == 3
        assert "valid" not in product.coords
        part = array.isel(x=slice(30, 60))
        assert product["x"].equals(part["x"])
        assert product.rio.transform().almost_equals(part.rio.transform(recalc=True), 1e-9)
        assert np.array_equal(product.values, part.values)


def _chunks(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Ways to cut an axis, ragged ones too."""
    cuts = st.sets(st.integers(1, n - 1), max_size=4)
    return cuts.map(lambda at: tuple(np.diff([0, *sorted(at), n]).tolist()))


@examples(12)
@given(rows=_chunks(70), cols=_chunks(90), bands=st.sampled_from([(3,), (1, 2), (1, 1, 1)]))
def test_chunks_change_nothing(
    make_array: MakeArray,
    noisy_bundle: Path,
    rows: tuple[int, ...],
    cols: tuple[int, ...],
    bands: tuple[int, ...],
) -> None:
    array = make_array(nodata=7)
    array[:, 40:60, 5:50] = 7
    at_once = array.geotrans.translate(noisy_bundle, **EXACT)
    cut = array.chunk({"band": bands, "y": rows, "x": cols})
    product = cut.geotrans.translate(noisy_bundle, **EXACT)
    xr.testing.assert_identical(product.compute(scheduler="threads"), at_once)


def test_rows_may_run_upwards(make_array: MakeArray, tmp_path: Path) -> None:
    same = identity_bundle(tmp_path / "same.safetensors", halo=9, align=4)
    array = make_array().isel(y=slice(None, None, -1))
    product = array.chunk(30).geotrans.translate(same)
    assert product["y"].equals(array["y"])
    assert product.rio.transform().e > 0
    assert np.array_equal(product.values, array.values)


def test_named_dimensions_come_in_any_order(make_array: MakeArray, noisy_bundle: Path) -> None:
    array = make_array()
    product = array.transpose("x", "band", "y").geotrans.translate(noisy_bundle, **EXACT)
    assert product.dims == ("band", "y", "x")
    xr.testing.assert_identical(product, array.geotrans.translate(noisy_bundle, **EXACT))
    other = array.rename(y="lat", x="lon").geotrans.translate(noisy_bundle, **EXACT)
    assert other.dims == ("band", "lat", "lon")
    assert np.array_equal(other.values, product.values)


@pytest.mark.parametrize("chunks", [None, {"time": 1, "y": 40}])
def test_time_is_translated_step_by_step(
    make_array: MakeArray, noisy_bundle: Path, chunks: dict[str, int] | None
) -> None:
    first = make_array(nodata=7)
    steps = [first, first.copy(data=255 - first.data), xr.full_like(first, 7)]
    times = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[ns]")
    series = xr.concat(steps, "time").assign_coords(time=times, cloud=("time", [1, 2, 3]))
    series = series if chunks is None else series.chunk(chunks)
    product = series.geotrans.translate(noisy_bundle, **EXACT)
    assert product.dims == ("time", "band", "y", "x")
    assert product["time"].equals(series["time"])
    assert product["cloud"].equals(series["cloud"])
    for i in range(2):
        alone = steps[i].geotrans.translate(noisy_bundle, **EXACT)
        assert np.array_equal(product[i].values, alone.values)
        assert np.array_equal(product["valid"][i], alone["valid"])
    assert not product["valid"][2].any()


def test_variables_are_bands(make_array: MakeArray, noisy_bundle: Path) -> None:
    array = make_array()
    dataset = array.to_dataset("band").assign(
        scl=(("y", "x"), np.zeros((70, 90), "int16")), notes=("n", [1, 2])
    )
    expected = array.geotrans.translate(noisy_bundle, **EXACT)
    product = dataset.geotrans.translate(noisy_bundle, **EXACT)
    assert list(product.data_vars) == ["red", "green", "blue"]
    assert np.array_equal(product.to_dataarray(), expected)
    assert product.rio.crs == array.rio.crs
    assert product["red"].attrs["long_name"] == "red"
    swapped = dataset.rename(red="b1", blue="b3").chunk(40)
    product = swapped.geotrans.translate(noisy_bundle, bands={"red": "b1", "blue": "b3"}, **EXACT)
    assert np.array_equal(product.to_dataarray(), expected)


@pytest.mark.parametrize("as_variables", [False, True])
def test_datasets_as_rioxarray_opens_them(
    make_scene: Callable[..., Path], noisy_bundle: Path, as_variables: bool
) -> None:
    path = make_scene(shape=(40, 50), gsd_m=0.6)
    options: dict[str, Any] = {"band_as_variable": True} if as_variables else {}
    with xr.open_dataset(path, engine="rasterio", **options) as dataset:
        product = dataset.geotrans.translate(noisy_bundle, **EXACT)
        assert list(product.data_vars) == (
            ["red", "green", "blue"] if as_variables else ["band_data"]
        )
        with rioxarray.open_rasterio(path) as array:
            expected = array.geotrans.translate(noisy_bundle, **EXACT).values
        made = product.to_dataarray() if as_variables else product["band_data"]
        assert np.array_equal(made.values, expected)


def _counted(shape: tuple[int, int], edge: int) -> tuple[xr.DataArray, list[tuple[int, int]]]:
    """A large sparse scene, and the blocks of it that were made so far."""
    made: list[tuple[int, int]] = []
    lock = threading.Lock()

    def block(block_info: Any = None) -> np.ndarray:
        where = block_info[None]
        with lock:
            made.append(where["chunk-location"][1:])
        return np.full(where["chunk-shape"], 90, "uint8")

    chunks = tuple((edge,) * (n // edge) + ((n % edge,) if n % edge else ()) for n in shape)
    data = da.map_blocks(block, chunks=((3,), *chunks), dtype="uint8")
    array = xr.DataArray(
        data,
        dims=("band", "y", "x"),
        coords={
            "band": ["red", "green", "blue"],
            "y": 4e6 - 0.6 * (np.arange(shape[0]) + 0.5),
            "x": 5e5 + 0.6 * (np.arange(shape[1]) + 0.5),
        },
    )
    made.clear()
    return array.rio.write_crs("EPSG:32611"), made


def test_a_large_scene_costs_little_until_it_is_computed(noisy_bundle: Path) -> None:
    array, made = _counted((20_000, 20_000), 1000)
    array.isel(x=slice(100), y=slice(100)).geotrans.translate(noisy_bundle)  # loads torch
    before, started = resident_bytes(), time.process_time()
    product = array.geotrans.translate(noisy_bundle, precision="float32", tile=1000)
    assert time.process_time() - started < 2
    assert resident_bytes() - before < 100e6
    assert made == []
    assert product.shape == (3, 20_000, 20_000)
    product.isel(x=slice(5200, 6200), y=slice(7200, 8200))
    assert made == []


def test_a_slice_needs_only_its_blocks(noisy_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array, made = _counted((4000, 4000), 500)
    translated = []
    translate_tile = lazy.translate_tile
    monkeypatch.setattr(
        lazy, "translate_tile",
        lambda job, tile: (translated.append((tile.row, tile.col)), translate_tile(job, tile))[1],
    )  # fmt: skip
    product = array.geotrans.translate(noisy_bundle, precision="float32", tile=500)
    rows, cols = (np.cumsum((0, *product.chunks[axis])) for axis in (1, 2))
    part = product.isel(y=slice(rows[3] + 5, rows[4] - 5), x=slice(cols[4] + 5, cols[6] - 5))
    part.compute(scheduler="threads")
    assert sorted(translated) == [(3, 4), (3, 5)]
    # Blocks that those two touch with the context they need, each made once.
    context = geotrans.open_bundle(noisy_bundle).spec.halo + 3
    touched = [
        range((edges[0] - context) // 500, (edges[1] + context - 1) // 500 + 1)
        for edges in ((rows[3], rows[4]), (cols[4], cols[6]))
    ]
    assert sorted(made) == [(row, col) for row in touched[0] for col in touched[1]]


def test_the_dashboard_names_the_task(make_array: MakeArray, noisy_bundle: Path) -> None:
    product = make_array().chunk(40).geotrans.translate(noisy_bundle, **EXACT)
    names = {key_split(key) for key in dict(product.data.__dask_graph__())}
    assert {"translate_random", "job"} <= names
    again = make_array().chunk(40).geotrans.translate(noisy_bundle, **EXACT)
    assert again.data.name == product.data.name, "the same pixels have the same keys"
    other = make_array().chunk(40).geotrans.translate(noisy_bundle, seed=2, **EXACT)
    assert other.data.name != product.data.name


@pytest.mark.parametrize("asked", [None, "exact", "tile"])
def test_statistics_of_norms_wait_for_the_first_block(
    make_array: MakeArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    path = instance_bundle(tmp_path / "instance.safetensors")
    array = make_array((90, 110))
    at_once = array.geotrans.translate(path, norm_stats=asked, **EXACT)
    settled = []
    resolve_norms = lazy.resolve_norms
    monkeypatch.setattr(
        lazy, "resolve_norms", lambda *a, **k: (settled.append(1), resolve_norms(*a, **k))[1]
    )
    product = array.chunk(50).geotrans.translate(path, norm_stats=asked, **EXACT)
    assert settled == []
    xr.testing.assert_identical(product.compute(scheduler="threads"), at_once)
    assert settled == [1] * (asked != "tile")


@pytest.mark.slow
def test_a_cluster_of_the_session_does_the_work(make_array: MakeArray, noisy_bundle: Path) -> None:
    from distributed import Client

    array = make_array()
    expected = array.geotrans.translate(noisy_bundle, **EXACT)
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
        held = array.chunk(40).persist()  # blocks that live on the workers
        product = held.geotrans.translate(noisy_bundle, **EXACT).persist()
        xr.testing.assert_identical(product.compute(), expected)
        where = client.who_has(product.data)
        assert all(where.values()), "computed by the workers"


def test_a_huge_chunk_is_cut_with_a_notice(
    make_array: MakeArray,
    noisy_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(lazy, "_MAX_BLOCK_BYTES", 10_000)
    monkeypatch.setattr(lazy, "_BLOCK_PX", 32)
    array = make_array()
    with caplog.at_level(logging.WARNING):
        product = array.chunk(-1).geotrans.translate(noisy_bundle, **EXACT)
    assert "chunks of up to 90 x 70 px" in caplog.text
    xr.testing.assert_identical(product.compute(), array.geotrans.translate(noisy_bundle, **EXACT))


def test_values_of_another_kind_are_refused_when_they_are_seen(
    make_array: MakeArray, noisy_bundle: Path
) -> None:
    array = (make_array() / 255.0).astype("float32")
    with pytest.raises(DomainError, match="any_values=True if this is meant"):
        array.geotrans.translate(noisy_bundle, **EXACT)
    product = array.chunk(40).geotrans.translate(noisy_bundle, **EXACT)
    with pytest.raises(DomainError, match="the task has seen 0 to 255"):
        product.compute(scheduler="threads")
    array.chunk(40).geotrans.translate(noisy_bundle, any_values=True, **EXACT).compute()


def test_a_task_that_does_not_fit_names_those_that_do(make_array: MakeArray) -> None:
    array = make_array()
    with pytest.raises(
        BandError, match=r"reads bands nir, .*tasks that fit this array: .*aerial2map"
    ):
        array.geotrans.translate("cir2rgb")
    with pytest.raises(DomainError, match="any_gsd=True"):
        array.assign_coords(x=array["x"] * 9, y=array["y"] * 9).geotrans.translate("aerial2map")


def test_bad_arrays_are_said(make_array: MakeArray, noisy_bundle: Path) -> None:
    array = make_array()
    for bad, said in [
        (array.astype(object), "holds object, which are no measured values"),
        (array.rename(y="a", x="b"), "rename two of them to y and x"),
        (array.isel(x=[0, 1, 2, 5, 6]), "coordinate x .* a step of 1.8 at index 3, 0.6 elsewhere"),
        (array.isel(y=[0, 1, 3, 2, 4]), "coordinate y .* not sorted: .* at index 3; sort it"),
        (array.assign_coords(x=np.full(90, np.nan)), "coordinate x .* is nan at index 0"),
        (array.assign_coords(x=np.zeros(90)), "coordinate x .* is 0 at index 0 and at index 1"),
        (array.isel(x=slice(0)), "holds nothing along x; select what the scene has"),
        (xr.full_like(array, np.nan, "float32"), "holds no valid pixel"),
    ]:
        with pytest.raises(SceneError, match=said):
            bad.geotrans.translate(noisy_bundle, any_values=True)
    with pytest.raises(BandError, match=r'3 unnamed bands; pass bands=.*"red": 1'):
        array.drop_vars("band").geotrans.translate(noisy_bundle)
    with pytest.raises(UsageError, match="not 'sead'; did you mean 'seed'"):
        array.geotrans.translate(noisy_bundle, sead=1)


def test_a_scene_without_crs_says_so(
    make_array: MakeArray, noisy_bundle: Path, caplog: pytest.LogCaptureFixture
) -> None:
    array = make_array().drop_vars("spatial_ref")
    with caplog.at_level(logging.WARNING):
        product = array.geotrans.translate(noisy_bundle, **EXACT)
    assert "no CRS" in caplog.text
    assert product.rio.crs is None


def test_pixels_that_a_task_would_not_know_to_be_invalid_are_refused(
    make_array: MakeArray, noisy_bundle: Path
) -> None:
    array = make_array()
    seen = np.ones((70, 90), bool)
    seen[:20] = False
    masked = array.assign_coords(valid=(("y", "x"), seen))
    with pytest.raises(SceneError, match="no nodata value, and a task sees only the latter"):
        masked.geotrans.translate(noisy_bundle, **EXACT)
    marked = masked.where(masked.valid, 0).rio.write_nodata(0)
    assert np.array_equal(marked.geotrans.translate(noisy_bundle, **EXACT)["valid"], seen)
    assert masked.drop_vars("valid").geotrans.translate(noisy_bundle, **EXACT).shape == (3, 70, 90)


def test_a_file_that_is_gone_is_said(make_scene: Callable[..., Path], noisy_bundle: Path) -> None:
    path = make_scene(shape=(40, 50), gsd_m=0.6)
    array = rioxarray.open_rasterio(path)
    array.close()
    path.unlink()
    with pytest.raises(SceneError, match="closed or gone: open it again"):
        array.geotrans.translate(noisy_bundle)


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_lazy_array_opens_its_closed_file_again(
    make_scene: Callable[..., Path], noisy_bundle: Path, is_gone: bool
) -> None:
    path = make_scene(shape=(40, 50), gsd_m=0.6)
    array = rioxarray.open_rasterio(path, chunks=32)
    product = array.geotrans.translate(noisy_bundle, **EXACT)
    array.close()
    if not is_gone:
        assert product.compute(scheduler="threads").shape == (3, 40, 50)
        return
    path.unlink()
    with pytest.raises(OSError, match=path.name):
        product.compute(scheduler="threads")


def test_two_tasks_at_a_time(make_array: MakeArray, noisy_bundle: Path, tmp_path: Path) -> None:
    same = identity_bundle(tmp_path / "same.safetensors")
    array = make_array().chunk(30)
    both = xr.Dataset(
        {
            "one": array.geotrans.translate(noisy_bundle, **EXACT),
            "other": array.geotrans.translate(same, **EXACT),
        }
    ).compute(scheduler="threads")
    assert np.array_equal(both["other"], coded((70, 90)))
    with rasterio.Env():
        assert both["one"].rio.crs == array.rio.crs
