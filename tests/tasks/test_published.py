"""Bundles of published weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from geotrans.errors import BandError, BundleError, OutputError, UsageError
from geotrans.tasks import Bundle, render_card, save_bundle
from geotrans.tasks.published import import_weights
from tests.helpers.networks import noise
from tests.helpers.reference import reference_net, save_reference

RGB = ("red", "green", "blue")


@pytest.mark.parametrize("arch", ["resnet_6blocks", "unet_128"])
def test_a_bundle_computes_what_the_original_does(tmp_path: Path, arch: str) -> None:
    original = reference_net(arch, c_in=4, norm="batch", width=8)
    weights = save_reference(tmp_path / "latest_net_G.pth", original)
    path = import_weights(
        weights, arch=arch, source=(*RGB, "nir"), target=RGB, gsd_m=(0.5, 1), licence="BSD-2-Clause"
    )
    assert path == tmp_path / "latest_net_G.safetensors"
    bundle = Bundle.open(path)
    x = noise(2, 4, 128, 128)
    made = bundle.generator()(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(made, original(x.clone()), rtol=0, atol=1e-5)
    spec = bundle.spec
    assert [b.name for b in spec.source] == [*RGB, "nir"]
    assert (spec.norm, spec.gsd_m, spec.licence) == ("batch", (0.5, 1), "BSD-2-Clause")
    assert (spec.halo, spec.align) == {"resnet_6blocks": (60, 4), "unet_128": (381, 128)}[arch]
    card = render_card(bundle)
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in card
    assert "`eval`" in card
    assert str(tmp_path) not in card


def test_names_and_files_are_chosen_or_follow_from_the_weights(tmp_path: Path) -> None:
    weights = save_reference(tmp_path / "latest net (G_A).pth", reference_net("resnet_6blocks"))
    options = {"arch": "resnet_6blocks", "source": RGB, "target": RGB}
    path = import_weights(weights, **options)  # type: ignore[arg-type]
    assert path.name == "latest_net_G_A.safetensors"
    assert Bundle.open(path).spec.norm == "instance"
    with pytest.raises(OutputError, match="exists; replace it with overwrite=True"):
        import_weights(weights, **options)  # type: ignore[arg-type]
    assert import_weights(weights, **options, overwrite=True) == path  # type: ignore[arg-type]
    other = import_weights(weights, **options, name="a", out=tmp_path / "b.st")  # type: ignore[arg-type]
    assert (other.name, Bundle.open(other).spec.name) == ("b.st", "a")


def test_what_does_not_fit_is_told_and_nothing_written(tmp_path: Path) -> None:
    weights = save_reference(tmp_path / "net.pth", reference_net("resnet_6blocks"))
    with pytest.raises(BandError, match="reads 3 bands; source names red, green; name"):
        import_weights(weights, arch="resnet_6blocks", source=("red", "green"), target=RGB)
    with pytest.raises(BandError, match="writes 3 bands; target names red, red, blue"):
        import_weights(weights, arch="resnet_6blocks", source=RGB, target=("red", "red", "blue"))
    with pytest.raises(BundleError, match='they fit arch="resnet_6blocks" and norm="instance"'):
        import_weights(weights, arch="resnet_9blocks", source=RGB, target=RGB)
    with pytest.raises(UsageError, match="name: "):
        import_weights(weights, arch="resnet_6blocks", source=RGB, target=RGB, name="a b")
    with pytest.raises(UsageError, match="is no range"):
        import_weights(weights, arch="resnet_6blocks", source=RGB, target=RGB, gsd_m=(2, 1))
    assert [p.name for p in tmp_path.iterdir()] == ["net.pth"]


def test_a_task_cannot_hide_that_its_norms_want_statistics(tmp_path: Path) -> None:
    weights = save_reference(tmp_path / "net.pth", reference_net("resnet_6blocks"))
    bundle = Bundle.open(import_weights(weights, arch="resnet_6blocks", source=RGB, target=RGB))
    spec = bundle.spec.model_copy(update={"norm": "batch"})
    with pytest.raises(BundleError, match="gives batch as its norm; its network has instance"):
        save_bundle(tmp_path / "other.safetensors", spec, bundle.state())
