"""An array as a cloud-optimised GeoTIFF: what the command would have written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from rio_cogeo import cog_validate

import geotrans
from geotrans.errors import OutputError, SceneError, UsageError
from tests.helpers.bundles import identity_bundle, random_bundle

pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

MakeArray = Callable[..., xr.DataArray]
EXACT = {"precision": "float32", "tile": 400}

# Of the moment, of where the pixels came from, and of files alone.
OTHERWISE = {"GEOTRANS_CREATED", "GEOTRANS_SOURCE", "GEOTRANS_SOURCE_SHA256"}


@pytest.mark.parametrize(
    ("chunks", "nodata"), [(None, None), (300, 5)], ids=["in memory", "lazy and masked"]
)
def test_the_file_is_the_one_that_the_command_writes(
    make_scene: Callable[..., Path],
    tmp_path: Path,
    noisy_bundle: Path,
    chunks: int | None,
    nodata: int | None,
) -> None:
    invalid = np.zeros((620, 700), bool)
    invalid[100:300, 200:400] = nodata is not None
    path = make_scene(shape=(620, 700), gsd_m=0.6, nodata=nodata, invalid=invalid)
    made = geotrans.translate(path, noisy_bundle, out=tmp_path / "made.tif", **EXACT).path
    with rioxarray.open_rasterio(path, chunks=chunks) as array:
        saved = array.geotrans.translate(noisy_bundle, **EXACT).geotrans.to_cog(
            tmp_path / "saved.tif"
        )
    assert cog_validate(saved, strict=True)[:2] == (True, [])
    with rasterio.open(made) as ours, rasterio.open(saved) as theirs:
        for what in (
            "crs", "transform", "shape", "dtypes", "nodata", "descriptions", "scales", "offsets",
            "units", "colorinterp", "mask_flag_enums",
        ):  # fmt: skip
            assert getattr(ours, what) == getattr(theirs, what), what
        assert ours.overviews(1) == theirs.overviews(1)
        assert np.array_equal(ours.read(), theirs.read())
        assert np.array_equal(ours.dataset_mask(), theirs.dataset_mask())
        tags, same = ours.tags(), theirs.tags()
        assert {k: v for k, v in tags.items() if k not in OTHERWISE} == {
            k: v for k, v in same.items() if k not in OTHERWISE and k != "OVERVIEW_RESAMPLING"
        }
        assert "GEOTRANS_CREATED" in same
        assert "trainedAlgorithmicMedia" in theirs.tags(ns="xml:XMP")["xml:XMP"]
    assert sorted(p.name for p in tmp_path.glob("*saved*")) == ["saved.tif"]


def test_classes_keep_colours_and_names(make_array: MakeArray, tmp_path: Path) -> None:
    palette = [{"name": "big road", "color": (200, 10, 20)}, {"name": "park", "color": (0, 9, 1)}]
    path = random_bundle(tmp_path / "map.safetensors", palette=palette)
    product = make_array().geotrans.translate(path, as_="classes", precision="float32")
    assert product.attrs["flag_meanings"] == "big_road park"
    with rasterio.open(product.geotrans.to_cog(tmp_path / "map.tif")) as file:
        assert file.colormap(1)[0] == (200, 10, 20, 255)
        assert np.array_equal(file.read(), product.values)
    assert "<Category>big road</Category>" in (tmp_path / "map.tif.aux.xml").read_text()


def test_any_array_can_be_saved(make_array: MakeArray, tmp_path: Path) -> None:
    array = make_array(dtype="float32", nodata=np.nan).chunk(30)
    array.attrs |= {"scale_factor": 0.5, "units": "K"}
    with rasterio.open(array.geotrans.to_cog(tmp_path / "plain.tif")) as file:
        assert np.array_equal(file.read(), array.values)
        assert np.isnan(file.nodata)
        assert file.scales == (0.5,) * 3
        assert not any(tag.startswith("GEOTRANS") for tag in file.tags())
        assert "xml:XMP" not in file.tag_namespaces()
    one = array.sel(band="green")
    with rasterio.open(one.geotrans.to_cog(tmp_path / "one.tif")) as file:
        assert file.descriptions == ("green",)


def test_what_cannot_be_saved_is_said(make_array: MakeArray, tmp_path: Path) -> None:
    array = make_array()
    path = array.geotrans.to_cog(tmp_path / "a.tif")
    with pytest.raises(OutputError, match="exists"):
        array.geotrans.to_cog(path)
    before = path.read_bytes()
    broken = array.chunk(30).map_blocks(lambda block: block / 0 if block.size else block)
    broken = xr.concat([broken] * 2, "time")
    with pytest.raises(SceneError, match=r"more than one scene along time \(2\)"):
        broken.geotrans.to_cog(path, overwrite=True)
    with pytest.raises(UsageError, match=r"must end in \.tif"):
        array.geotrans.to_cog(tmp_path / "a.png")
    with pytest.raises(UsageError, match="did you mean 'COMPRESS'"):
        array.geotrans.to_cog(path, overwrite=True, creation_options={"COMPRES": "ZSTD"})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_a_failure_leaves_nothing(make_array: MakeArray, tmp_path: Path) -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise ValueError("no pixels today")

    array = make_array().chunk(30)
    broken = array.copy(data=array.data.map_blocks(fail, dtype="uint8", meta=np.empty((0, 0, 0))))
    with pytest.raises(ValueError, match="no pixels today"):
        broken.geotrans.to_cog(tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("marked", ["nan", "nodata", "valid"])
def test_a_scene_without_a_valid_pixel_is_not_written(
    make_array: MakeArray, tmp_path: Path, lazy: bool, marked: str
) -> None:
    array = {
        "nan": lambda: xr.full_like(make_array(), np.nan, "float32"),
        "nodata": lambda: xr.full_like(make_array(nodata=7), 7),
        "valid": lambda: make_array().assign_coords(valid=(("y", "x"), np.zeros((70, 90), bool))),
    }[marked]()
    with pytest.raises(SceneError, match="scene holds no valid pixel; nothing to write"):
        (array.chunk(30) if lazy else array).geotrans.to_cog(tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


def test_a_lazy_product_without_a_valid_pixel_is_not_written(
    make_array: MakeArray, noisy_bundle: Path, tmp_path: Path
) -> None:
    array = xr.full_like(make_array(), np.nan, "float32").chunk(30)
    product = array.geotrans.translate(noisy_bundle, any_values=True)
    with pytest.raises(SceneError, match="holds no valid pixel; nothing to write"):
        product.geotrans.to_cog(tmp_path / "a.tif")
    assert list(tmp_path.iterdir()) == []


def test_what_is_saved_opens_as_it_was(make_scene: Callable[..., Path], tmp_path: Path) -> None:
    same = identity_bundle(tmp_path / "same.safetensors")
    with rioxarray.open_rasterio(make_scene(nodata=7)) as array:
        product = array.geotrans.translate(same, precision="float32")
    path = product.geotrans.to_cog(tmp_path / "same.tif")
    with rioxarray.open_rasterio(path) as again:
        named = again.load().assign_coords(band=product["band"]).rename("same")
    del named.attrs["GEOTRANS_CREATED"]
    named.attrs.pop("OVERVIEW_RESAMPLING", None)
    xr.testing.assert_identical(named, product)
