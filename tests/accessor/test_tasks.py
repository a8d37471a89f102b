"""Which tasks fit an array, and small pictures of it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

from geotrans.errors import SceneError

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning",  # a picture lies nowhere
)

MakeArray = Callable[..., xr.DataArray]


def _lazy(array: xr.DataArray) -> xr.DataArray:
    """The same, but nobody may look at its values."""

    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("a pixel was read")

    lazy = array.chunk(30)
    return lazy.copy(data=lazy.data.map_blocks(fail, dtype=array.dtype, meta=np.empty((0, 0, 0))))


@pytest.mark.parametrize(
    "changed",
    [
        lambda array: array,
        lambda array: array.to_dataset("band"),
        lambda array: array.expand_dims(time=[1, 2]),
        lambda array: array.to_dataset("band").assign(scl=(("y", "x"), np.zeros((70, 90), int))),
    ],
    ids=["array", "dataset", "series", "other types"],
)
def test_tasks_fit_by_bands_and_pixel_size(make_array: MakeArray, changed: Any) -> None:
    fits = {fit.name: fit for fit in changed(_lazy(make_array())).geotrans.tasks()}
    assert fits["aerial2map"].fits
    assert fits["map2aerial"].fits
    assert fits["cir2rgb"].reason.endswith("it lacks nir") or "nir" in fits["cir2rgb"].reason
    assert "has pixels of 0.6 m, and task 'summer2winter' has seen" in fits["summer2winter"].reason
    assert "resample" not in fits["summer2winter"].reason


def test_tasks_are_a_table(make_array: MakeArray) -> None:
    tasks = make_array().geotrans.tasks()
    assert len(tasks) >= 5
    assert [fit.fits for fit in tasks] == sorted((fit.fits for fit in tasks), reverse=True)
    assert "aerial2map        fits" in repr(tasks)
    assert "<td" in tasks._repr_html_()
    strange = make_array().assign_coords(band=["<script>", "b", "c"]).geotrans.tasks()
    assert "<script>" not in strange._repr_html_()
    assert "&lt;script&gt;" in strange._repr_html_()


def test_a_preview_shows_colours_and_gaps(make_array: MakeArray, tmp_path: Path) -> None:
    array = make_array(nodata=7)
    array[:, :10] = 7
    picture = array.geotrans.preview(max_px=45)
    assert picture.pixels.shape == (4, 35, 45)
    assert not picture.pixels[3, :5].any()
    with rasterio.open(picture.save(tmp_path / "a.png")) as png:
        assert np.array_equal(png.read(), picture.pixels)
    assert picture._repr_png_() == (tmp_path / "a.png").read_bytes()
    with rasterio.open(io.BytesIO(picture._repr_png_())) as png:
        assert png.count == 4
    with pytest.raises(SceneError, match="select one of each"):
        array.expand_dims(time=[1, 2]).geotrans.preview()


def test_what_is_compared_is_stretched_alike(make_array: MakeArray) -> None:
    array = make_array().astype("float32")
    both = array.geotrans.compare(array * 0.5, array.to_dataset("band"), max_px=90).pixels
    left, middle, right = both[:3, :, :90], both[:3, :, 98:188], both[:3, :, 196:]
    assert np.array_equal(left, right)
    assert np.array_equal(left, array.geotrans.preview().pixels[:3]) is False
    assert middle.mean() < 0.6 * left.mean()
