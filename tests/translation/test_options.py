"""Options as values, and as the keywords they are given by."""

from __future__ import annotations

import pickle

import pytest

from geotrans.errors import UsageError
from geotrans.tasks import open_bundle
from geotrans.translation.options import (
    PixelOptions,
    RunOptions,
    join_options,
    option_names,
    split_options,
)


def test_keywords_are_split_and_joined_again() -> None:
    pixels, run = split_options({"seed": 3, "tile": 64, "any_gsd": True})
    assert pixels == PixelOptions(seed=3, any_gsd=True)
    assert run == RunOptions(tile=64)
    assert split_options(join_options(pixels, run)) == (pixels, run)
    assert pickle.loads(pickle.dumps((pixels, run))) == (pixels, run)


def test_no_option_is_of_both_kinds() -> None:
    assert not set(option_names(PixelOptions)) & set(option_names(RunOptions))


def test_an_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no option 'memry'.*'memory'"):
        split_options({"memry": "1GB"})


def test_workers_are_counted_from_one() -> None:
    with pytest.raises(UsageError, match="asked for 0 workers; give at least 1"):
        RunOptions(workers=0)


def test_bands_are_given_as_text_or_as_they_are() -> None:
    spec = open_bundle("cir2rgb").spec
    mapping = {"nir": 4, "red": 1, "green": 2}
    assert PixelOptions(bands="nir=4,red=1,green=2").band_mapping(spec) == mapping
    assert PixelOptions(bands=mapping).band_mapping(spec) == mapping
    assert PixelOptions().band_mapping(spec) is None
