"""Map files: grids, masks, tags, and nothing half-written."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.warp import transform_bounds

from geotrans import output as writing
from geotrans.errors import OutputError, SceneError, UsageError
from geotrans.grid import make_geobox
from geotrans.maps.render import render_map
from geotrans.maps.renderer import MapRenderer
from tests.helpers.osm import Way, write_pbf, write_xml
from tests.helpers.vectors import write_vectors

CRS = "EPSG:32611"
LEFT, TOP = 362_000.0, 3_765_600.0
STYLE: dict[str, Any] = {
    "name": "mine",
    "background": "grass",
    "classes": [
        {"name": "grass", "color": [90, 210, 60]},
        {"name": "road", "color": [60, 60, 60]},
    ],
    "layers": [{"where": {"kind": "road"}, "class": "road", "width_m": 9}],
}
BLANK_STYLE = {**STYLE, "background": None}


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    """One road of 300 m by 240 m from the lower left to the upper right."""
    line = shapely.LineString([(LEFT, TOP - 240), (LEFT + 300, TOP)])
    return write_vectors(tmp_path / "roads.gpkg", [(line, {"kind": "road"})], crs=CRS)


def left_over(folder: Path, *known: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p not in known)


def test_a_map_by_gsd_and_bbox(roads: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.tif"
    bbox = (LEFT + 30.1, TOP - 200, LEFT + 290, TOP - 40)
    assert render_map(roads, out, style=STYLE, gsd_m=0.7, bbox=bbox, bbox_crs=CRS) == out
    with rasterio.open(out) as file:
        assert file.profile["driver"] == "GTiff"
        assert file.crs.to_epsg() == 32611
        assert file.dtypes == ("uint8",) * 3
        assert file.descriptions == ("red", "green", "blue")
        assert [c.name for c in file.colorinterp] == ["red", "green", "blue"]
        assert file.block_shapes == [(512, 512)] * 3 or file.width < 512
        assert file.compression.value == "DEFLATE"
        assert file.transform.a == -file.transform.e == 0.7
        # On the lattice that starts at the origin of the CRS, and no pixel more than needed.
        assert file.transform.c == pytest.approx(0.7 * round(file.transform.c / 0.7), abs=1e-6)
        assert file.transform.f == pytest.approx(0.7 * round(file.transform.f / 0.7), abs=1e-6)
        assert 0 <= bbox[0] - file.bounds.left < 0.7
        assert 0 <= file.bounds.right - bbox[2] < 0.7
        assert 0 <= bbox[1] - file.bounds.bottom < 0.7
        assert 0 <= file.bounds.top - bbox[3] < 0.7
        tags = file.tags()
        assert tags["GEOTRANS_STYLE"] == "mine"
        assert json.loads(tags["GEOTRANS_PALETTE"]) == {"grass": [90, 210, 60], "road": [60] * 3}
        assert tags["GEOTRANS_VECTORS"] == "roads.gpkg"
        assert file.mask_flag_enums[0][0].name == "all_valid"
        geobox = make_geobox(file.shape, file.transform, CRS)
        assert (file.read() == MapRenderer(roads, STYLE, CRS).read(geobox)).all()
    assert left_over(tmp_path, roads, out) == []


def test_the_whole_of_the_vectors_in_their_crs(roads: Path, tmp_path: Path) -> None:
    with rasterio.open(render_map(roads, tmp_path / "map.tif", style=STYLE, gsd_m=1.0)) as file:
        assert file.bounds == (LEFT, TOP - 240, LEFT + 300, TOP)


def test_a_bbox_is_in_lonlat_unless_said(roads: Path, tmp_path: Path) -> None:
    bbox = (-118.4940, 34.0200, -118.4925, 34.0212)
    with rasterio.open(
        render_map(roads, tmp_path / "a.tif", style=STYLE, gsd_m=0.6, bbox=bbox)
    ) as file:
        found = transform_bounds(file.crs, "EPSG:4326", *file.bounds)
        assert np.allclose(found, bbox, atol=6e-5)
        assert file.crs.to_epsg() == 32611


def test_a_map_in_another_crs(roads: Path, tmp_path: Path) -> None:
    out = render_map(roads, tmp_path / "a.tif", style=STYLE, gsd_m=0.5, crs="EPSG:3857")
    with rasterio.open(out) as file:
        assert file.crs.to_epsg() == 3857
        assert file.transform.a == pytest.approx(0.5 / np.cos(np.radians(34.013)), rel=1e-3)
        share = (file.read(1) == 60).sum() / (file.read(1) != 90).sum()
        road_px = (file.read(1) == 60).sum()
    assert share > 0.8
    expected = np.hypot(300, 240) * 9 / 0.25
    assert road_px == pytest.approx(expected, rel=0.1)


def test_vectors_in_degrees_are_drawn_in_metres(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = shapely.LineString([(-118.5, 34.01), (-118.499, 34.011)])
    file = write_vectors(tmp_path / "a.geojson", [(line, {"kind": "road"})], crs="EPSG:4326")
    with rasterio.open(render_map(file, tmp_path / "a.tif", style=STYLE, gsd_m=0.6)) as out:
        assert out.crs.to_epsg() == 32611
        assert out.transform.a == 0.6
    assert "a.geojson is in degrees; drawn in EPSG:32611" in caplog.text


@pytest.mark.parametrize("write", [write_xml, write_pbf])
def test_an_osm_file_as_it_comes(tmp_path: Path, write: Any) -> None:
    ways = [
        Way([(-118.50, 34.010), (-118.49, 34.015)], {"highway": "residential"}),
        Way([(-118.50, 34.014), (-118.49, 34.011)], {"highway": "service", "service": "alley"}),
        Way(
            [
                (-118.5, 34.01),
                (-118.49, 34.01),
                (-118.49, 34.016),
                (-118.5, 34.016),
                (-118.5, 34.01),
            ],
            {"landuse": "residential"},
        ),
    ]
    suffix = "osm.pbf" if write is write_pbf else "osm"
    out = render_map(write(tmp_path / f"town.{suffix}", ways), tmp_path / "a.tif", gsd_m=1.0)
    with rasterio.open(out) as file:
        colors = {tuple(c) for c in np.unique(file.read().reshape(3, -1), axis=1).T.tolist()}
        assert file.tags()["GEOTRANS_VECTORS"] == f"town.{suffix}"
    plain = dict(MapRenderer(tmp_path / f"town.{suffix}", "plain", CRS).palette)
    assert {plain[name] for name in ("houses", "street", "alley", "verge")} <= colors
    assert plain["park"] not in colors


@pytest.mark.parametrize("turn", [0, 25])
def test_exactly_on_the_grid_of_another_raster(
    roads: Path, tmp_path: Path, make_scene: Any, turn: float
) -> None:
    like = make_scene(
        crs=CRS,
        shape=(130, 170),
        transform=Affine.translation(LEFT + 20.17, TOP - 140.31)
        @ Affine.rotation(turn)
        @ Affine.scale(0.61, -0.59),
    )
    out = render_map(roads, tmp_path / "a.tif", style=STYLE, like=like)
    with rasterio.open(like) as wanted, rasterio.open(out) as file:
        assert file.crs == wanted.crs
        assert file.transform == wanted.transform
        assert file.shape == wanted.shape
        assert (file.read(1) == 60).any()


def test_like_a_raster_in_degrees(roads: Path, tmp_path: Path, make_scene: Any) -> None:
    affine = Affine(6e-6, 0, -118.4938, 0, -5e-6, 34.0212)
    like = make_scene(crs="EPSG:4326", shape=(300, 280), transform=affine)
    with rasterio.open(render_map(roads, tmp_path / "a.tif", style=STYLE, like=like)) as file:
        assert file.crs.to_epsg() == 4326
        assert file.transform == affine
        assert (file.read(1) == 60).any()


def test_blank_ground_is_masked(roads: Path, tmp_path: Path) -> None:
    with rasterio.open(render_map(roads, tmp_path / "a.tif", style=BLANK_STYLE, gsd_m=0.6)) as file:
        assert file.mask_flag_enums[0][0].name == "per_dataset"
        mask = file.dataset_mask() > 0
        assert (mask == (file.read() == 60).all(axis=0)).all()
        assert 0.02 < mask.mean() < 0.2
    assert left_over(tmp_path, roads, tmp_path / "a.tif") == []  # The mask lies inside.


def test_windows_leave_no_trace(
    roads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rasterio.open(render_map(roads, tmp_path / "a.tif", style=BLANK_STYLE, gsd_m=0.25))
    monkeypatch.setattr(writing, "_WINDOW_SHAPE", (512, 512))
    parts = rasterio.open(render_map(roads, tmp_path / "b.tif", style=BLANK_STYLE, gsd_m=0.25))
    with whole, parts:
        assert whole.width > 1024
        assert (whole.read() == parts.read()).all()
        assert (whole.dataset_mask() == parts.dataset_mask()).all()


def test_a_mask_that_begins_late_holds_what_came_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    field = shapely.box(LEFT, TOP - 700, LEFT + 700, TOP)
    notch = shapely.box(LEFT + 600, TOP - 700, LEFT + 700, TOP - 600)
    file = write_vectors(
        tmp_path / "a.gpkg", [(field.difference(notch), {"kind": "road"})], crs=CRS
    )
    monkeypatch.setattr(writing, "_WINDOW_SHAPE", (512, 512))
    style = {**BLANK_STYLE, "layers": [{"class": "road"}]}
    with rasterio.open(render_map(file, tmp_path / "a.tif", style=style, gsd_m=1.0)) as out:
        expected = np.full((700, 700), 255)
        expected[600:, 600:] = 0
        assert (out.dataset_mask() == expected).all()


def test_progress_counts_every_pixel(roads: Path, tmp_path: Path) -> None:
    told: list[int] = []

    @contextmanager
    def progress(label: str, total: int) -> Iterator[Any]:
        told.append(-total)
        yield told.append

    render_map(roads, tmp_path / "a.tif", style=STYLE, gsd_m=1.0, progress=progress)
    assert sum(told) == 0
    assert told[0] == -300 * 240


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "how large is a pixel"),
        ({"gsd_m": 0}, "gsd of 0 m makes no pixels"),
        ({"gsd_m": -1}, "gsd of -1 m"),
        ({"gsd_m": float("nan")}, "gsd of nan m"),
        ({"gsd_m": 1, "bbox_crs": CRS}, "bbox_crs without a bbox"),
        ({"gsd_m": 1, "bbox": (3, 0, 1, 2)}, "bbox 3,0,1,2 is empty"),
        ({"gsd_m": 1, "bbox": (10, 50, 11, 51)}, "outside the vectors, which cover -118.49"),
        ({"gsd_m": 1, "bbox": (0, 0, 9, 9), "bbox_crs": CRS}, "which cover 362000,37653"),
        ({"gsd_m": 1, "crs": "EPSG:99999"}, "crs 'EPSG:99999' is not known"),
        ({"gsd_m": 1, "bbox": (1, 2, 3, 4), "bbox_crs": "UTM"}, "bbox_crs 'UTM' is not known"),
        ({"gsd_m": 1, "like": "x.tif"}, "'like' already says which grid to draw on; leave out gsd"),
        ({"style": {**STYLE, "name": "none", "layers": [
            {"where": {"kind": "river"}, "class": "road", "width_m": 3}]}, "gsd_m": 1},
         "style 'none' finds nothing to draw there"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(
    roads: Path, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        render_map(roads, tmp_path / "a.tif", **{"style": STYLE, **arguments})
    assert left_over(tmp_path, roads) == []


def test_outputs_that_cannot_be(roads: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in .tif"):
        render_map(roads, tmp_path / "map.png", style=STYLE, gsd_m=1)
    with pytest.raises(OutputError, match=r"nowhere does not exist; make it first"):
        render_map(roads, tmp_path / "nowhere" / "a.tif", style=STYLE, gsd_m=1)
    out = tmp_path / "a.tif"
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"exists; replace it with overwrite=True"):
        render_map(roads, out, style=STYLE, gsd_m=1)
    assert out.read_bytes() == b"precious"
    render_map(roads, out, style=STYLE, gsd_m=1, overwrite=True)
    with pytest.raises(OutputError, match="is an input"):
        render_map(roads, out, style=STYLE, like=out, overwrite=True)
    (tmp_path / "folder.tif").mkdir()
    with pytest.raises(OutputError, match="is no file"):
        render_map(roads, tmp_path / "folder.tif", style=STYLE, gsd_m=1, overwrite=True)


def test_inputs_that_cannot_be(roads: Path, tmp_path: Path, make_scene: Any) -> None:
    with pytest.raises(SceneError, match=r"no vectors at .*gone.gpkg"):
        render_map(tmp_path / "gone.gpkg", tmp_path / "a.tif", style=STYLE, gsd_m=1)
    with pytest.raises(SceneError, match=r"gone.tif: no such file"):
        render_map(roads, tmp_path / "a.tif", style=STYLE, like=tmp_path / "gone.tif")
    with pytest.raises(SceneError, match="it has no CRS"):
        render_map(roads, tmp_path / "a.tif", style=STYLE, like=make_scene(crs=None))
    with pytest.raises(UsageError, match="has no CRS"):
        render_map(roads, tmp_path / "a.tif", style=STYLE,
               geobox=make_geobox((2, 2), Affine.identity(), None))  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(roads: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="read-only"):
        render_map(roads, folder / "a.tif", style=STYLE, gsd_m=1)


def test_a_failure_leaves_nothing_and_spares_what_was_there(
    roads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.tif"
    out.write_bytes(b"precious")

    def fail(self: Any, geobox: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MapRenderer, "draw", fail)
    with pytest.raises(OutputError, match=r"cannot write .*No space left"):
        render_map(roads, out, style=STYLE, gsd_m=1, overwrite=True)
    assert out.read_bytes() == b"precious"
    assert left_over(tmp_path, roads, out) == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
@pytest.mark.parametrize("missing", [1, 2000])
def test_a_full_disk_is_noticed_even_while_the_file_is_closed(
    roads: Path, tmp_path: Path, missing: int
) -> None:
    whole = render_map(roads, tmp_path / "whole.tif", style=BLANK_STYLE, gsd_m=0.1)
    folder = tmp_path / "full"
    folder.mkdir()
    code = (
        "import resource, signal\n"
        "from geotrans.errors import OutputError\n"
        "from geotrans.maps.render import render_map\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"limit = {whole.stat().st_size - missing}\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try:\n"
        f"    out = {str(folder / 'a.tif')!r}\n"
        f"    render_map({str(roads)!r}, out, style={BLANK_STYLE!r}, gsd_m=0.1)\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert "cannot write" in done.stdout or "does not keep" in done.stdout
    assert left_over(folder) == []


def test_what_lay_beside_a_replaced_file_goes_with_it(roads: Path, tmp_path: Path) -> None:
    out = render_map(roads, tmp_path / "a.tif", style=STYLE, gsd_m=1)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(out, "r+") as file:
        file.write_mask(np.zeros(file.shape, np.uint8))
    assert (tmp_path / "a.tif.msk").exists()
    with rasterio.open(render_map(roads, out, style=STYLE, gsd_m=1, overwrite=True)) as file:
        assert (file.dataset_mask() == 255).all()
    assert left_over(tmp_path, roads, out) == []


@pytest.mark.slow
def test_a_county_of_streets_does_not_sit_in_memory(tmp_path: Path) -> None:
    """A map of 10 km by 10 km, 300,000 streets: memory stays that of a few windows."""
    rng = np.random.default_rng(3)
    starts = rng.uniform(0, 10_000, (300_000, 2)) + np.array([LEFT, TOP])
    ends = starts + rng.normal(0, 60, starts.shape)
    lines = shapely.linestrings(np.stack([starts, ends], axis=1))
    file = write_vectors(tmp_path / "county.gpkg", [(x, {"kind": "road"}) for x in lines], crs=CRS)
    code = (
        "from pathlib import Path; from geotrans.maps.render import render_map\n"
        f"render_map({str(file)!r}, {str(tmp_path / 'a.tif')!r}, gsd_m=1.2, style={STYLE!r})\n"
        # getrusage would tell of the process this one was forked from, too.
        "told = Path('/proc/self/status').read_text().split('VmHWM:')[1]\n"
        "print(int(told.split()[0]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=280
    )
    assert int(done.stdout) < 650  # MB; all of them at once take 1600.
