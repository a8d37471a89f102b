"""An array against the truth: the scores of the metrics, whatever the chunks and the grid."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rioxarray  # noqa: F401  registers the `.rio` accessor
import xarray as xr

from geotrans.accessor import DataArrayAccessor
from geotrans.errors import BandError, DomainError, SceneError, UsageError
from geotrans.evaluation import write_evaluation
from geotrans.metrics.image import psnr, ssim
from geotrans.metrics.seams import seam_ratio
from geotrans.metrics.spectral import ergas, sam
from tests.helpers.places import towns

# rioxarray multiplies transforms by `*`, which affine 3 is about to deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

MakeArray = Callable[..., xr.DataArray]
# 96 x 128 px in four squares.
CUT = {"square": 60}
SQUARES = [(slice(r, r + 48), slice(c, c + 64)) for r in (0, 48) for c in (0, 64)]


@pytest.fixture
def truth(make_array: MakeArray) -> xr.DataArray:
    """Two bands, so that no colours are looked at."""
    array = make_array((96, 128)).isel(band=[0, 1])
    return array.copy(data=towns(1, bands=2, size=128)[0, :, :96])


def _noisy(truth: xr.DataArray, sigma: float = 6) -> xr.DataArray:
    noise = np.random.default_rng(1).normal(0, sigma, truth.shape)
    return truth.copy(data=(truth.data + noise).clip(0, 255).astype("uint8")).rename("made")


def _stack(array: xr.DataArray) -> np.ndarray:
    return np.stack([array.values[(..., *square)] for square in SQUARES])


@pytest.mark.parametrize("chunks", [None, 37], ids=["in memory", "lazy"])
def test_scores_are_those_of_the_metrics(truth: xr.DataArray, chunks: int | None) -> None:
    made = _noisy(truth)
    invalid = np.zeros((96, 128), bool)
    invalid[:20, 30:50] = True
    marked = truth.where(~invalid, 7).astype("uint8").rio.write_nodata(7)
    masked = made.assign_coords(valid=(("y", "x"), np.arange(96)[:, None] + np.zeros(128) > 9))
    pair = [one if chunks is None else one.chunk(chunks) for one in (masked, marked)]
    found = pair[0].geotrans.evaluate(pair[1], **CUT)
    usable = (marked.values != 7).all(0) & masked["valid"].values
    valid = np.stack([usable[square] for square in SQUARES])
    images, target = _stack(made), _stack(marked)
    for name, metric in {"psnr": psnr, "ssim": ssim, "sam": sam, "ergas": ergas}.items():
        np.testing.assert_allclose(
            found.scores[name].each, metric(images, target, valid=valid), err_msg=name
        )
    error = ((made.values.astype(float) - marked) ** 2).values.mean(0)[usable].mean()
    assert found.scores["psnr"].interval.value == pytest.approx(20 * np.log10(255 / error**0.5))
    assert found.scores["psnr"].interval.n == 4
    table = found.table()
    assert table.crs == truth.rio.crs
    assert table.total_bounds == pytest.approx(truth.rio.bounds())
    assert "PSNR, dB" in found._repr_html_()
    assert "seam_ratio" not in found.scores, "no product, so no tiles"


def test_another_grid_is_brought_to_that_of_the_truth(truth: xr.DataArray) -> None:
    fine = xr.DataArray(
        da.from_array(np.kron(truth.values, np.ones((1, 3, 3), "uint8")), chunks=(2, 40, 40)),
        dims=("band", "y", "x"),
        coords={
            "band": ["red", "green"],
            "y": 4e6 - 0.2 * (np.arange(288) + 0.5),
            "x": 5e5 + 0.2 * (np.arange(384) + 0.5),
        },
    ).rio.write_crs("EPSG:32611")
    asked = []
    counted = fine.copy(data=fine.data.map_blocks(lambda b: (asked.append(b.shape), b)[1]))
    part = truth[:, 24:72, 32:64]
    asked.clear()
    for resampling in ("nearest", "average"):
        found = counted.geotrans.evaluate(part, square=48, resampling=resampling)
        assert found.places.valid.all()
        assert found.scores["psnr"].interval.value == np.inf, resampling
    assert 0 < len(asked) <= 2 * 5 * 5, "of 80 blocks, those that lie there"
    turned = fine.rio.reproject("EPSG:4326").chunk(100).geotrans.evaluate(part, square=48)
    assert turned.scores["ssim"].interval.value > 0.9


def test_classes_are_compared_by_name(make_array: MakeArray) -> None:
    def classes(values: np.ndarray, names: dict[str, str]) -> xr.DataArray:
        array = make_array((64, 64)).isel(band=[0])
        array = array.assign_coords(band=["class"]).copy(data=values[None].astype("uint8"))
        return array.assign_attrs(
            GEOTRANS_CLASSES=json.dumps([*names]), flag_values=list(range(len(names))),
            flag_colors=" ".join(names.values()),
        )  # fmt: skip

    true = np.zeros((64, 64), int)
    true[:, 32:] = 1
    true[:4] = 9  # no class at all
    target = classes(true, {"road": "#ff0000", "park": "#00ff00"})
    values = np.where(true == 1, 0, 1)
    values[:, 24:32] = 0  # road taken for park
    made = classes(values, {"park": "#0000ff", "road": "#111111"}).rename("made")
    scores = made.geotrans.evaluate(target, square=64).scores
    assert scores["iou_road"].interval.value == pytest.approx(24 / 32)
    assert scores["iou_park"].interval.value == pytest.approx(32 / 40)
    assert scores["mean_iou"].interval.value == pytest.approx((24 / 32 + 32 / 40) / 2)
    assert scores["accuracy"].interval.value == scores["within_16"].interval.value == 56 / 64
    plain = [one.assign_attrs(flag_values=None, flag_colors=None) for one in (made, target)]
    scores = plain[0].geotrans.evaluate(plain[1], square=64).scores
    assert scores["iou_road"].interval.value == pytest.approx(24 / 32)
    assert "within_16" not in scores, "nobody gave them colours"
    other = classes(values, {"park": "#0000ff", "lake": "#111111"})
    with pytest.raises(DomainError, match=r"has the classes lake, .* has road, park; call them"):
        other.geotrans.evaluate(target)


def test_a_drawn_map_says_its_classes(make_array: MakeArray) -> None:
    colors = {"road": [200, 40, 40], "park": [40, 200, 40]}
    target = make_array((64, 64)).assign_attrs(GEOTRANS_PALETTE=json.dumps(colors))
    target[:] = np.array(colors["park"])[:, None, None]
    target[:, :, :16] = np.array(colors["road"])[:, None, None]
    made = target.copy(data=(target.data + 9).astype("uint8")).rename("made")
    made[:, :, 16:24] = np.array(colors["road"])[:, None, None]
    scores = made.geotrans.evaluate(target, square=64).scores
    assert "psnr" not in scores
    assert scores["within_16"].interval.value == 56 / 64
    assert scores["iou_road"].interval.value == pytest.approx(16 / 24)


def test_seams_are_looked_for_along_the_chunks_of_a_lazy_product(truth: xr.DataArray) -> None:
    made = _noisy(truth, 2).assign_attrs(GEOTRANS_TASK="same")
    made[:, 40:, :] += 9
    found = made.chunk(x=64, y=40).geotrans.evaluate(truth, square=40)
    edges = {"row_edges": [0, 40, 80], "col_edges": [0, 64]}
    expected = seam_ratio(made.values, **edges)
    assert expected > 1.2
    assert found.scores["seam_ratio"].interval.value == pytest.approx(expected)
    assert found.beside["truth"]["seam_ratio"].interval.value == pytest.approx(
        seam_ratio(truth.values, **edges)
    )
    assert "seam_ratio" not in made.geotrans.evaluate(truth, square=40).scores


def test_scores_can_be_written(truth: xr.DataArray, tmp_path: Path) -> None:
    found = _noisy(truth).to_dataset("band").geotrans.evaluate(truth.to_dataset("band"), **CUT)
    page = write_evaluation(found, tmp_path / "scores").read_text()
    assert "square by square" in page
    assert '"truth"' in page
    assert '"source"' not in page, "of an array nobody knows what it was made from"
    told = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert told["scores"]["psnr"]["value"] == found.scores["psnr"].interval.value


def test_arrays_without_coordinates_lie_where_their_transform_says(truth: xr.DataArray) -> None:
    bare = _noisy(truth).drop_vars(["x", "y"]).rio.write_transform(truth.rio.transform())
    found = bare.geotrans.evaluate(truth[:, 20:80, 30:110], square=100)
    assert found.scores["psnr"].interval.value > 30
    np.testing.assert_array_equal(found.products[0], bare.values[:, 20:80, 30:110])


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda a: a.assign_coords(x=a["x"] + 1e5), SceneError, "do not overlap"),
        (lambda a: a.astype("float32"), BandError, "stores uint8, the truth float32"),
        (lambda a: a.assign_coords(band=["nir", "green"]), BandError, "has nir, green; name them"),
        (lambda a: a.drop_vars("spatial_ref"), SceneError, "no CRS"),
        (lambda a: a.rio.write_nodata(0) * np.uint8(0), SceneError, "no pixel of made is valid"),
        (lambda a: a.expand_dims(time=[1, 2]), SceneError, r"along time \(2\); select one"),
        (lambda a: a.astype(object), SceneError, "holds object"),
    ],
)
def test_what_cannot_be_compared_is_said(
    truth: xr.DataArray, change: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        _noisy(truth).geotrans.evaluate(change(truth), **CUT)


def test_options_that_cannot_be_meant_are_said(truth: xr.DataArray) -> None:
    made = _noisy(truth)
    with pytest.raises(UsageError, match="squares of 3 px; they must have 16 or more"):
        made.geotrans.evaluate(truth, square=3)
    with pytest.raises(UsageError, match="did you mean 'nearest'"):
        made.geotrans.evaluate(truth, resampling="neerest")
    with pytest.raises(BandError, match="not all of which have a name"):
        made.drop_vars("band").geotrans.evaluate(truth, **CUT)


@pytest.mark.slow
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    examples = doctest.DocTestFinder(recurse=False).find(DataArrayAccessor.evaluate, globs={})
    assert examples[0].examples
    assert doctest.DocTestRunner().run(examples[0]).failed == 0, capsys.readouterr().out
