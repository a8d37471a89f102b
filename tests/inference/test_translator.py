from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from geotrans.errors import BundleError, DeviceError, TilingError, UsageError
from geotrans.grid import Window, plan_tiles
from geotrans.inference import Translator, has_bfloat16, translator
from geotrans.tasks import BandSpec
from tests.inference.conftest import PALETTE, UNET, MakeBundle

CPU = torch.device("cpu")
PRECISIONS = [
    "float32",
    pytest.param(
        "bfloat16",
        marks=pytest.mark.skipif(not has_bfloat16(CPU), reason="this CPU has no bfloat16"),
    ),
]


def scene(
    shape: tuple[int, int] = (200, 232), n: int = 3, dtype: str = "uint8"
) -> np.ndarray[Any, Any]:
    blocks = np.random.default_rng(5).integers(0, 255, (n, 40, 40)).astype(dtype)
    return np.kron(blocks, np.ones((1, 8, 8), dtype))[:, : shape[0], : shape[1]]


def window_of(data: np.ndarray[Any, Any]) -> Window:
    return Window.whole((data.shape[1], data.shape[2]))


def run(
    made: Translator, data: np.ndarray[Any, Any], anchor: tuple[int, int] = (0, 0)
) -> np.ndarray[Any, Any]:
    return made(data, window=window_of(data), anchor=anchor)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("palette", [None, PALETTE], ids=["image", "classes"])
@pytest.mark.parametrize("tile", [16, 56, 88])
def test_any_window_gives_the_same_pixels(
    make_bundle: MakeBundle, precision: str, palette: Any, tile: int
) -> None:
    bundle = make_bundle(noise=(1, 8), palette=palette)
    made = Translator(bundle, device="cpu", precision=precision, seed=4)
    halo, anchor = bundle.spec.halo, (-8, 16)
    data = scene()
    whole = run(made, data, anchor)
    area = window_of(data).grown(-halo)
    plan = plan_tiles(
        (200, 232), tile=tile, halo=halo, align=bundle.spec.align, area=area, anchor=anchor
    )
    joined = np.full_like(whole, 99)
    for one in plan:
        read = one.read.intersection(window_of(data))  # Edge windows shrink, yet stay aligned.
        part = made(data[:, *read.slices], window=read, anchor=anchor)
        joined[:, *one.core.slices] = part[:, *one.core.relative_to(read).slices]
    assert whole.std() > 20
    inside = area.slices
    assert np.array_equal(joined[:, *inside], whole[:, *inside])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_number_of_threads_does_not_matter(make_bundle: MakeBundle, precision: str) -> None:
    made = Translator(make_bundle(noise=(1,)), device="cpu", precision=precision)
    n_threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            results.append(run(made, scene()))
    finally:
        torch.set_num_threads(n_threads)
    assert all(np.array_equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "float32"])
def test_identity_is_exact(make_bundle: MakeBundle, dtype: str) -> None:
    bands = (BandSpec(name="a", dtype=dtype, value_range=(-1, 1)),) * 2
    targets = (BandSpec(name="a", dtype="source", value_range=(-1, 1)),) * 2
    bundle = make_bundle("identity", source=bands, target=targets)
    rng = np.random.default_rng(0)
    if dtype == "float32":
        data = (rng.normal(size=(2, 33, 47)) * 1e5).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        data = rng.integers(limits.min, limits.max, (2, 33, 47), dtype, endpoint=True)
    made = run(Translator(bundle, device="cpu"), data)
    assert made.dtype == dtype
    assert np.array_equal(made, data)


BODY = {"arch": "unet", "args": {**UNET, "out_activation": "none"}}


def stir(net: nn.Module) -> None:
    """A body that says something, over a linear map of its own."""
    net.set_linear(np.full((3, 3), 0.3), np.full(3, 0.1))
    for name, weight in net.body.named_parameters():
        if name.startswith("head") and weight.ndim == 4:
            nn.init.normal_(weight, 0, 0.1, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("dtype", "value_range"),
    [("uint8", (0, 255)), ("uint16", (0, 65535)), ("uint16", (250, 3000)), ("int16", (0, 1e4))],
)
def test_carried_bands_are_exact_in_any_tile_and_precision(
    make_bundle: MakeBundle,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    dtype: str,
    value_range: tuple[float, float],
) -> None:
    monkeypatch.setattr("geotrans.inference.precision.has_bfloat16", lambda device: True)
    bands = tuple(
        BandSpec(name=name, dtype=dtype, value_range=value_range)
        for name in ("nir", "red", "green")
    )
    args = {"body": BODY, "n_bands": 3, "carry": [[0, 1], [1, 2]]}
    bundle = make_bundle("residual", args, noise=(1,), source=bands, target=bands, change=stir)
    made = Translator(bundle, device="cpu", precision=precision)
    limits = np.iinfo(dtype)
    data = np.random.default_rng(0).integers(
        limits.min, limits.max, (3, 160, 192), dtype, endpoint=True
    )
    whole = run(made, data)
    assert whole.dtype == dtype
    assert np.array_equal(whole[:2], data[1:])
    assert whole[2].std() > 0
    if precision == "float32":  # without hardware for it, bfloat16 is not exact over windows
        halo = bundle.spec.halo
        part = Window(32, 24, 128, 120)
        tile = made(data[:, *part.slices], window=part, anchor=(0, 0))
        inner = part.grown(-halo)
        assert not inner.is_empty
        assert np.array_equal(tile[:, *inner.relative_to(part).slices], whole[:, *inner.slices])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_locked_luminance_is_kept_to_half_a_grey_level(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    monkeypatch.setattr("geotrans.inference.precision.has_bfloat16", lambda device: True)
    args = {"body": BODY, "n_bands": 1, "lock": [0, 0, 1, 2]}

    def stir_one(net: nn.Module) -> None:
        net.set_linear(np.array([[0.9], [1.0], [0.6]]), np.array([0.3, -0.1, 0.0]))
        nn.init.normal_(net.body.head[-1].weight, 0, 0.1)

    bundle = make_bundle("residual", args, source=(BandSpec(name="pan"),), change=stir_one)
    data = np.random.default_rng(0).integers(0, 256, (1, 64, 64)).astype(np.uint8)
    made = run(Translator(bundle, device="cpu", precision=precision), data).astype(float)
    luma = 0.299 * made[0] + 0.587 * made[1] + 0.114 * made[2]
    assert np.abs(luma - data[0]).max() <= 0.5 + 1e-3
    assert np.abs(made[0] - made[2]).mean() > 5


def test_radiometry_is_applied_once_each_way(make_bundle: MakeBundle) -> None:
    source = (BandSpec(name="nir", dtype="uint16", value_range=(0, 1), units="reflectance"),)
    data = np.random.default_rng(0).integers(0, 10_000, (1, 9, 9), np.uint16)
    kept = Translator(
        make_bundle(
            "identity", source=source, target=(source[0].model_copy(update={"dtype": "source"}),)
        ),
        device="cpu",
    )
    arguments: dict[str, Any] = {"window": window_of(data), "anchor": (0, 0)}
    assert np.array_equal(kept(data, **arguments, radiometry=[(1e-4, 0.0)]), data)
    eight_bit = Translator(
        make_bundle("identity", source=source, target=(BandSpec(name="nir"),)), device="cpu"
    )
    expected = np.rint(data * 1e-4 * 255)
    stored = eight_bit(data, **arguments, radiometry=[(1e-4, 0.0)])
    physical = eight_bit((data * 1e-4).astype(np.float32), **arguments)
    assert stored.dtype == physical.dtype == np.uint8
    assert np.array_equal(stored, expected)
    assert np.array_equal(physical, expected)


class TestNoise:
    def test_seed_and_ground_decide(self, make_bundle: MakeBundle) -> None:
        bundle, data = make_bundle(noise=(1, 8)), scene((64, 64))
        # Which arithmetic is faster may change from one translator to the next.
        made = [Translator(bundle, device="cpu", precision="float32", seed=s) for s in (1, 1, 2)]
        one, again, other = (run(translator, data) for translator in made)
        elsewhere = run(made[0], data, (0, 8))
        assert np.array_equal(one, again)
        assert (one != other).mean() > 0.5
        assert (one != elsewhere).mean() > 0.5

    def test_is_none_of_a_task_without(self, make_bundle: MakeBundle) -> None:
        bundle, data = make_bundle(), scene((64, 64))
        one, other = (run(Translator(bundle, device="cpu", seed=s), data) for s in (1, 2))
        assert np.array_equal(one, other)


class TestPalette:
    def test_colours_are_those_of_the_classes(self, make_bundle: MakeBundle) -> None:
        bundle, data = make_bundle(palette=PALETTE), scene((64, 64))
        colors = run(Translator(bundle, device="cpu"), data)
        classes = run(Translator(bundle, device="cpu", as_="classes"), data)
        assert classes.shape == (1, 64, 64)
        assert classes.dtype == colors.dtype == np.uint8
        assert len(np.unique(classes)) > 2
        table = np.array([c.color for c in PALETTE], np.uint8)
        assert np.array_equal(colors, table[classes[0]].transpose(2, 0, 1))

    def test_only_where_there_is_one(self, make_bundle: MakeBundle) -> None:
        with pytest.raises(UsageError, match="has no classes; use rgb"):
            Translator(make_bundle(), as_="classes")
        with pytest.raises(UsageError, match="as 'png' is not known"):
            Translator(make_bundle(), as_="png")  # type: ignore[arg-type] # the point of the test


def test_bfloat16_is_close(make_bundle: MakeBundle) -> None:
    if not has_bfloat16(CPU):
        pytest.skip("this CPU has no bfloat16")
    bundle, data = make_bundle(), scene((64, 64))
    exact, fast = (
        run(Translator(bundle, device="cpu", precision=p), data).astype(int)
        for p in ("float32", "bfloat16")
    )
    assert np.abs(exact - fast).mean() < 1.5


def test_many_threads_at_once(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    made, data = Translator(make_bundle(noise=(1,)), device="cpu"), scene()
    busy, most, count = 0, 0, threading.Lock()
    network = made._net

    def counted(x: torch.Tensor) -> torch.Tensor:
        nonlocal busy, most
        with count:
            busy += 1
            most = max(most, busy)
        y: torch.Tensor = network(x)
        with count:
            busy -= 1
        return y

    monkeypatch.setattr(made, "_net", counted)
    windows = [Window(8 * i, 8 * i, 96, 104) for i in range(12)]

    def one(window: Window) -> np.ndarray[Any, Any]:
        return made(data[:, *window.slices], window=window, anchor=(0, 0))

    expected = [one(window) for window in windows]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(one, windows))
    assert most == 1
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_travels_to_another_process(make_bundle: MakeBundle) -> None:
    made = Translator(make_bundle(noise=(1,)), device="cpu", precision="auto", seed=9)
    sent = pickle.dumps(made)
    assert len(sent) < 20_000  # The weights stay in their file.
    arrived = pickle.loads(sent)
    assert (arrived.precision, arrived.device) == (made.precision, made.device)
    assert np.array_equal(run(arrived, scene()), run(made, scene()))


class TestRefuses:
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_values_that_are_not_finite(self, make_bundle: MakeBundle, value: float) -> None:
        made, data = Translator(make_bundle(), device="cpu"), scene(dtype="float32")
        data[1, 100, 100] = value
        with pytest.raises(
            BundleError, match="not finite for a window of 232 x 200 px at column 0"
        ):
            run(made, data)

    def test_no_cause_for_alarm(self, make_bundle: MakeBundle) -> None:
        bands = (BandSpec(name="a", dtype="float32", value_range=(-1, 1)),)
        made = Translator(make_bundle("identity", source=bands, target=bands), device="cpu")
        data = np.full((1, 64, 64), 3e38, np.float32)  # The sum overflows, no value does.
        assert np.array_equal(run(made, data), data)

    def test_arrays_and_windows_that_do_not_fit(self, make_bundle: MakeBundle) -> None:
        made, data = Translator(make_bundle(), device="cpu"), scene((64, 64))
        with pytest.raises(
            TilingError, match=r"reads 3 bands .* got an array of shape \(2, 64, 64\)"
        ):
            made(data[:2], window=Window(0, 0, 64, 64), anchor=(0, 0))
        with pytest.raises(TilingError, match="got an array of shape"):
            made(data, window=Window(0, 0, 64, 72), anchor=(0, 0))
        for window, anchor in (
            (Window(0, 0, 60, 64), (0, 0)),
            (Window(4, 0, 64, 64), (0, 0)),
            (Window(0, 0, 64, 64), (0, 2)),
        ):
            with pytest.raises(TilingError, match="needs windows on multiples of 8 px"):
                made(data[:, :, : window.width], window=window, anchor=anchor)

    def test_a_gpu_that_is_not_there(
        self, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(DeviceError, match='use device="cpu"'):
            Translator(make_bundle(), device="cuda")

    def test_statistics_of_the_tile(self, make_bundle: MakeBundle) -> None:
        with pytest.raises(UsageError, match=r"uses instance norm.*give those of the scene"):
            Translator(make_bundle(norm="instance"))

    def test_too_little_memory(
        self, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Translator(make_bundle(), device="cpu")

        def full(_: torch.Tensor) -> torch.Tensor:
            return torch.empty(2**60)

        monkeypatch.setattr(made, "_net", full)
        with pytest.raises(DeviceError, match=r"cpu has too little memory for a window of 64 x 64"):
            run(made, scene((64, 64)))

    def test_other_mistakes_stay_what_they_are(
        self, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Translator(make_bundle(), device="cpu")

        def broken(_: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("something else")

        monkeypatch.setattr(made, "_net", broken)
        with pytest.raises(RuntimeError, match="something else"):
            run(made, scene((64, 64)))
        assert not translator._locks[CPU].locked()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("palette", [None, PALETTE], ids=["image", "classes"])
def test_a_gpu_gives_the_same_picture(make_bundle: MakeBundle, palette: Any) -> None:
    bundle, data = make_bundle(noise=(1, 8), palette=palette), scene()
    here, there = (
        run(Translator(bundle, device=d, precision="float32"), data).astype(int)
        for d in ("cpu", "cuda")
    )
    assert (here != there).mean() < 0.01
