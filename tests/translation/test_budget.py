"""Tiles under a memory budget."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from geotrans.errors import TilingError, UsageError
from geotrans.inference import Translator
from geotrans.runtime.gdal import GDAL_CACHE_BYTES
from geotrans.runtime.memory import parse_bytes, resident_bytes
from geotrans.tasks import open_bundle
from geotrans.translation.budget import default_tile, largest_tile
from tests.helpers.bundles import identity_bundle, random_bundle


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("1.5GB", 1_500_000_000), ("800m", 800_000_000), ("64 MiB", 64_000_000), (4096, 4096)],
)
def test_sizes(text: str | int, n_bytes: int) -> None:
    assert parse_bytes(text) == n_bytes


@pytest.mark.parametrize("text", ["", "lots", "-3GB", "0", "1.2.3GB", "GB"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("halo", "align", "tile"), [(0, 1, 1024), (45, 16, 928), (93, 32, 832), (700, 32, 704)]
)
def test_the_default_window_is_1024_px(tmp_path: Path, halo: int, align: int, tile: int) -> None:
    bundle = identity_bundle(tmp_path / "same.safetensors", halo=halo, align=align)
    assert default_tile(open_bundle(bundle).spec) == tile


def test_a_budget_makes_tiles_smaller_down_to_an_error(tmp_path: Path) -> None:
    bundle = open_bundle(random_bundle(tmp_path / "random.safetensors"))
    base = resident_bytes()
    translator = Translator(bundle, precision="float32")

    def core(n_bytes: int, workers: int = 1) -> int:
        return largest_tile(n_bytes, translator, base=base, dtype="uint8", workers=workers)

    floor = base + GDAL_CACHE_BYTES
    assert core(floor + 10**10) == default_tile(bundle.spec)
    sizes = [core(floor + n * 10**6) for n in (200, 100, 50)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] % bundle.spec.align == 0
    assert sizes[-1] < sizes[0]
    assert core(2 * floor + 10**10, workers=2) <= core(2 * floor + 10**10)
    with pytest.raises(TilingError, match=r"too little for task 'random' with 1 worker; it needs"):
        core(floor)


@pytest.mark.slow
@pytest.mark.xdist_group("serial")
def test_the_memory_of_a_network_is_about_what_it_takes(tmp_path: Path) -> None:
    # In a process of its own: elsewhere freed memory is taken again before it is asked for.
    script = """if True:
        import sys
        import numpy as np
        from geotrans.grid import Window
        from geotrans.inference import Translator
        from geotrans.translation.budget import network_bytes_per_px
        from geotrans.runtime.memory import resident_bytes
        from geotrans.tasks import open_bundle

        bundle = open_bundle(sys.argv[1])
        n = 1024
        expected = network_bytes_per_px(bundle, "float32") * n**2
        base = resident_bytes()
        translator = Translator(bundle, precision="float32")
        for _ in range(2):
            patch = np.zeros((3, n, n), np.uint8)
            translator(patch, window=Window(0, 0, n, n), anchor=(0, 0))
        print((resident_bytes() - base) / expected)
    """
    bundle = random_bundle(tmp_path / "random.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", script, str(bundle)], capture_output=True, text=True, check=True
    )
    assert 0.4 < float(done.stdout) < 1.3


@pytest.mark.xdist_group("serial")
def test_peak_memory_is_seen() -> None:
    # A process of its own: this one may have freed memory that an array takes up again.
    code = (
        "import numpy as np\n"
        "from geotrans.runtime.memory import PeakMemory, resident_bytes\n"
        "before = resident_bytes()\n"
        "with PeakMemory() as peak:\n"
        "    array = np.ones(120_000_000, np.uint8)\n"
        "    for _ in range(5):\n"
        "        array += 1\n"
        "    del array\n"
        "print(peak.n_bytes - before)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(told.stdout) > 60_000_000
