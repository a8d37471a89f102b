from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rasterio.enums import ColorInterp

from geotrans.errors import BandError
from geotrans.scene import match_bands, open_scene, parse_mapping
from geotrans.scene.bands import find_common_name
from geotrans.tasks.spec import BandSpec

MakeScene = Callable[..., Path]

RGB_INTERP = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]


def wanted(*names: str) -> list[BandSpec]:
    return [BandSpec(name=name) for name in names]


@pytest.mark.parametrize(
    ("bands", "names", "expected"),
    [
        (["red", "green", "blue", "nir"], ["nir", "red", "green"], (4, 1, 2)),
        (["NIR", "Red", "Green"], ["nir", "red", "green"], (1, 2, 3)),
        (["Band 4 Near-Infrared", "red", "near_infrared"], ["nir"], (3,)),
        (["B02", "B03", "B04", "B08", "B8A", "B12"], ["red", "nir", "swir22"], (3, 4, 6)),
        (["B2", "B3", "B4", "B8"], ["nir", "red", "green"], (4, 3, 2)),
        (["SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6"], ["red", "green", "nir"], (3, 2, 4)),
        (["swir1", "thermal"], ["swir16"], (1,)),
        (["vv", "vh"], ["vh", "vv"], (2, 1)),
        (["r", "g", "b"], ["blue"], (3,)),
        (["panchromatic"], ["pan"], (1,)),
    ],
)
def test_bands_are_found_by_name(
    make_scene: MakeScene, bands: list[str], names: list[str], expected: tuple[int, ...]
) -> None:
    assert match_bands(open_scene(make_scene(bands=bands)), wanted(*names)) == expected


def test_common_names_count(make_scene: MakeScene) -> None:
    spec = [BandSpec(name="near", common_name="nir")]
    assert match_bands(open_scene(make_scene(bands=["red", "nir"])), spec) == (2,)


def test_colours_of_unnamed_bands_are_names_enough(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(bands=3, colorinterp=list(reversed(RGB_INTERP))))
    assert match_bands(scene, wanted("red", "green", "blue")) == (3, 2, 1)
    named = open_scene(make_scene(bands=["Band_1", "Band_2", "Band_3"], colorinterp=RGB_INTERP))
    assert match_bands(named, wanted("blue", "red")) == (3, 1)


def test_a_name_that_says_otherwise_beats_the_colour(make_scene: MakeScene) -> None:
    """GDAL calls the bands of any 3-band photograph red, green, blue, false-colour ones too."""
    scene = open_scene(make_scene(bands=["nir", "red", "green"], colorinterp=RGB_INTERP))
    assert match_bands(scene, wanted("red", "green")) == (2, 3)
    with pytest.raises(BandError, match=r'pass bands=\{"blue": "N"\}'):
        match_bands(scene, wanted("red", "green", "blue"))


def test_position_alone_is_no_name(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(bands=3, name="scene.tif"))
    with pytest.raises(BandError) as caught:
        match_bands(scene, wanted("nir", "red", "green"), task="spectral2natural")
    assert str(caught.value) == (
        "task 'spectral2natural' reads bands nir, red, green; scene has 3 unnamed bands; "
        'pass bands={"nir": 1, "red": 2, "green": 3}'
    )


def test_codes_that_differ_between_sensors_are_not_guessed(make_scene: MakeScene) -> None:
    assert find_common_name("B4", ["B2", "B3", "B4"]) is None
    with pytest.raises(BandError, match=r"has 1 \(B2\), 2 \(B3\), 3 \(B4\)"):
        match_bands(open_scene(make_scene(bands=["B2", "B3", "B4"])), wanted("red"))


def test_two_bands_of_one_name_are_ambiguous(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(bands=["red", "Red"]))
    with pytest.raises(BandError, match=r"2 bands that are red: 1, 2; pass bands=.*red"):
        match_bands(scene, wanted("red"))
    assert match_bands(scene, wanted("red"), {"red": 2}) == (2,)


def test_a_mapping_decides(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(bands=["red", "green", "blue"]))
    assert match_bands(scene, wanted("nir", "red"), {"nir": 3}) == (3, 1)
    assert match_bands(scene, wanted("nir"), {"nir": "Green"}) == (2,)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"nir": 4}, r"band 4 of .*; it has bands 1 \(red\), 2 \(green\)"),
        ({"nir": "gren"}, "did you mean 'green'"),
        ({"nri": 1}, "reads bands nir, not 'nri'; did you mean 'nir'"),
    ],
)
def test_a_mapping_to_nothing_is_said(
    make_scene: MakeScene, mapping: dict[str, int | str], says: str
) -> None:
    with pytest.raises(BandError, match=says):
        match_bands(open_scene(make_scene(bands=["red", "green"])), wanted("nir"), mapping)


def test_the_only_band_of_a_scene_that_says_nothing_fits(make_scene: MakeScene) -> None:
    assert match_bands(open_scene(make_scene(bands=1)), wanted("pan")) == (1,)
    with pytest.raises(BandError):
        match_bands(open_scene(make_scene(bands=["elevation"])), wanted("pan"))


def test_too_few_bands_are_said(make_scene: MakeScene) -> None:
    with pytest.raises(BandError, match="has 1 unnamed band; it lacks red, green, blue"):
        match_bands(open_scene(make_scene(bands=1)), wanted("red", "green", "blue"))


def test_alpha_is_no_band(make_scene: MakeScene) -> None:
    scene = open_scene(make_scene(bands=1, alpha=True))
    assert match_bands(scene, wanted("pan")) == (1,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nir=1,red=2", {"nir": 1, "red": 2}),
        (" red = B04 ", {"red": "B04"}),
        ("4,1", {"nir": 4, "red": 1}),
    ],
)
def test_mappings_are_written_by_name_or_in_order(
    text: str, expected: dict[str, int | str]
) -> None:
    assert parse_mapping(text, wanted("nir", "red")) == expected


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "nir=1,2", ","])
def test_other_mappings_are_said(text: str) -> None:
    with pytest.raises(BandError, match="write nir=1,red=2"):
        parse_mapping(text, wanted("nir", "red"))
