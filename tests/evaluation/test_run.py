import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine

import geotrans
from geotrans.evaluation import evaluate
from geotrans.evaluation.baselines import class_means
from geotrans.evaluation.places import Places, draw_classes
from geotrans.evaluation.products import Products, relabel_classes
from geotrans.evaluation.scores import Scorer
from geotrans.grid import ground_anchor, plan_tiles
from geotrans.labelling.recipe import load_recipe
from geotrans.metrics.image import chroma_error, psnr, ssim
from geotrans.metrics.mapping import class_counts, nearest_class, road_iou
from geotrans.metrics.seams import seam_ratio
from geotrans.metrics.spectral import ergas, sam
from geotrans.tasks import BandSpec, PaletteClass, save_bundle
from geotrans.training.config import resolve_config
from tests.helpers.bundles import CLASSES, class_bundle, identity_bundle, random_bundle
from tests.helpers.patches import PALETTE, drawing, toy_cache, toy_config, toy_domains
from tests.helpers.places import APART_M, places_cache, towns
from tests.html.test_page import check

# rioxarray multiplies transforms by `*`, which affine 3 is about to deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


def _products(folder, values, cache, *, ending="_same", corner=(0, 0)):
    """Values `(N, 3, H, W)` as files on the grids of the held-out places, from a corner on, px."""
    folder.mkdir()
    for record, value in zip(cache.manifest.splits["val"], values, strict=True):
        with rasterio.open(
            folder / f"{record.name}{ending}.tif", "w", driver="GTiff", count=len(value),
            height=value.shape[1], width=value.shape[2], dtype=value.dtype, crs=record.crs,
            transform=Affine(*record.transform) @ Affine.translation(*corner),
        ) as file:  # fmt: skip
            file.write(value)
            file.descriptions = ("red", "green", "blue")[: len(value)]
    return folder


@pytest.fixture
def noisy(tmp_path):
    """Places whose source is the truth and some noise, and the values of both."""
    truth = towns(5)
    rng = np.random.default_rng(1)
    source = (truth + rng.normal(0, 6, truth.shape)).clip(0, 255).astype(np.uint8)
    valid = np.ones((5, 96, 96), bool)
    valid[:, :10, :20] = False
    cache = places_cache(tmp_path / "cache", source, truth, valid=valid, n_train=2)
    return cache, source[2:], truth[2:], valid[2:]


def test_every_score_of_a_photograph_is_that_of_its_metric(noisy, tmp_path):
    cache, source, truth, valid = noisy
    found = evaluate(identity_bundle(tmp_path / "same.safetensors"), data=cache.path)
    np.testing.assert_array_equal(found.products, source)
    expected = {
        "psnr": psnr(source, truth, valid=valid),
        "ssim": ssim(source, truth, valid=valid),
        "sam": sam(source, truth, valid=valid),
        "ergas": ergas(source, truth, valid=valid),
        "chroma": chroma_error(source, truth, valid=valid),
    }
    for name, each in expected.items():
        np.testing.assert_allclose(found.scores[name].each, each, err_msg=name)
        if name != "psnr":
            assert found.scores[name].interval.value == pytest.approx(each.mean())
    error = ((source.astype(float) - truth) ** 2).mean(1)[valid].mean()
    assert found.scores["psnr"].interval.value == pytest.approx(20 * np.log10(255 / error**0.5))
    assert found.scores["edge_shift"].interval.value < 0.2
    assert found.scores["psnr"].interval.n == 3
    # What changes nothing is its own baseline, and a fit can only take noise away.
    assert found.beside["unchanged"]["psnr"].interval == found.scores["psnr"].interval
    assert found.beside["linear fit"]["psnr"].interval.value > found.scores["psnr"].interval.value
    assert found.facts["baselines_learned_on"] == "2 pairs of the split 'train'"


def test_a_place_is_translated_as_its_file_would_be(noisy, tmp_path):
    cache, source, _, _ = noisy
    bundle = random_bundle(tmp_path / "random.safetensors", noise=(1, 8))
    found = evaluate(bundle, data=cache.path, seed=3)
    folder = _products(tmp_path / "files", source, cache, ending="")
    for i, record in enumerate(cache.manifest.splits["val"]):
        made = geotrans.translate(
            folder / f"{record.name}.tif", task=bundle, out=tmp_path / f"{i}.tif", seed=3,
            precision="float32",
        )  # fmt: skip
        with rasterio.open(made.path) as file:
            np.testing.assert_array_equal(found.products[i], file.read())
    assert not np.array_equal(found.products, evaluate(bundle, data=cache.path).products)


def test_products_in_files_score_as_the_task_that_made_them(noisy, tmp_path):
    cache, source, _, valid = noisy
    task = evaluate(identity_bundle(tmp_path / "same.safetensors"), data=cache.path)
    folder = _products(tmp_path / "products", source, cache)
    found = evaluate(folder, data=cache.path)
    assert found.facts["n_places"] == 3
    for name in ("psnr", "ssim", "sam", "chroma"):
        assert found.scores[name].interval == task.scores[name].interval
        beside = (e.beside["linear fit"][name].interval for e in (found, task))
        assert len({interval.value for interval in beside}) == 1
    assert "seam_ratio" not in found.scores, "nobody says where their tiles were"
    np.testing.assert_array_equal(found.places.valid, valid)


@pytest.mark.parametrize("shift", [0, 0.5])
def test_seams_of_finished_products_are_looked_for_where_their_tags_say(noisy, tmp_path, shift):
    cache, source, _, valid = noisy
    # Scenes begin 10 rows above their place and 7 columns left of it.
    wide = np.pad(source, ((0, 0), (0, 0), (10, 0), (7, 0)), mode="reflect")
    scenes = _products(tmp_path / "scenes", wide, cache, ending="", corner=(-7, -10 + shift))
    same, folder = identity_bundle(tmp_path / "same.safetensors"), tmp_path / "products"
    folder.mkdir()
    for scene in scenes.iterdir():
        geotrans.translate(scene, task=same, out=folder / scene.name, tile=40)
    found = evaluate(folder, data=cache.path).scores
    if shift:
        assert "seam_ratio" not in found, "nobody knows which rows became which"
        return
    assert (found["seam_ratio"].each < 1.1).all()
    for i, path in enumerate(sorted(folder.iterdir())):
        with rasterio.open(path) as file:
            made, profile, tags, bands = file.read(), file.profile, file.tags(), file.descriptions
        told = json.loads(tags["GEOTRANS_PARAMS"])
        rows, cols = [n - 10 for n in told["row_edges"]], [n - 7 for n in told["col_edges"]]
        expected = seam_ratio(source[i], row_edges=rows, col_edges=cols, valid=valid[i])
        assert found["seam_ratio"].each[i] == expected
        made[:, told["row_edges"][1] : told["row_edges"][2]] //= 2
        with rasterio.open(path, "w", **{**profile, "driver": "GTiff"}) as file:
            file.write(made)
            file.update_tags(**tags)
            file.descriptions = bands
    assert (evaluate(folder, data=cache.path).scores["seam_ratio"].each > 1.5).all()


def test_products_are_found_by_ground_and_those_missing_are_told(noisy, tmp_path, caplog):
    cache, source, _, _ = noisy
    folder = _products(tmp_path / "products", source, cache)
    (folder / "town_2_same.tif").unlink()
    for i in (3, 4):
        (folder / f"town_{i}_same.tif").rename(folder / f"made_{i}.tif")
    found = evaluate(folder, data=cache.path)
    assert [record.name for record in found.places.records] == ["town_3", "town_4"]
    np.testing.assert_array_equal(found.products, source[1:])
    assert "left out 1 of 3 places without a product: town_2" in caplog.text


def test_padding_is_neither_translated_nor_scored(tmp_path):
    truth = towns(2)
    truth[:, :, 80:], truth[:, :, :, 72:] = 0, 0
    valid = np.zeros((2, 96, 96), bool)
    valid[:, :80, :72] = True
    cache = places_cache(tmp_path / "cache", truth, truth, valid=valid, shape=(80, 72))
    found = evaluate(identity_bundle(tmp_path / "same.safetensors"), data=cache.path)
    np.testing.assert_array_equal(found.products, truth)
    assert found.places.geoboxes[0].shape == (80, 72)
    assert found.scores["psnr"].interval.value == np.inf
    assert json.dumps(found.to_dict(), allow_nan=False)


def test_seams_are_looked_for_where_the_tiles_met(tmp_path):
    truth = towns(1, size=192)
    cache = places_cache(tmp_path / "cache", truth, truth)
    bundle = identity_bundle(tmp_path / "same.safetensors", halo=8, align=4)
    found = evaluate(bundle, data=cache.path)
    own, real = (s["seam_ratio"].interval.value for s in (found.scores, found.beside["truth"]))
    assert own == real
    # No network's product, but a step at every tile edge: 192 px are cut once each way.
    geobox = found.places.geoboxes[0]
    plan = plan_tiles((192, 192), tile=128, halo=8, align=4, anchor=ground_anchor(geobox))
    (row,), (col,) = plan.row_edges[1:-1], plan.col_edges[1:-1]
    seamed = np.zeros((1, 3, 192, 192), np.uint8)
    seamed[:, :, row:] += 50
    seamed[:, :, :, col:] += 50
    scorer = Scorer(found.places, value_range=(0, 255), groups={}, device="cpu")
    edges = ((list(plan.row_edges), list(plan.col_edges)),)
    assert scorer.score(Products(truth, edges))["seam_ratio"].each == pytest.approx(own)
    assert np.isnan(scorer.score(Products(truth, (([], []),))).get("seam_ratio", np.nan))
    (seams,) = scorer.score_seams(Products(seamed + truth // 8, edges))
    assert seams.interval.value > 5


def _map_bundle(path, **fields):
    palette = [PaletteClass(name=name, color=color) for name, color in PALETTE]
    training = {"task": {"iou_groups": {"road": ["road"]}}}
    return random_bundle(path, palette=palette, training=training, **fields)


def test_a_map_is_scored_by_its_classes(tmp_path):
    cache = toy_cache(tmp_path / "cache", drawn="target")
    found = evaluate(_map_bundle(tmp_path / "map.safetensors"), data=cache.path)
    held = cache.load("val")
    classes = nearest_class(found.products, [color for _, color in PALETTE])
    right = (classes == held.classes)[held.valid].mean()
    assert found.scores["accuracy"].interval.value == pytest.approx(right)
    assert found.scores["within_16"].interval.value == pytest.approx(right), "colours are exact"
    iou = road_iou(classes, held.classes, [1], valid=held.valid)
    for name in ("road_iou", "iou_road"):
        assert found.scores[name].interval.value == pytest.approx(iou)
    each = [found.scores[f"iou_{name}"].interval.value for name, _ in PALETTE]
    assert found.scores["mean_iou"].interval.value == pytest.approx(np.mean(each))
    lawn = (held.classes == 0)[held.valid].mean()
    assert found.beside["one colour"]["accuracy"].interval.value == pytest.approx(lawn)
    assert "psnr" not in found.scores


def _drawn(folder, side, aerial, *, margin=0, n_train=0):
    """A cache of maps of three classes and aerials, and the maps."""
    size = aerial.shape[-1] + 2 * margin
    classes = np.stack([drawing(np.random.default_rng(i), size) for i in range(len(aerial))])
    maps = draw_classes(classes, [color for _, color in PALETTE])
    inside = classes[:, margin : size - margin, margin : size - margin]
    pair = (maps, aerial) if side == "source" else (aerial, maps)
    cache = places_cache(
        folder, *pair, classes=inside, drawn=side, palette=PALETTE, margin=margin, n_train=n_train
    )
    return cache, maps, inside


def test_a_map_in_rasters_is_read_by_the_task_s_colours(tmp_path):
    aerial = towns(3, size=48)
    with_vectors, maps, _ = _drawn(tmp_path / "drawn", "target", aerial)
    plain = places_cache(tmp_path / "plain", aerial, maps)
    bundle = _map_bundle(tmp_path / "map.safetensors")
    one, other = (evaluate(bundle, data=cache.path).scores for cache in (with_vectors, plain))
    assert {name: s.interval for name, s in one.items()} == {
        name: s.interval for name, s in other.items()
    }


def test_a_map_is_left_with_its_surroundings_and_back(tmp_path):
    aerial = towns(5, size=48)
    cache, maps, classes = _drawn(tmp_path / "cache", "source", aerial, margin=16, n_train=2)
    palette = [PaletteClass(name=name, color=color) for name, color in PALETTE]
    bundle = random_bundle(tmp_path / "aerial.safetensors", source_palette=palette)
    back = _map_bundle(tmp_path / "back.safetensors")
    found = evaluate(bundle, data=cache.path, inverse=back)
    means = class_means(aerial[:2], classes[:2], classes[2:])
    assert found.beside["mean colour of each class"]["psnr"].each == pytest.approx(
        psnr(means, aerial[2:])
    )
    # What leads back is a task like any other, from the products to the maps.
    made = np.concatenate([aerial[:2], found.products])
    inside = maps[:, :, 16:-16, 16:-16]
    again = evaluate(back, data=places_cache(tmp_path / "made", made, inside, n_train=2).path)
    gap = np.abs(again.products.astype(float) - inside[2:]).mean()
    assert found.scores["cycle_l1"].interval.value == pytest.approx(gap)
    assert found.scores["cycle_road_iou"].interval == again.scores["road_iou"].interval
    assert set(found.beside["truth"]) == {"cycle_l1", "cycle_road_iou"}
    # A patch of the map alone lacks what stands around it.
    bare = places_cache(tmp_path / "bare", inside, aerial, n_train=2)
    assert not np.array_equal(evaluate(bundle, data=bare.path).products, found.products)


def test_a_bundle_s_own_inverse_leads_back(noisy, tmp_path):
    cache, *_ = noisy
    plain = random_bundle(tmp_path / "plain.safetensors")
    spec, state = (one := geotrans.open_bundle(plain)).spec, one.state("generator")
    both = save_bundle(
        tmp_path / "both.safetensors", spec.model_copy(update={"inverse": spec.generator}), state,
        inverse=state,
    )  # fmt: skip
    own, given = evaluate(both, data=cache.path), evaluate(plain, data=cache.path, inverse=plain)
    assert own.scores["cycle_l1"].interval == given.scores["cycle_l1"].interval
    assert own.beside["truth"]["cycle_l1"].interval == given.beside["truth"]["cycle_l1"].interval
    assert "cycle_l1" not in evaluate(plain, data=cache.path).scores


def test_classes_that_a_recipe_found_are_found_again(tmp_path):
    photo = towns(2, bands=4, size=96)
    bands = ("red", "green", "blue", "nir")
    shell = places_cache(tmp_path / "shell", photo, photo, source_bands=bands, target_bands=bands)
    labels = relabel_classes("landcover", photo, Places.load(shell, "val"))
    recipe = load_recipe("landcover")
    named = [
        {"value": i, "name": one.name, "color": one.color} for i, one in enumerate(recipe.classes)
    ]
    cache = places_cache(
        tmp_path / "cache", labels, photo, source_bands=["class"], target_bands=bands,
        source_classes=named,
    )  # fmt: skip
    shipped = geotrans.open_bundle("landcover2aerial")
    found = evaluate(shipped.path, data=cache.path)
    again = relabel_classes("landcover", found.products, found.places)
    both, either = class_counts(again[:, 0], labels[:, 0], n_classes=len(named))
    known = either.sum(0) > 0
    iou = (both.sum(0)[known] / either.sum(0)[known]).mean()
    assert found.scores["cycle_mean_iou"].interval.value == pytest.approx(iou)
    assert found.beside["truth"]["cycle_mean_iou"].interval.value == 1


def test_classes_are_matched_by_name(tmp_path):
    values = np.kron(np.random.default_rng(0).choice([5, 6, 7], (3, 1, 12, 12)), np.ones((8, 8)))
    named = [
        {"value": value, "name": one.name, "color": one.color}
        for value, one in zip((7, 5, 6), CLASSES, strict=True)
    ]
    cache = places_cache(
        tmp_path / "cache", values.astype(np.uint8), towns(3), source_bands=["class"],
        source_classes=named,
    )  # fmt: skip
    own = np.select([values == 7, values == 5], [0, 3], 4).astype(np.uint8)
    same = places_cache(
        tmp_path / "same", own, towns(3), source_bands=["class"],
        source_classes=[one.model_dump() for one in CLASSES],
    )  # fmt: skip
    bundle = class_bundle(tmp_path / "painted.safetensors")
    one, other = (evaluate(bundle, data=c.path) for c in (cache, same))
    np.testing.assert_array_equal(one.products, other.products)
    assert "mean colour of each class" in one.beside


def test_a_task_learned_without_pairs_has_its_baseline_from_targets(tmp_path):
    cache = toy_domains(tmp_path / "cache")
    bundle = random_bundle(tmp_path / "random.safetensors")
    spec = geotrans.open_bundle(bundle).spec
    source = [BandSpec(name=name) for name in ("nir", "red", "green")]
    spec = spec.model_copy(update={"source": tuple(source)})
    state = geotrans.open_bundle(bundle).state("generator")
    found = evaluate(save_bundle(tmp_path / "cir.safetensors", spec, state), data=cache.path)
    known = found.beside["known bands, the rest linear in them"]["psnr"].interval.value
    assert known > found.beside["unchanged"]["psnr"].interval.value + 5
    assert "linear fit" not in found.beside
    assert found.facts["baselines_learned_on"] == "3 targets of the split 'train'"


def test_the_bundle_says_where_its_places_are(tmp_path, make_scene):
    from tests.helpers.patches import toy_data

    data = toy_data(tmp_path, make_scene) | {"source": {"bands": ["red", "green", "blue"]}}
    config = resolve_config(toy_config(data=data, training__val_group=None))
    bundle = identity_bundle(tmp_path / "same.safetensors", training=config)
    found = evaluate(bundle)
    assert found.facts["n_places"] == 2
    assert found.facts["data"] == "the configuration in the bundle 'same'"
    assert found.scores["psnr"].interval.value == np.inf


def test_windows_of_one_scene_are_places_by_the_square(tmp_path, make_scene):
    from tests.helpers.patches import toy_data

    data = toy_data(tmp_path, make_scene) | {"source": {"bands": ["red", "green", "blue"]}}
    (tmp_path / "val" / "town_3.tif").unlink()
    make_scene(
        name="val/town_4.tif", bands=("red", "green", "blue"), shape=(96, 128), gsd_m=0.6,
        origin=(401_600.0, 3_800_000.0),
    )  # fmt: skip
    config = resolve_config(
        toy_config(data=data | {"patch": 24, "stride": 12}, training__val_group=None)
    )
    found = evaluate(identity_bundle(tmp_path / "same.safetensors", training=config))
    assert found.facts["n_places"] == 2 * 3, "squares of 48 px"
    by_place = {}
    for record in found.places.records:
        by_place.setdefault(record.place, []).append(record.window[:2])
    for starts in by_place.values():
        assert np.ptp(np.array(starts), axis=0).max() < 48


def test_the_group_that_training_scored_is_scored(tmp_path):
    truth = towns(4)
    cache = places_cache(tmp_path / "cache", truth, truth, groups=["2018", "2018", "2020", "2020"])
    training = {"training": {"val_group": "2020"}}
    bundle = identity_bundle(tmp_path / "same.safetensors", training=training)
    assert evaluate(bundle, data=cache.path).facts["groups"] == ["2020"]
    assert evaluate(bundle, data=cache.path, group="2018").facts["groups"] == ["2018"]
    assert evaluate(bundle, data=cache.path, group="all").facts["n_pairs"] == 4


def test_kernel_distance_and_its_interval_where_pictures_are_large_enough(tmp_path):
    truth = towns(4, size=128)
    source = np.random.default_rng(0).integers(0, 256, truth.shape, np.uint8)
    cache = places_cache(tmp_path / "cache", source, truth)
    found = evaluate(identity_bundle(tmp_path / "same.safetensors"), data=cache.path)
    distance = found.scores["kernel_distance"].interval
    assert distance.n == 4
    assert distance.value > 0
    assert distance.low <= distance.value
    assert found.scores["kernel_distance"].each is None


def test_what_is_written_opens_and_agrees(noisy, tmp_path):
    cache, *_ = noisy
    out = tmp_path / "scores"
    found = evaluate(identity_bundle(tmp_path / "same.safetensors"), data=cache.path, out=out)
    assert sorted(p.name for p in out.iterdir()) == [
        "places.gpkg", "places.parquet", "report.html", "scores.json",
    ]  # fmt: skip
    told = json.loads((out / "scores.json").read_text())
    assert told["scores"]["ssim"]["value"] == found.scores["ssim"].interval.value
    assert told["scores"]["ssim"]["beside"]["unchanged"]["n"] == 3
    assert (told["seed"], told["n_places"]) == (0, 3)
    for table in (gpd.read_file(out / "places.gpkg"), gpd.read_parquet(out / "places.parquet")):
        assert table.crs.to_epsg() == 32611
        assert list(table["place"]) == ["town_2", "town_3", "town_4"]
        np.testing.assert_allclose(table["ssim"], found.scores["ssim"].each)
        assert "psnr__linear_fit" in table.columns
        left, bottom, right, top = table.geometry[1].bounds
        assert (left, top) == (400_000 + 3 * APART_M, 3_800_000)
        assert (right - left, top - bottom) == pytest.approx((57.6, 57.6))
    content = (out / "report.html").read_text()
    check(content)
    assert content.count("<img") == 3 * 4
    assert "3 pairs of 3 places, seed 0" in content
    assert str(found) in "\n".join(f"{s.title}: {s.interval}" for s in found.scores.values())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.realdata
def test_the_card_of_cir2rgb_says_what_is_measured(data_dir):
    found = evaluate("cir2rgb")
    card = geotrans.open_bundle("cir2rgb").spec.metrics
    pairs = {
        "psnr": "PSNR, dB",
        "ssim": "SSIM",
        "sam": "SAM, degrees",
        "chroma": "Lab chroma error",
    }
    for name, title in pairs.items():
        score = found.scores[name].interval
        assert (score.value, score.low, score.high) == pytest.approx(
            (card[title].value, card[title].low, card[title].high), rel=1e-3
        )
        for other in ("linear fit", "unchanged", "known bands, the rest linear in them"):
            beside = found.beside[other][name].interval.value
            assert beside == pytest.approx(card[title].baselines[other], rel=1e-3)
