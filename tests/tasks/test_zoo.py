"""Shipped weights do on held-out ground what their cards say, without the benchmarks' cost."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from geotrans.grid import Window
from geotrans.labelling.label import label
from geotrans.metrics.mapping import class_iou, road_iou
from geotrans.scene import open_scene, pair
from geotrans.tasks import shipped_bundles
from geotrans.translation.translate import translate


def _shipped(task: str) -> str:
    if task not in shipped_bundles():
        pytest.skip(f"no shipped weights of {task}")
    return task


@pytest.mark.slow
@pytest.mark.realdata
def test_landcover2aerial_shows_the_classes_it_was_given(data_dir: Path, tmp_path: Path) -> None:
    found, given = [], []
    for name in ("bishop_2020_0", "eureka_2020_6"):
        labels = label(data_dir / "naip" / "val" / f"{name}.tif", tmp_path / f"{name}.tif")
        made = translate(labels, task=_shipped("landcover2aerial"), out=tmp_path / "made.tif",
                         overwrite=True)  # fmt: skip
        again = label(made.path, tmp_path / "again.tif", overwrite=True)
        for path, stack in ((labels, given), (again, found)):
            with rasterio.open(path) as file:
                stack.append(file.read(1))
        with rasterio.open(made.path) as file:
            assert file.descriptions == ("red", "green", "blue", "nir")
    iou = class_iou(np.stack(found), np.stack(given), n_classes=9)
    # Trees, grass and what is paved are most of both places.
    assert iou[[0, 1, 6]].min() > 0.5


@pytest.mark.slow
@pytest.mark.realdata
def test_summer2winter_snows_where_it_does(data_dir: Path, tmp_path: Path) -> None:
    task, bbox = _shipped("summer2winter"), (60.0, 45.0, 95.0, 75.0)
    with (
        open_scene(data_dir / "global" / "blue_marble.tif") as summer,
        open_scene(data_dir / "global" / "blue_marble_snow.tif") as winter,
    ):
        product = translate(summer, task=task, out=tmp_path / "made.tif", bbox=bbox)
        with open_scene(product.path) as made:
            both = pair(summer, winter, geobox=made.geobox).read(Window.whole(made.shape))
            snowy = made.read(Window.whole(made.shape)).data

    def snow(x: np.ndarray) -> np.ndarray:
        return ((x.min(0) >= 150) & (np.ptp(x, axis=0) <= 40)).astype(np.uint8)

    truth = snow(both.target.data)
    assert road_iou(snow(snowy), truth, [1]) > max(
        0.6, road_iou(snow(both.source.data), truth, [1])
    )
