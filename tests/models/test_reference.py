"""Published weights: found by their keys, refused with a reason, never executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from geotrans.errors import BundleError, UsageError
from geotrans.models import REFERENCES, build, fit_reference, fold, read_reference, receptive_halo
from tests.helpers.networks import noise
from tests.helpers.reference import reference_net, save_reference, write_state
from tests.helpers.thorough import quick, slow

ARCHS = ("resnet_6blocks", "resnet_9blocks", "unet_128", "unet_256")
SIZE = {"resnet_6blocks": 64, "resnet_9blocks": 64, "unet_128": 128, "unet_256": 256}


def _imported(path: Path, arch: str, norm: str | None = None) -> nn.Module:
    found = fit_reference(read_reference(path), arch, norm=norm)
    net = build(found.arch, found.channels_in, found.channels_out, **found.args)
    net.load_state_dict(found.state, strict=False)
    return net.eval()


@pytest.mark.parametrize(
    ("arch", "norm", "dropout"),
    quick(
        {("resnet_6blocks", "instance", False), ("unet_128", "batch", True)},
        among=[(arch, norm, norm == "batch") for arch in ARCHS for norm in ("instance", "batch")]
        + [("resnet_6blocks", "instance", True), ("unet_128", "instance", True)]
        + [("resnet_6blocks", "batch", False)],
    ),
)
def test_an_imported_network_computes_what_the_original_does(
    tmp_path: Path, arch: str, norm: str, dropout: bool
) -> None:
    original = reference_net(arch, c_in=4, c_out=2, norm=norm, dropout=dropout)
    path = save_reference(
        tmp_path / "latest_net_G.pth",
        original,
        prefix="module." if dropout else "",
        old_statistics=norm == "instance" and dropout,
        new_format=not dropout,
    )
    x = noise(1, 4, SIZE[arch], 2 * SIZE[arch])
    expected = original(x.clone())
    assert float(expected.std()) > 0.01
    net = _imported(path, arch)
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(fold(net)(x), expected, rtol=0, atol=1e-5)


def test_the_arguments_tell_the_architecture(tmp_path: Path) -> None:
    assert set(ARCHS) == set(REFERENCES)
    path = save_reference(tmp_path / "net.pth", reference_net("resnet_9blocks", width=6))
    found = fit_reference(read_reference(path), "resnet_9blocks")
    assert (found.arch, found.channels_in, found.channels_out) == ("resnet", 3, 3)
    assert found.args == {"blocks": 9, "upsample": "transposed", "width": 6, "norm": "instance"}


@pytest.mark.parametrize(
    ("arch", "halo"), [("resnet_6blocks", 60), slow("resnet_9blocks", 84), slow("unet_128", 381)]
)
def test_the_context_of_the_published_networks(arch: str, halo: int) -> None:
    name, args = REFERENCES[arch]
    net = build(name, 3, 3, **args, width=2)
    assert receptive_halo(net, 3) == halo


@pytest.mark.slow
def test_the_context_of_the_deepest() -> None:
    assert receptive_halo(build("unet_reference", 3, 3, depth=8, width=2), 3) == 765


class TestRefuses:
    def _fails(self, path: Path, arch: str, match: str, norm: str | None = None) -> None:
        with pytest.raises(BundleError, match=match):
            fit_reference(read_reference(path), arch, norm=norm)

    def test_another_architecture_with_the_first_differences(self, tmp_path: Path) -> None:
        path = save_reference(tmp_path / "net.pth", reference_net("resnet_6blocks", norm="batch"))
        self._fails(
            path, "resnet_9blocks",
            r"do not fit resnet_9blocks with .* norm: model.26.weight is missing; "
            'they fit arch="resnet_6blocks" and norm="batch"',
        )  # fmt: skip
        self._fails(path, "unet_256", "model.model.0.weight is missing.*arch=.resnet_6blocks")

    def test_another_norm(self, tmp_path: Path) -> None:
        path = save_reference(tmp_path / "net.pth", reference_net("unet_128", norm="batch"))
        self._fails(
            path, "unet_128",
            r"with instance norm: model.model.0.bias is missing; .*and \d+ more; they fit "
            'arch="unet_128" and norm="batch"', norm="instance",
        )  # fmt: skip

    def test_keys_that_are_missing_unknown_or_of_another_shape(self, tmp_path: Path) -> None:
        state = dict(reference_net("resnet_6blocks").state_dict())
        del state["model.4.weight"]
        state["model.12.conv_block.5.bias"] = torch.zeros(3)
        state["model.99.extra"] = torch.zeros(3)
        write_state(tmp_path / "net.pth", state)
        self._fails(
            tmp_path / "net.pth", "resnet_6blocks",
            r"model.4.weight is missing; model.12.conv_block.5.bias is \(3,\), not \(16,\); "
            r"model.99.extra is unknown; geotrans reads",
        )  # fmt: skip

    def test_values_that_are_not_finite(self, tmp_path: Path) -> None:
        state = dict(reference_net("resnet_6blocks").state_dict())
        state["model.4.bias"] = torch.full_like(state["model.4.bias"], float("nan"))
        write_state(tmp_path / "net.pth", state)
        self._fails(tmp_path / "net.pth", "resnet_6blocks", "not finite")

    def test_words_that_are_not_known(self) -> None:
        with pytest.raises(UsageError, match=r"did you mean 'resnet_9blocks'\?"):
            fit_reference({}, "resnet_9block")
        with pytest.raises(UsageError, match="norm 'layer' is not known"):
            fit_reference({}, "resnet_9blocks", norm="layer")

    def test_pickled_code_is_not_executed(self, tmp_path: Path) -> None:
        done = tmp_path / "done"

        class Hostile:
            def __reduce__(self) -> tuple[Any, ...]:
                return Path.touch, (done,)

        for new_format in (False, True):
            path = tmp_path / f"{new_format}.pth"
            write_state(path, {"model.1.weight": Hostile()}, new_format=new_format)
            self._fails(path, "resnet_9blocks", "holds pickled code or objects .* is refused")
        (tmp_path / "plain.pth").write_bytes(pickle.dumps(Hostile()))
        self._fails(tmp_path / "plain.pth", "resnet_9blocks", "holds pickled code|is damaged")
        torch.save(reference_net("resnet_6blocks"), tmp_path / "whole.pth")
        self._fails(tmp_path / "whole.pth", "resnet_6blocks", "holds pickled code or objects")
        assert not done.exists()

    def test_damaged_and_foreign_files(self, tmp_path: Path) -> None:
        good = save_reference(tmp_path / "good.pth", reference_net("resnet_6blocks"))
        content = good.read_bytes()
        for n in (0, 1, 100, len(content) // 2, len(content) - 1):
            bad = tmp_path / f"{n}.pth"
            bad.write_bytes(content[:n])
            self._fails(bad, "resnet_6blocks", "damaged")
        (tmp_path / "text.pth").write_text("weights")
        self._fails(tmp_path / "text.pth", "resnet_6blocks", "damaged")
        self._fails(tmp_path / "none.pth", "resnet_6blocks", "there is no such file")
        self._fails(tmp_path, "resnet_6blocks", "it is a folder")
        write_state(tmp_path / "nested.pth", {"epoch": 3, "state_dict": {}})
        self._fails(tmp_path / "nested.pth", "resnet_6blocks", "entry 'epoch' holds int; give the")
        write_state(tmp_path / "empty.pth", {})
        self._fails(tmp_path / "empty.pth", "resnet_6blocks", "not the weights of a network")
