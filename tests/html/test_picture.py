"""Pictures inside a page."""

import base64
import re

import numpy as np
import pytest
from rasterio.io import MemoryFile

from geotrans.html.picture import embed_picture, read_picture
from geotrans.training.monitor import save_sheet


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(("lossless", "close"), [(True, 0), (False, 12)])
def test_a_picture_carries_its_pixels(lossless, close):
    ramp = np.linspace(0, 255, 32 * 32).reshape(1, 32, 32).repeat(3, 0).astype(np.uint8)
    found = embed_picture(ramp, 'a "ramp"', lossless=lossless)
    kind, data = re.match(
        r'<img src="data:image/(\w+);base64,([^"]*)" alt="a &quot;', found
    ).groups()
    assert kind == ("png" if lossless else "jpeg")
    with MemoryFile(base64.b64decode(data)) as memory, memory.open() as file:
        assert np.abs(file.read().astype(int) - ramp).max() <= close


def test_a_sheet_is_shrunk_to_fit(tmp_path):
    dark, light = (np.full((3, 40, 40), v, np.uint8) for v in (10, 200))
    save_sheet(tmp_path / "sheet.png", [[dark, light]] * 3)
    assert read_picture(tmp_path / "sheet.png", max_px=1000).shape == (3, 120, 80)
    small = read_picture(tmp_path / "sheet.png", max_px=30)
    assert small.shape == (3, 30, 20)
    assert (small[:, :, :10] == 10).all()
    assert (small[:, :, 10:] == 200).all()
