from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geotrans.errors import BundleError, TaskError
from geotrans.tasks import find_task, list_tasks, open_bundle, registry, shipped_bundles

MakeBundle = Callable[..., Path]


@pytest.fixture
def zoo(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A zoo of two."""
    bundles = {
        name: make_bundle(f"{name}.safetensors", name=name) for name in ("aerial2map", "map2aerial")
    }
    monkeypatch.setattr(registry, "shipped_bundles", lambda: bundles)
    return bundles


def test_finds_by_name(zoo: dict[str, Path]) -> None:
    assert find_task("map2aerial") == zoo["map2aerial"]
    assert open_bundle("map2aerial").spec.name == "map2aerial"
    assert [spec.name for spec in list_tasks()] == ["aerial2map", "map2aerial"]


def test_finds_by_path(zoo: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = zoo["map2aerial"]
    assert find_task(path) == path
    monkeypatch.chdir(path.parent)
    assert open_bundle(path.name).spec.name == "map2aerial"
    bare = path.rename(path.with_name("mine"))
    assert open_bundle("mine").path == bare


@pytest.mark.usefixtures("zoo")
def test_names_the_nearest() -> None:
    with pytest.raises(
        TaskError,
        match=r"no task 'map2arial': .* ships aerial2map, map2aerial; did you mean 'map2aerial'\?",
    ):
        find_task("map2arial")
    with pytest.raises(TaskError, match=r"no task 'zzz': .* ships aerial2map, map2aerial$"):
        find_task("zzz")


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("path", ["none.safetensors", "./map2aerial", "some/where"])
def test_a_path_that_is_not_there(path: str) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        open_bundle(path)


def test_what_ships_is_whole_and_small() -> None:
    bundles = shipped_bundles()
    assert sum(path.stat().st_size for path in bundles.values()) < 20e6
    for name, path in bundles.items():
        bundle = open_bundle(path)
        assert bundle.spec.name == name
        assert bundle.spec.licence
        assert bundle.spec.metrics
        bundle.generator()
