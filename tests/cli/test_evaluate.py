import json

import numpy as np
import pytest
import rasterio

from geotrans.cli.main import run
from geotrans.tasks import PaletteClass
from tests.helpers.bundles import class_bundle, identity_bundle, random_bundle
from tests.helpers.patches import toy_cache, toy_domains
from tests.helpers.places import places_cache, towns


@pytest.fixture
def same_bundle(tmp_path):
    return str(identity_bundle(tmp_path / "same.safetensors"))


@pytest.fixture
def cache(tmp_path):
    truth = towns(3)
    return str(places_cache(tmp_path / "cache", truth // 2, truth, n_train=1).path)


def test_a_table_and_the_page_s_path(same_bundle, cache, tmp_path, capsys):
    out = tmp_path / "scores"
    assert run(["evaluate", same_bundle, "--data", cache, "-o", str(out), "-q"]) == 0
    told = capsys.readouterr().out
    *_, last = told.splitlines()
    assert last == str(out / "report.html")
    assert (out / "report.html").is_file()
    for word in ("PSNR, dB", "SSIM", "linear fit", "unchanged", "2 pairs of 2 places, seed 0"):
        assert word in told
    assert max(map(len, told.splitlines())) <= 160


def test_json_for_programs(same_bundle, cache, capsys):
    assert run(["evaluate", same_bundle, "--data", cache, "--json", "-q", "--seed", "4"]) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert captured.err == ""
    assert (told["name"], told["seed"], told["n_pairs"]) == ("same", 4, 2)
    assert told["scores"]["psnr"]["better"] == "higher"
    assert 0 < told["scores"]["psnr"]["low"] <= told["scores"]["psnr"]["value"]


def test_scores_are_not_replaced_unless_asked(same_bundle, cache, tmp_path, capsys):
    words = ["evaluate", same_bundle, "--data", cache, "-o", str(tmp_path / "scores"), "-q"]
    assert run(words) == 0
    assert run(words) == 1
    assert "holds report.html already; replace it with --overwrite" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0


def _fails(words, capsys, message, *, code):
    assert run(["evaluate", *map(str, words), "-q"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--split", "test"], "has no split 'test', but train, val", 1),
        (["--group", "1999"], "asked for the group '1999'", 2),
        (["--inverse", "nothing"], "nothing", 2),
        (["-o", __file__], "is a file; give a folder", 1),
        (["--data", "missing.yaml"], "cannot read configuration missing.yaml", 2),
        (["--device", "cuda:99"], "cuda:99", 1),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_ends_in_one_line(same_bundle, cache, capsys, words, message, code):
    _fails([same_bundle, "--data", cache, *words], capsys, message, code=code)


def test_who_knows_no_places_is_told_how_to_give_them(same_bundle, tmp_path, capsys):
    _fails([same_bundle], capsys, "give a configuration or a patch cache with --data", code=2)
    _fails([tmp_path], capsys, "give a configuration or a patch cache with --data", code=2)
    _fails(["mapaerial"], capsys, "nor is it a folder or a glob of products", code=2)


def test_a_folder_that_is_no_cache(same_bundle, tmp_path, capsys):
    _fails([same_bundle, "--data", tmp_path], capsys, "is no patch cache", code=1)


def test_domains_without_pairs_hold_no_truth(same_bundle, tmp_path, capsys):
    cache = toy_domains(tmp_path / "domains").path
    words = [same_bundle, "--data", cache, "--split", "train"]
    _fails(words, capsys, "is unpaired, so it holds no truth", code=1)


def test_bands_and_classes_that_are_not_there(same_bundle, tmp_path, capsys):
    truth = towns(2)
    grey = places_cache(tmp_path / "grey", truth[:, :1], truth, source_bands=["pan"]).path
    _fails([same_bundle, "--data", grey], capsys, "the source has pan and lacks red", code=2)
    nir = places_cache(tmp_path / "nir", truth, truth[:, :1], target_bands=["nir"]).path
    _fails([same_bundle, "--data", nir], capsys, "the truth has nir and lacks red", code=2)
    painted = class_bundle(tmp_path / "painted.safetensors")
    photos = places_cache(tmp_path / "photos", truth, truth).path
    _fails([painted, "--data", photos], capsys, "the source has no classes", code=2)


def test_a_map_in_another_style(tmp_path, capsys):
    palette = [
        PaletteClass(name="sea", color=(0, 0, 200)),
        PaletteClass(name="land", color=(9, 9, 9)),
    ]
    bundle = random_bundle(tmp_path / "other.safetensors", palette=palette)
    cache = toy_cache(tmp_path / "cache", drawn="target").path
    _fails([bundle, "--data", cache], capsys, "knows the map in another style", code=2)


def test_places_without_a_crs(same_bundle, tmp_path, capsys):
    truth = towns(2)
    nowhere = places_cache(tmp_path / "nowhere", truth, truth, crs=None).path
    _fails([same_bundle, "--data", nowhere], capsys, "town_0 has no CRS", code=1)


def test_an_inverse_that_does_not_lead_back(same_bundle, cache, tmp_path, capsys):
    other = identity_bundle(tmp_path / "other.safetensors", bands=("nir", "red"))
    words = [same_bundle, "--data", cache, "--inverse", other]
    _fails(words, capsys, "reads nir, red and writes nir, red", code=2)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_products_that_fit_nothing(cache, tmp_path, capsys):
    folder = tmp_path / "products"
    folder.mkdir()
    _fails([folder, "--data", cache], capsys, "holds not a raster", code=1)

    def write(name, count, dtype, left):
        with rasterio.open(
            folder / name, "w", driver="GTiff", count=count, height=96, width=96, dtype=dtype,
            crs="EPSG:32611", transform=rasterio.Affine(0.6, 0, left, 0, -0.6, 3_800_000),
        ) as file:  # fmt: skip
            file.write(np.ones((count, 96, 96), dtype))
            file.descriptions = ("red", "green", "blue")[:count]

    write("elsewhere.tif", 3, "uint8", 0)
    _fails([folder, "--data", cache], capsys, "lies on any of the 2 places", code=1)
    write("town_1_x.tif", 2, "uint8", 401_000)
    _fails([folder, "--data", cache], capsys, "the product town_1_x has red, green", code=2)
    write("town_1_x.tif", 3, "uint16", 401_000)
    _fails([folder, "--data", cache], capsys, "stores uint16, the truth uint8", code=2)
    _fails([folder, "--data", cache, "--inverse", "cir2rgb"], capsys, "goes with a task", code=2)
