import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from geotrans.errors import SamplingError, SceneError
from geotrans.grid import make_geobox
from geotrans.sampling.regions import Regions
from geotrans.sampling.splits import (
    Footprint,
    block_regions,
    box_regions,
    check_disjoint,
    polygon_regions,
)

UTM = "EPSG:32611"
LONLAT = "EPSG:4326"


def _grid(*, col=0.0, row=0.0, shape=(60, 80), gsd=10.0, crs=UTM) -> GeoBox:
    transform = Affine(gsd, 0, 400_000 + col * gsd, 0, -gsd, 3_800_000 - row * gsd)
    return make_geobox(shape, transform, crs)


def _lonlat_grid(geobox: GeoBox) -> GeoBox:
    """A grid in degrees inside another, at its middle."""
    x, y = geobox.affine @ (geobox.shape[1] / 2, geobox.shape[0] / 2)
    lon, lat = Transformer.from_crs(UTM, LONLAT, always_xy=True).transform(x, y)
    return make_geobox((20, 20), Affine(1e-4, 0, lon - 1e-3, 0, -1e-4, lat + 1e-3), LONLAT)


def _footprints(*geoboxes, name="s"):
    return [Footprint(f"{name}{i}", f"{name}{i}", g) for i, g in enumerate(geoboxes)]


def test_scenes_side_by_side_are_disjoint():
    check_disjoint(
        {
            "train": _footprints(_grid(), _grid(row=60)),
            "val": _footprints(_grid(col=80), _grid(row=120), name="v"),
        }
    )


def test_ground_in_two_splits_is_refused():
    splits = {"train": _footprints(_grid()), "val": _footprints(_grid(col=79), name="v")}
    with pytest.raises(SamplingError, match=r"'s0' \(train\) and 'v0' \(val\) share 1\.25 %"):
        check_disjoint(splits)


def test_ground_in_two_splits_is_seen_across_crs():
    there, far = _lonlat_grid(_grid()), _lonlat_grid(_grid(col=100))
    with pytest.raises(SamplingError, match="share 100 %"):
        check_disjoint({"train": _footprints(_grid()), "val": _footprints(there, name="v")})
    check_disjoint({"train": _footprints(_grid()), "val": _footprints(far, name="v")})


def test_overlap_within_a_split_and_between_years_is_no_overlap():
    years = [Footprint(f"a_{year}", "a", _grid()) for year in (2016, 2018)]
    check_disjoint({"train": years, "val": _footprints(_grid(col=80), name="v")})


def test_a_place_in_two_splits_is_refused():
    splits = {
        "train": [Footprint("a_2016", "a", _grid())],
        "val": [Footprint("a_2018", "a", _grid(col=90))],
    }
    with pytest.raises(SamplingError, match="place 'a' lies in the splits 'train' and 'val'"):
        check_disjoint(splits)


def test_scenes_without_crs_are_compared_in_their_own_units():
    here = _footprints(_grid(crs=None))
    check_disjoint({"train": here, "val": _footprints(_grid(), name="v")})
    with pytest.raises(SamplingError, match="share"):
        check_disjoint({"train": here, "val": _footprints(_grid(crs=None, col=5), name="v")})


def _labels(regions, geobox):
    return {
        s: np.concatenate(list(regions.project_to(geobox).iter_strips(s))) for s in regions.shapes
    }


@pytest.fixture
def halves():
    geobox = _grid(shape=(600, 80))
    left, bottom, right, top = geobox.boundingbox.bbox
    # A slanting border, so that it meets pixels everywhere.
    cut = [(left + 300, bottom), (left + 500, top)]
    shapes = {
        "train": shapely.Polygon([(left, bottom), *cut, (left, top)]),
        "val": shapely.Polygon([cut[0], (right, bottom), (right, top), cut[1]]),
    }
    return geobox, Regions(shapes, UTM)


def test_a_pixel_is_in_one_split_only(halves):
    geobox, regions = halves
    labels = _labels(regions, geobox)
    assert (labels["train"] ^ labels["val"]).all()
    columns = np.arange(80) * 10 + 5
    border = 300 + 200 * (np.arange(600)[::-1] + 0.5) / 600
    np.testing.assert_array_equal(labels["train"], columns[None] < border[:, None])


def test_windows_of_two_splits_share_no_pixel(halves):
    geobox, regions = halves
    touched = {}
    for split in regions.shapes:
        placements = regions.project_to(geobox).find_placements(split, (20, 15))
        touched[split] = np.zeros(geobox.shape, bool)
        for i in range(0, len(placements), 5):
            touched[split][placements[i].slices] = True
        for i in range(0, len(placements), 501):
            assert regions.project_to(geobox).contains(split, placements[i])
    assert touched["train"].any()
    assert touched["val"].any()
    assert not (touched["train"] & touched["val"]).any()


def test_overlapping_or_empty_regions_are_refused():
    square = shapely.box(0, 0, 10, 10)
    with pytest.raises(SamplingError, match="'train' and 'val' overlap"):
        Regions({"train": square, "val": shapely.box(9, 0, 20, 10)}, UTM)
    with pytest.raises(SamplingError, match="'val' has no ground left"):
        Regions({"train": square, "val": shapely.Polygon()}, UTM)
    Regions({"train": square, "val": shapely.box(10, 0, 20, 10)}, UTM)


def test_blocks_part_the_ground_by_their_shares():
    geoboxes = [_grid(shape=(1000, 1000))]
    shares = {"train": 3, "val": 1}
    regions = block_regions(geoboxes, block_m=1000, shares=shares, seed=1)
    assert regions.crs == UTM
    labels = _labels(regions, geoboxes[0])
    assert (labels["train"] ^ labels["val"]).all()
    assert labels["train"].mean() == pytest.approx(0.75, abs=0.03)
    # Blocks start at whole kilometres of the CRS.
    corner = labels["train"].reshape(10, 100, 10, 100).swapaxes(1, 2).reshape(100, -1)
    assert ((corner.mean(axis=1) == 0) | (corner.mean(axis=1) == 1)).all()


def test_blocks_are_the_same_for_the_same_seed():
    geoboxes = [_grid(shape=(1000, 1000))]

    def val(seed):
        shares = {"train": 4, "val": 1}
        return block_regions(geoboxes, block_m=1000, shares=shares, seed=seed).shapes["val"]

    assert val(5).equals(val(5))
    assert not val(5).equals(val(6))


def test_a_gap_is_left_between_splits():
    geoboxes = [_grid(shape=(400, 400))]
    shares = {"train": 1, "val": 1}
    regions = block_regions(geoboxes, block_m=1000, shares=shares, gap_m=100)
    assert regions.shapes["train"].distance(regions.shapes["val"]) == pytest.approx(100)


def test_blocks_over_several_crs_are_metres_on_the_ground():
    geoboxes = [_grid(), _lonlat_grid(_grid(col=100))]
    regions = block_regions(geoboxes, block_m=200, shares={"train": 1, "val": 1})
    assert regions.crs.epsg == 32611
    for geobox in geoboxes:
        labels = _labels(regions, geobox)
        assert not (labels["train"] & labels["val"]).any()
        assert (labels["train"] | labels["val"]).all()


def test_blocks_that_cannot_be_dealt_are_told():
    shares = {"train": 8, "val": 2}
    with pytest.raises(SamplingError, match="1 blocks of 1e\\+06 m for 2 splits"):
        block_regions([_grid()], block_m=1e6, shares=shares)
    with pytest.raises(SamplingError, match="has no CRS"):
        block_regions([_grid(crs=None)], block_m=100, shares=shares)


@pytest.fixture
def polygons(tmp_path):
    frame = gpd.GeoDataFrame(
        {"split": ["train", "val", "train"]},
        geometry=[shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1), shapely.box(0, 1, 1, 2)],
        crs="EPSG:4326",
    )
    path = tmp_path / "splits.geojson"
    frame.to_file(path)
    return path


def test_polygons_of_one_split_are_joined(polygons):
    regions = polygon_regions(polygons)
    assert regions.shapes["train"].equals(shapely.box(0, 0, 1, 2))
    assert regions.shapes["val"].equals(shapely.box(1, 0, 2, 1))


def test_a_gap_between_polygons_is_in_metres(polygons):
    regions = polygon_regions(polygons, gap_m=500)
    assert regions.crs.projected
    assert regions.shapes["train"].distance(regions.shapes["val"]) == pytest.approx(500, abs=1)


def test_polygons_that_cannot_be_read(polygons, tmp_path):
    with pytest.raises(SamplingError, match="no column 'spilt'; did you mean 'split'"):
        polygon_regions(polygons, attribute="spilt")
    with pytest.raises(SceneError, match="cannot read polygons"):
        polygon_regions(tmp_path / "none.gpkg")


BOXES = {"train": [(-170, 0, -30, 80), (95, 0, 180, 80)], "val": [(60, 0, 95, 80)]}


def test_boxes_are_ground_by_longitude_and_latitude():
    world = make_geobox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")
    on_world = box_regions(BOXES).project_to(world)
    row, col = np.mgrid[:180, :360]
    lon, lat = col + 0.5 - 180, 90 - (row + 0.5)
    north = (lat > 0) & (lat < 80)
    expected = {
        "train": north & (((lon > -170) & (lon < -30)) | (lon > 95)),
        "val": north & (lon > 60) & (lon < 95),
    }
    for split, inside in expected.items():
        found = np.concatenate(list(on_world.iter_strips(split)))
        np.testing.assert_array_equal(found, inside)


def test_boxes_on_a_projected_scene_and_with_a_gap():
    boxes = {"west": [(14, 45, 15, 50)], "east": [(15, 45, 16, 50)]}
    grid = make_geobox((100, 100), Affine(1000, 0, 450_000, 0, -1000, 5_400_000), "EPSG:32633")
    on_grid = box_regions(boxes, gap_m=10_000).project_to(grid)
    west, east = (np.concatenate(list(on_grid.iter_strips(split))) for split in ("west", "east"))
    # The zone's middle is 15 degrees east: 500 km, column 50.
    assert west[:, :45].all()
    assert not west[:, 46:].any()
    assert east[:, 55:].all()
    assert not east[:, :54].any()


def test_boxes_that_overlap_are_refused():
    with pytest.raises(SamplingError, match=r"'train' and 'val' overlap|'val' and 'train' overlap"):
        box_regions({"train": [(0, 0, 10, 10)], "val": [(9, 0, 20, 10)]})
