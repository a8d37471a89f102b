"""`geotrans render` as a process: files, exit codes, one line of error."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio
import shapely

from geotrans.cli.main import run
from tests.helpers.vectors import write_vectors

LEFT, TOP = 362_000.0, 3_765_600.0


def geotrans(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "geotrans", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@pytest.fixture
def town(tmp_path: Path) -> Path:
    """A street through houses, as OpenStreetMap has it, in metres."""
    file = tmp_path / "town.gpkg"
    street = shapely.LineString([(LEFT, TOP - 200), (LEFT + 300, TOP)])
    write_vectors(file, [(street, {"highway": "residential", "other_tags": None})], layer="lines")
    block = shapely.box(LEFT, TOP - 200, LEFT + 300, TOP)
    land = {"landuse": "residential", "amenity": None, "leisure": None, "natural": None}
    return write_vectors(file, [(block, {**land, "other_tags": None})], layer="multipolygons")


def test_a_map_of_a_place(town: Path, tmp_path: Path) -> None:
    done = geotrans(
        "render", town, "--gsd", "0.6", "-o", "map.tif", "--bbox-crs", "EPSG:32611",
        "--bbox", f"{LEFT + 30},{TOP - 150},{LEFT + 180},{TOP - 30}", cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "map.tif\n", "")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.shape == (200, 251)
        assert file.descriptions == ("red", "green", "blue")
        assert file.tags()["GEOTRANS_STYLE"] == "plain"
        assert tuple(file.read()[:, 0, 0]) == (245, 175, 150)


def test_beside_the_vectors_unless_said(
    town: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    draw = ["render", str(town), "--gsd", "2"]
    assert run(draw) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'town_plain.tif'}\n"
    assert run(draw) == 1
    assert "exists; replace it with --overwrite" in capsys.readouterr().err
    assert run([*draw, "--overwrite"]) == 0
    like = ["--like", str(tmp_path / "town_plain.tif")]
    assert run(["render", str(town), *like, "-o", str(folder)]) == 0
    with (
        rasterio.open(tmp_path / "town_plain.tif") as a,
        rasterio.open(folder / "town_plain.tif") as b,
    ):
        assert (a.crs, a.transform, a.shape) == (b.crs, b.transform, b.shape)
        assert (a.read() == b.read()).all()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["gone.gpkg", "--gsd", "1"], 1, "error: no vectors at gone.gpkg"),
        (["town.gpkg"], 2, "error: how large is a pixel? give a gsd"),
        (["town.gpkg", "--gsd", "0"], 2, "error: a gsd of 0 m makes no pixels"),
        (["town.gpkg", "--gsd", "1", "--bbox", "1,2,3"], 2, "error: --bbox 1,2,3 is not four"),
        (["town.gpkg", "--gsd", "1", "--style", "plian"], 2, "did you mean 'plain'?"),
        (["town.gpkg", "--gsd", "1", "--style", "plain", "--style-of", "x"], 2, "give one"),
        (["town.gpkg", "--gsd", "1", "--style-of", "map2arial"], 2, "map2arial"),
        (["town.gpkg", "--like", "gone.tif"], 1, "error: gone.tif: no such file"),
        (["town.gpkg", "--gsd", "1", "-o", "no/where.tif"], 1, "does not exist; make it first"),
    ],
)
def test_errors_take_one_line(
    town: Path,
    tmp_path: Path,
    words: list[str],
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["render", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["town.gpkg"]
