from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from geotrans.errors import DomainError
from geotrans.grid import Window
from geotrans.maps import load_style
from geotrans.scene import open_scene
from geotrans.tasks import PaletteClass, TaskSpec
from geotrans.tasks.domain import check_domain, palette_shares

MakeScene = Callable[..., Path]
COLORS = np.array([c.color for c in load_style("plain").classes], np.uint8)
PALETTE = tuple(PaletteClass(name=c.name, color=c.color) for c in load_style("plain").classes)


def a_map(shape: tuple[int, int] = (180, 200)) -> npt.NDArray[np.uint8]:
    """Blocks of the plain style with edges two colours share."""
    classes = np.random.default_rng(0).integers(0, len(COLORS), (12, 12))
    drawn = np.kron(COLORS[classes].astype(float), np.ones((20, 20, 1)))
    drawn[1:] = (drawn[1:] + drawn[:-1]) / 2
    return np.moveaxis(drawn[: shape[0], : shape[1]], -1, 0).round().astype(np.uint8)


def check(path: Path, spec: TaskSpec, **options: Any) -> None:
    with open_scene(path) as scene:
        check_domain(spec, scene, (1, 2, 3), **options)


class TestGroundSamplingDistance:
    @pytest.mark.parametrize("gsd_m", [0.48, 0.5, 0.7, 1.0, 1.04])
    def test_seen(self, make_scene: MakeScene, small_spec: TaskSpec, gsd_m: float) -> None:
        check(make_scene(gsd_m=gsd_m), small_spec)

    @pytest.mark.parametrize("gsd_m", [0.1, 0.46, 1.1, 10])
    def test_unseen(self, make_scene: MakeScene, small_spec: TaskSpec, gsd_m: float) -> None:
        path = make_scene(gsd_m=gsd_m)
        with pytest.raises(
            DomainError, match=rf"{gsd_m:g} m, .* has seen 0.5 to 1 m; .*any_gsd=True"
        ):
            check(path, small_spec)
        check(path, small_spec, any_gsd=True)

    def test_not_asked_or_not_known(self, make_scene: MakeScene, small_spec: TaskSpec) -> None:
        check(make_scene(gsd_m=10), small_spec.model_copy(update={"gsd_m": None}))
        check(make_scene(crs=None), small_spec)


class TestValues:
    def test_sixteen_bits_where_eight_were_seen(
        self, make_scene: MakeScene, small_spec: TaskSpec
    ) -> None:
        data = np.random.default_rng(0).integers(0, 4000, (3, 60, 60)).astype(np.uint16)
        path = make_scene(gsd_m=0.6, dtype="uint16", data=data, shape=(60, 60))
        with pytest.raises(DomainError, match=r"has seen 0 to 255; .*any_values=True"):
            check(path, small_spec)
        check(path, small_spec, any_values=True)

    def test_only_the_area_counts(self, make_scene: MakeScene, small_spec: TaskSpec) -> None:
        data = np.full((3, 60, 60), 4000, np.uint16)
        data[:, :20] = 100
        path = make_scene(gsd_m=0.6, dtype="uint16", data=data, shape=(60, 60))
        check(path, small_spec, area=Window(0, 0, 60, 20))
        with pytest.raises(DomainError):
            check(path, small_spec, area=Window(0, 20, 60, 40))

    def test_nothing_valid_is_not_judged(self, make_scene: MakeScene, small_spec: TaskSpec) -> None:
        data = np.full((3, 20, 20), 65535, np.uint16)
        path = make_scene(gsd_m=0.6, dtype="uint16", data=data, shape=(20, 20), nodata=65535)
        check(path, small_spec)


class TestStyle:
    def styled(self, spec: TaskSpec) -> TaskSpec:
        return spec.model_copy(update={"source_palette": PALETTE})

    def test_its_own(self, make_scene: MakeScene, small_spec: TaskSpec) -> None:
        path = make_scene(gsd_m=0.6, shape=(180, 200), data=a_map())
        check(path, self.styled(small_spec))

    @pytest.mark.parametrize(
        "change",
        [lambda m: 255 - m, lambda m: m[::-1], lambda m: np.repeat(m[:1], 3, axis=0)],
        ids=["inverted", "bands swapped", "grey"],
    )
    def test_another(
        self, make_scene: MakeScene, small_spec: TaskSpec, change: Callable[[Any], Any]
    ) -> None:
        path = make_scene(gsd_m=0.6, shape=(180, 200), data=np.ascontiguousarray(change(a_map())))
        spec = self.styled(small_spec)
        with pytest.raises(
            DomainError, match=r"geotrans render --style-of small', .*any_style=True"
        ):
            check(path, spec)
        check(path, spec, any_style=True)
        check(path, small_spec)

    def test_shares(self) -> None:
        assert palette_shares(a_map().reshape(3, -1), PALETTE) == (
            pytest.approx(0.95, abs=0.02),
            1.0,
        )
        between = (COLORS[:1].astype(int) + COLORS[1:2]).T // 2
        assert palette_shares(between, PALETTE) == (0.0, 1.0)
        assert palette_shares(np.full((3, 9), 255), PALETTE) == (0.0, 0.0)

    @pytest.mark.slow
    @pytest.mark.realdata
    def test_no_aerial_passes_for_a_map(self, data_dir: Path, small_spec: TaskSpec) -> None:
        spec = self.styled(small_spec)
        for path in sorted((data_dir / "santa_monica" / "aerial" / "val").glob("*.tif"))[:10]:
            with pytest.raises(DomainError, match="any_style=True"):
                check(path, spec)
