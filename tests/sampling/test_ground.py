import pytest
import shapely
from affine import Affine
from odc.geo.crs import CRS

from geotrans.errors import SamplingError
from geotrans.grid import make_geobox
from geotrans.sampling.ground import LONLAT, choose_metric_crs, find_common_crs, outline, project
from geotrans.sampling.splits import Footprint, block_regions, check_disjoint

WORLD = make_geobox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326")


def _utm(zone, *, east=500_000.0, north=4_000_000.0, shape=(50, 50)):
    return make_geobox(shape, Affine(10, 0, east, 0, -10, north), f"EPSG:326{zone:02d}")


def test_scenes_of_one_crs_keep_it():
    assert find_common_crs([_utm(11), _utm(11, east=3e5)]).epsg == 32611
    assert find_common_crs([_utm(11), make_geobox((2, 2), Affine.identity(), None)]).epsg == 32611
    assert find_common_crs([make_geobox((2, 2), Affine.identity(), None)]) is None


def test_scenes_of_several_crs_meet_in_longitude_and_latitude():
    assert find_common_crs([_utm(11), _utm(12)]) == LONLAT
    # Zone 50 lies on the other side of the world, where zone 11 has no coordinates.
    far = [Footprint("a", "a", _utm(11)), Footprint("b", "b", WORLD)]
    check_disjoint({"train": far[:1], "val": [Footprint("c", "c", _utm(50))]})
    with pytest.raises(SamplingError, match="'a' \\(train\\) and 'b' \\(val\\) share 100 %"):
        check_disjoint({"train": far[:1], "val": far[1:]})


def test_metres_for_scenes_near_and_far():
    assert choose_metric_crs([_utm(11), _utm(11)]).epsg == 32611
    assert choose_metric_crs([_utm(11), _utm(12)]).epsg in {32611, 32612}
    assert choose_metric_crs([_utm(11), _utm(50)]).epsg == 6933


def test_blocks_over_the_world_hold_their_scenes():
    geoboxes = [_utm(zone) for zone in (5, 11, 21, 50)]
    regions = block_regions(geoboxes, block_m=100, shares={"train": 1, "val": 1})
    for geobox in geoboxes:
        local = regions.project_to(geobox)
        train, val = (next(local.iter_strips(split)) for split in ("train", "val"))
        assert (train ^ val).all()
        assert train.any()
        assert val.any()


def test_outlines_follow_curved_edges():
    shape = outline(make_geobox((10, 10), Affine(1, 0, 0, 0, -1, 70), "EPSG:4326"), CRS(3035))
    corners = project(shapely.Point(5, 70), LONLAT, CRS(3035))
    # The middle of the northern edge bulges beyond the line between its corners.
    assert shape.buffer(200).contains(corners)
    straight = shapely.Polygon([shape.exterior.coords[i] for i in (0, 32, 64, 96)])
    assert abs(shape.area - straight.area) > 1e9
