"""How much a network holds while it runs."""

from __future__ import annotations

import pytest
from torch import nn

from geotrans.models import build, largest_layer


def test_the_largest_layer_is_counted_with_what_it_reads() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 2, 3, padding=1))
    assert largest_layer(net, 3) == 3 + 8
    assert largest_layer(build("identity", 4, 4), 4) == 8


@pytest.mark.parametrize("width", [8, 16])
def test_wider_networks_hold_more(width: int) -> None:
    net = build("unet", 3, 3, depth=2, width=width, head_width=width)
    assert largest_layer(net, 3) > largest_layer(
        build("unet", 3, 3, depth=2, width=width // 2, head_width=width // 2), 3
    )
