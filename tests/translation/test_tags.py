"""What a product says about itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

from geotrans import __version__
from geotrans.product.xmp import xmp_packet
from geotrans.scene import open_scene
from geotrans.tasks import open_bundle
from geotrans.translation.options import PixelOptions, RunOptions
from geotrans.translation.plan import plan_job
from geotrans.translation.tags import product_tags
from tests.helpers.bundles import identity_bundle


def test_tags_tell_task_weights_source_and_parameters(
    make_scene: Callable[..., Path], tmp_path: Path
) -> None:
    path = make_scene(tags={"AREA_OR_POINT": "Point", "STATISTICS_MEAN": "12"})
    bundle = open_bundle(identity_bundle(tmp_path / "same.safetensors", halo=2))
    tags = product_tags(
        plan_job(open_scene(path), bundle, PixelOptions(seed=4), RunOptions(tile=32))
    )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert tags["GEOTRANS_SYNTHETIC"] == "YES"
    assert tags["GEOTRANS_VERSION"] == __version__
    assert tags["GEOTRANS_TASK"] == "same"
    assert tags["GEOTRANS_WEIGHTS_SHA256"] == bundle.sha256
    assert tags["GEOTRANS_SOURCE"] == str(path)
    assert tags["GEOTRANS_SOURCE_SHA256"] == digest
    assert tags["GEOTRANS_CREATED"].endswith("+00:00")
    assert tags["AREA_OR_POINT"] == "Point"
    assert "STATISTICS_MEAN" not in tags
    parameters = json.loads(tags["GEOTRANS_PARAMS"])
    assert parameters["seed"] == 4
    assert parameters["bands"] == {"red": 1, "green": 2, "blue": 3}
    assert parameters["window"] == [0, 0, 64, 48]
    assert parameters["precision"] == "float32"
    assert (parameters["row_edges"], parameters["col_edges"]) == ([0, 24, 48], [0, 32, 64])


def test_edges_of_tiles_are_counted_from_the_corner_of_the_product(
    make_scene: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = open_bundle(identity_bundle(tmp_path / "same.safetensors"))
    scene = open_scene(make_scene(crs="EPSG:4326"))
    west, south, east, north = scene.geobox.boundingbox
    job = plan_job(
        scene, bundle, run=RunOptions(tile=16), bbox=((west + east) / 2, south, east, north)
    )
    parameters = json.loads(product_tags(job)["GEOTRANS_PARAMS"])
    left, _, width, _ = parameters["window"]
    assert left == 32
    assert parameters["col_edges"] == [col - left for col in job.plan.col_edges]
    assert (parameters["col_edges"][0], parameters["col_edges"][-1]) == (0, width)


def test_the_packet_says_who_made_the_picture() -> None:
    root = ET.fromstring(xmp_packet())
    attributes = {k.rpartition("}")[2]: v for e in root.iter() for k, v in e.attrib.items()}
    assert attributes["DigitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert __version__ in attributes["CreatorTool"]
