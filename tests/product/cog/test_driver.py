"""Creation options, and giving a finished file its name."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio

from geotrans.errors import OutputError, UsageError
from geotrans.parts import Layout, LayoutBand
from geotrans.product.cog.driver import cog_options, publish, write_cog
from geotrans.product.cog.encode import can_stream
from geotrans.tasks import PaletteClass
from tests.helpers.scenes import write_scene

RGB = Layout(tuple(LayoutBand(n, n) for n in ("red", "green", "blue")), "uint8")
CLASSES = Layout(
    (LayoutBand("class", "palette"),), "uint8", classes=(PaletteClass(name="a", color=(1, 2, 3)),)
)


def test_defaults_fit_pictures_and_classes() -> None:
    picture, classes = cog_options(RGB), cog_options(CLASSES)
    assert picture["BLOCKSIZE"] == "512"
    assert picture["COMPRESS"] == "DEFLATE"
    assert picture["PREDICTOR"] == "YES"
    assert picture["OVERVIEW_RESAMPLING"] == "AVERAGE"
    assert picture["BIGTIFF"] == "IF_SAFER"
    assert classes["OVERVIEW_RESAMPLING"] == "MODE"
    assert classes["PREDICTOR"] == "NO"
    assert can_stream(picture)
    assert can_stream(classes)


@pytest.mark.parametrize(
    ("asked", "followed"),
    [
        ({"compress": "zstd"}, True),
        ({"LEVEL": "9"}, True),
        ({"COMPRESS": "JPEG", "QUALITY": "80"}, False),
        ({"BLOCKSIZE": "256"}, False),
        ({"OVERVIEWS": "NONE"}, False),
        ({"COMPRESS": "LERC_DEFLATE"}, False),
    ],
)
def test_options_of_the_user_replace_them(asked: dict[str, str], followed: bool) -> None:
    options = cog_options(RGB, asked)
    assert options.items() >= {key.upper(): value for key, value in asked.items()}.items()
    assert can_stream(options) == followed


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"COMPRES": "LZW"}, "no option 'COMPRES'; did you mean 'COMPRESS'"),
        ({"TILING_SCHEME": "GoogleMapsCompatible"}, "no option 'TILING_SCHEME'"),
        ({"COMPRESS": "ZIP5"}, "ZIP5"),
        ({"BLOCKSIZE": "wide"}, "BLOCKSIZE wide"),
        ({"BLOCKSIZE": "0"}, "BLOCKSIZE 0"),
        ({"LEVEL": "high"}, "HIGH"),
    ],
)
def test_what_the_driver_does_not_know_is_told_at_once(asked: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        cog_options(RGB, asked)


def test_what_gdal_cannot_write_is_an_output_error(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "scene.tif")
    with pytest.raises(OutputError, match="cannot be written"):
        write_cog(scene, tmp_path / "none" / "out.tif", cog_options(RGB))
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(scene.read_bytes()[:-900])
    with pytest.raises(OutputError, match="cannot be written"):
        write_cog(damaged, tmp_path / "out.tif", cog_options(RGB))
    assert not list(tmp_path.glob("out.tif*"))


def test_a_product_gets_its_name_in_one_step(tmp_path: Path) -> None:
    path, whole = tmp_path / "out.tif", tmp_path / "whole.tif"
    old_names = tmp_path / "out.tif.aux.xml"
    path.write_text("old")
    old_names.write_text("old names")
    write_cog(write_scene(tmp_path / "scene.tif"), whole, cog_options(RGB))
    publish(whole, path)
    with rasterio.open(path) as product:
        assert product.count == 3
    assert not whole.exists()
    assert not old_names.exists(), "names of the product that was"
    whole.write_text("new")
    (tmp_path / "whole.tif.aux.xml").write_text("new names")
    publish(whole, path)
    assert old_names.read_text() == "new names"
    whole.write_text("new")
    with pytest.raises(OutputError, match="cannot be written"):
        publish(whole, tmp_path / "none" / "out.tif")
