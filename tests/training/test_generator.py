import numpy as np
import pytest
import torch

from geotrans import models
from geotrans.errors import ConfigError
from geotrans.models.residual import LUMA
from geotrans.tasks import BandSpec
from geotrans.training.config import GeneratorConfig
from geotrans.training.data import Batch, ResidentPatches, crop_margin
from geotrans.training.generator import adapt_target, adjust_lighting, fit_paired, generator_args
from tests.helpers.networks import noise
from tests.helpers.patches import toy_config

CIR = ("nir", "red", "green")
RGB = ("red", "green", "blue")
UNET = {"arch": "unet", "args": {"depth": 2, "width": 6}}


def bands(names, **fields):
    return tuple(BandSpec(name=name, **fields) for name in names)


def args(source=CIR, target=RGB, *, arch="residual", palette=False, **given):
    given = {"body": UNET, **given} if arch == "residual" else given
    return generator_args(
        GeneratorConfig(arch=arch, args=given),
        source=source if isinstance(source[0], BandSpec) else bands(source),
        target=target if isinstance(target[0], BandSpec) else bands(target),
        palette=palette,
    )


def test_names_become_positions():
    assert args(carry=["red", "green"]) == {
        "body": {"arch": "unet", "args": {"out_activation": "none", "depth": 2, "width": 6}},
        "n_bands": 3,
        "carry": [[0, 1], [1, 2]],
    }
    assert args(carry={"blue": "nir"})["carry"] == [[2, 0]]
    assert args(("pan",), ("nir", *RGB), lock="pan")["lock"] == [0, 1, 2, 3]
    models.build("residual", 5, 3, **args(carry=["red"]))  # noise after the bands


def test_other_networks_end_as_they_always_did():
    assert args(arch="unet", depth=3) == {"out_activation": "tanh", "depth": 3}
    assert args(arch="unet", palette=True) == {"out_activation": "none"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"carry": ["grean"]}, r"the target band 'grean'; did you mean 'green'\?; the target has"),
        ({"carry": ["blue"]}, "carry asks for the source band 'blue'; the source has nir, red"),
        ({"lock": "pam", "source": ("pan",)}, r"the source band 'pam'; did you mean 'pan'\?"),
        ({"lock": "nir", "target": ("red", "green")}, "lock asks for the target band 'blue'"),
        ({"lok": "nir"}, r"generator.args.lok: unknown key; did you mean 'lock'\?"),
        ({"body": {**UNET, "pretrained": True}}, "is said as generator.pretrained"),
        ({"palette": True}, "residual writes values, not classes of a task.palette"),
        (
            {"carry": ["red"], "target": bands(RGB, value_range=(0, 100))},
            r"value_range of target band 'red' is \(0.0, 100.0\), of source band 'red' \(0.0, 255",
        ),
        ({"carry": ["red"], "target": bands(RGB, dtype="uint16")}, "dtype of target band 'red'"),
    ],
)
def test_bands_that_are_not_there_are_told_with_the_nearest(given, message):
    with pytest.raises(ConfigError, match=message):
        args(**given)


def test_the_fit_of_the_pairs_is_the_residual_without_its_body(make_cache):
    patches = ResidentPatches(
        make_cache(margin=8), "train", toy_config(), device=torch.device("cpu")
    )
    net = models.build("residual", 3, 3, **args(RGB, RGB)).eval()
    fit_paired(net, patches)
    batch = patches.read_patch(0, border=8, align=4)
    with torch.inference_mode():
        y = patches.denormalize(net(batch.source))[0, :, 8:56, 8:56]
    source = patches.source[:, :, 8:-8, 8:-8].numpy()
    valid = patches.valid.numpy()
    x = np.moveaxis(source, 1, -1)[valid].astype(float)
    x = np.column_stack([x, np.ones(len(x))])
    solved = np.linalg.lstsq(x, np.moveaxis(patches.target.numpy(), 1, -1)[valid].astype(float))[0]
    wanted = np.einsum("ck,chw->khw", solved[:3], source[0]) + solved[3][:, None, None]
    np.testing.assert_allclose(y.numpy(), wanted, atol=1e-2)


def luma(colors):
    return sum(w * band for w, band in zip(LUMA, colors.unbind(dim=1), strict=True))


def test_a_target_is_lit_as_its_source_and_keeps_its_colour():
    colors = (noise(2, 3, 8, 8) * 0.8).clamp(-0.7, 0.7)
    assert torch.allclose(adjust_lighting(colors, luma(colors)[:, None]), colors, atol=1e-6)
    light = ((luma(colors) + 1) * 0.8 - 1)[:, None]  # four fifths of the light
    dark = adjust_lighting(colors, light)
    torch.testing.assert_close(luma(dark), light[:, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close((dark + 1) / (colors + 1), torch.full_like(colors, 0.8))
    bright = adjust_lighting(colors, torch.full_like(light, 0.95))
    torch.testing.assert_close(luma(bright), torch.full((2, 8, 8), 0.95), atol=1e-6, rtol=0)
    assert float(bright.max()) <= 1 + 1e-6
    assert torch.isfinite(adjust_lighting(-torch.ones(1, 3, 2, 2), torch.ones(1, 1, 2, 2))).all()


def test_carried_and_locked_targets_follow_the_source_whatever_became_of_it():
    batch = Batch(noise(2, 5, 12, 12), noise(2, 3, 8, 8) / 2, None, torch.ones(2, 1, 8, 8), 2)
    source = crop_margin(batch.source, 2)
    carried = adapt_target(batch, {"carry": [[0, 1], [1, 2]]})
    assert torch.equal(carried.target[:, :2], source[:, 1:3])
    assert torch.equal(carried.target[:, 2], batch.target[:, 2])
    locked = adapt_target(batch, {"lock": [0, 0, 1, 2]})
    torch.testing.assert_close(luma(locked.target), source[:, 0], atol=1e-6, rtol=0)
    assert torch.equal(adapt_target(batch, {}).target, batch.target)


def test_classes_are_not_measured(make_cache):
    patches = ResidentPatches(make_cache(), "train", toy_config(), device=torch.device("cpu"))
    patches.class_values = (0, 1, 2)
    with pytest.raises(ConfigError, match="adds to measured bands, not to classes"):
        fit_paired(models.build("residual", 3, 3, **args(RGB, RGB)), patches)
