"""Less context than a network sees: faster, not exact, and told."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from geotrans.errors import OutputError, TilingError
from geotrans.translation import writer as graph
from geotrans.translation.estimate import estimate
from geotrans.translation.translate import translate
from tests.helpers.bundles import random_bundle
from tests.helpers.scenes import write_scene

SHAPE = (150, 170)


@pytest.fixture(scope="module")
def exact_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene, a bundle and its exact product."""
    folder = tmp_path_factory.mktemp("halo")
    data = np.random.default_rng(0).integers(0, 255, (3, *SHAPE)).astype("uint8")
    write_scene(folder / "scene.tif", shape=SHAPE, data=data, gsd_m=0.6)
    random_bundle(folder / "random.safetensors")
    _make(folder, "exact.tif", tile=48)
    return folder


def _make(folder: Path, out: str | Path, **choices: Any) -> Path:
    choices = {"precision": "float32"} | choices
    return translate(
        folder / "scene.tif", task=folder / "random.safetensors", out=folder / out, **choices
    ).path


def _read(path: Path) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    with rasterio.open(path) as file:
        return file.read(), json.loads(file.tags()["GEOTRANS_PARAMS"])


def test_the_error_is_that_of_the_tile_it_was_measured_on(
    exact_scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exact, params = _read(exact_scene / "exact.tif")
    assert "halo_error" not in params
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        made, params = _read(_make(exact_scene, tmp_path / "made.tif", tile=48, halo=4))
    error = params["halo_error"]
    assert (params["halo"], error["halo"], error["exact"]) == (4, 4, 10)
    col, row, width, height = error["tile"]
    inside = np.s_[:, row : row + height, col : col + width]
    difference = np.abs(made[inside].astype(int) - exact[inside])
    assert error["largest"] == difference.max() > 0
    assert error["share"] == pytest.approx((difference > 0).mean())
    assert 0 < error["share"] < 0.9
    assert (
        f"{100 * error['share']:.2g} % of the values differ, by up to {difference.max()}"
        in caplog.text
    )


def test_enough_context_is_exact(
    exact_scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        made, params = _read(_make(exact_scene, tmp_path / "made.tif", tile=48, halo=20))
    assert np.array_equal(made, _read(exact_scene / "exact.tif")[0])
    assert "halo_error" not in params
    assert params["halo"] == 20
    assert not caplog.records


def test_the_plan_states_the_cost(exact_scene: Path) -> None:
    choices: dict[str, Any] = {"task": exact_scene / "random.safetensors", "precision": "float32"}
    scene, out = exact_scene / "scene.tif", exact_scene / "x.tif"
    exact = estimate(scene, out=out, tile=16, **choices)
    assert exact.overhead > 3
    assert exact.halo_error is None
    assert "px computed per px to be exact; a larger tile computes less, or a smaller halo" in str(
        exact
    )
    short = estimate(scene, out=out, tile=16, halo=4, **choices)
    assert short.overhead < exact.overhead
    assert "not exact: a halo of 4 px instead of 10" in str(short)
    assert short.to_dict()["halo_error"]["share"] > 0
    json.dumps(short.to_dict())


def test_a_small_budget_measures_in_pieces_or_not_at_all(
    exact_scene: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from geotrans.translation import plan

    within = plan.largest_tile
    whole = _read(_make(exact_scene, tmp_path / "whole.tif", tile=64, halo=4))[1]["halo_error"]

    def small(*given: Any, halo: int | None = None, **named: Any) -> int:
        return 64 if halo is not None else 16

    monkeypatch.setattr(plan, "largest_tile", small)
    pieces = _read(_make(exact_scene, tmp_path / "pieces.tif", memory=10**9, halo=4))[1][
        "halo_error"
    ]
    assert pieces == whole

    def none(*given: Any, halo: int | None = None, **named: Any) -> int:
        return (
            64 if halo is not None else within(*given, **{**named, "workers": 1} | {"base": 10**12})
        )

    monkeypatch.setattr(plan, "largest_tile", none)
    with caplog.at_level(logging.WARNING, logger="geotrans"):
        params = _read(_make(exact_scene, tmp_path / "none.tif", memory=10**9, halo=4))[1]
    assert "halo_error" not in params
    assert "was not measured, because the memory given" in caplog.text


def test_a_stopped_run_goes_on_with_its_halo_only(
    exact_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, n_made, translate_tile = tmp_path / "out.tif", 0, graph.translate_tile

    def stopping(job: Any, tile: Any) -> Any:
        nonlocal n_made
        n_made += 1
        if n_made == 4:
            raise KeyboardInterrupt
        return translate_tile(job, tile)

    monkeypatch.setattr(graph, "translate_tile", stopping)
    with pytest.raises(KeyboardInterrupt):
        _make(exact_scene, out, tile=48, halo=4)
    monkeypatch.undo()
    with pytest.raises(OutputError, match="another run"):
        _make(exact_scene, out, tile=48)
    made = _read(_make(exact_scene, out, halo=4))[0]
    expected = _read(_make(exact_scene, tmp_path / "whole.tif", tile=48, halo=4))[0]
    assert np.array_equal(made, expected)


def test_a_negative_halo_cannot_be_meant(exact_scene: Path, tmp_path: Path) -> None:
    with pytest.raises(TilingError, match="halo at least 0"):
        _make(exact_scene, tmp_path / "x.tif", tile=48, halo=-1)
