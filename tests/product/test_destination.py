"""Where a product goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geotrans.errors import OutputError, UsageError
from geotrans.product.destination import check_space, format_size, output_path
from geotrans.scene import open_scene

Make = Callable[..., Path]


def test_the_default_is_beside_the_source(make_scene: Make, tmp_path: Path) -> None:
    scene = open_scene(make_scene(name="town.tif"))
    assert (
        output_path(scene, "map2aerial", None, overwrite=False) == tmp_path / "town_map2aerial.tif"
    )
    folder = tmp_path / "products"
    folder.mkdir()
    assert output_path(scene, "t", folder, overwrite=False) == folder / "town_t.tif"
    assert output_path(scene, "t", folder / "x.TIFF", overwrite=False) == folder / "x.TIFF"


@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
def test_what_is_no_local_file_goes_to_the_current_directory(
    make_scene: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rioxarray

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with rioxarray.open_rasterio(make_scene()) as array:
        scene = open_scene(array.rename("patch"))
    assert output_path(scene, "t", None, overwrite=False) == here / "patch_t.tif"


def test_nothing_is_overwritten_by_accident(make_scene: Make, tmp_path: Path) -> None:
    path = make_scene()
    scene = open_scene(path)
    out = tmp_path / "out.tif"
    out.write_text("old")
    with pytest.raises(OutputError, match="exists; replace it with overwrite=True"):
        output_path(scene, "t", out, overwrite=False)
    assert output_path(scene, "t", out, overwrite=True) == out
    link = tmp_path / "link.tif"
    link.symlink_to(path)
    for same in (path, link, tmp_path / "." / path.name):
        with pytest.raises(OutputError, match="the source itself"):
            output_path(scene, "t", same, overwrite=True)
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    (folder / f"{scene.name}_t.tif").mkdir()
    with pytest.raises(OutputError, match="no file"):
        output_path(scene, "t", folder, overwrite=True)


def test_a_product_is_a_geotiff(make_scene: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.tif"):
        output_path(open_scene(make_scene()), "t", tmp_path / "x.jpg", overwrite=False)


def test_space_is_looked_at(tmp_path: Path) -> None:
    check_space(tmp_path / "x.tif", 10**6)
    with pytest.raises(OutputError, match=r"free; the product has .* of pixels"):
        check_space(tmp_path / "x.tif", 10**18)
    assert format_size(1_234_567) == "1.2 MB"
    assert format_size(2.5e9) == "2.5 GB"
