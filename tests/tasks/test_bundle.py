from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from geotrans.errors import BundleError, OutputError
from geotrans.models import build
from geotrans.tasks import Bundle, GeneratorSpec, TaskSpec, open_bundle, read_spec, save_bundle
from geotrans.tasks.header import MAX_HEADER_BYTES

MakeBundle = Callable[..., Path]


def rewrite_header(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change the task in a bundle's header without the checks of `save_bundle`."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    spec = json.loads(header["__metadata__"]["geotrans"])
    change(spec)
    header["__metadata__"]["geotrans"] = json.dumps(spec)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])


def test_comes_back(make_bundle: MakeBundle, small_net: torch.nn.Module) -> None:
    path = make_bundle()
    bundle = open_bundle(path)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.inference_mode():
        expected, found = small_net.eval()(x), bundle.generator()(x)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)  # weights are rounded to fp16
    assert bundle.spec == read_spec(path)
    assert bundle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert bundle.n_bytes == path.stat().st_size
    assert bundle.n_parameters() == sum(p.numel() for p in small_net.parameters())
    assert pickle.loads(pickle.dumps(bundle)) == bundle


def test_is_half_precision_where_it_counts(make_bundle: MakeBundle) -> None:
    tensors = load_file(make_bundle())
    assert all(key.startswith("generator.") for key in tensors)
    large = [t for t in tensors.values() if t.numel() >= 1024]
    assert large
    assert {t.dtype for t in large} == {torch.float16}
    small = [t for t in tensors.values() if t.numel() < 1024]
    assert {t.dtype for t in small} == {torch.float32}


def test_same_content_is_the_same_file(make_bundle: MakeBundle) -> None:
    assert (
        Bundle.open(make_bundle("a.safetensors")).sha256
        == Bundle.open(make_bundle("b.safetensors")).sha256
    )


def test_keeps_what_training_goes_on_from(
    tmp_path: Path, small_spec: TaskSpec, small_net: torch.nn.Module
) -> None:
    state = small_net.state_dict()
    critic = {"critics.0.weight": torch.ones(2, 2), "steps": torch.tensor(7)}
    path = save_bundle(tmp_path / "b.safetensors", small_spec, state, inverse=state, critic=critic)
    bundle = open_bundle(path)
    assert set(bundle.parts) == {"generator", "inverse", "critic"}
    assert bundle.state("critic")["steps"] == 7
    assert torch.equal(bundle.state("critic")["critics.0.weight"], torch.ones(2, 2))
    assert bundle.n_parameters("inverse") == bundle.n_parameters("generator")


def test_leaves_the_random_state_alone(make_bundle: MakeBundle) -> None:
    path = make_bundle()
    before = torch.random.get_rng_state()
    open_bundle(path).generator()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_reads_the_task_without_torch(make_bundle: MakeBundle) -> None:
    code = (
        "import sys, geotrans.tasks as t; spec = t.read_spec(sys.argv[1]); t.list_tasks();"
        "assert spec.name == 'small'; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(make_bundle())], check=True)


def test_overwrites_whole_or_not_at_all(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_bundle()
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError, match=r"cannot be written: No space left"):
        make_bundle(title="another")
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_says_where_it_cannot_write(small_spec: TaskSpec, small_net: torch.nn.Module) -> None:
    with pytest.raises(OutputError, match=r"nowhere/b\.safetensors cannot be written"):
        save_bundle("nowhere/b.safetensors", small_spec, small_net.state_dict())


class TestDamagedFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="does not exist"):
            read_spec(tmp_path / "none.safetensors")

    def test_directory(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="is a directory"):
            read_spec(tmp_path)

    def test_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "b.safetensors"
        path.touch()
        with pytest.raises(BundleError, match="is empty"):
            read_spec(path)

    @pytest.mark.parametrize("keep", [1, 7, 8, 9, 300, -1])
    def test_truncated(self, make_bundle: MakeBundle, keep: int) -> None:
        path = make_bundle()
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(BundleError, match="truncated"):
            read_spec(path)

    def test_longer_than_it_says(self, make_bundle: MakeBundle) -> None:
        path = make_bundle()
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(BundleError, match="damaged"):
            read_spec(path)

    @pytest.mark.parametrize("seed", range(8))
    def test_random_bytes(self, tmp_path: Path, seed: int) -> None:
        path = tmp_path / "b.safetensors"
        rng = np.random.default_rng(seed)
        path.write_bytes(rng.bytes(4096))
        with pytest.raises(BundleError, match=r"no bundle|damaged"):
            read_spec(path)

    @pytest.mark.parametrize(
        "header",
        [
            b"{" * 4000,
            b"[" * 100_000,
            b"[]",
            b"null",
            b'{"a": 1}',
            b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
            b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 4]}}',
            b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}',
            b'{"a": {"dtype": "PY", "shape": [1], "data_offsets": [0, 4]}}',
            b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}',
            b'{"__metadata__": {"geotrans": 1}}',
            b'{"__metadata__": []}',
            b"\xff\xfe\x00\x00",
        ],
    )
    def test_strange_headers(self, tmp_path: Path, header: bytes) -> None:
        path = tmp_path / "b.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        with pytest.raises(BundleError, match=r"no bundle|damaged"):
            read_spec(path)

    def test_header_as_long_as_memory(self, tmp_path: Path) -> None:
        path = tmp_path / "b.safetensors"
        path.write_bytes(struct.pack("<Q", MAX_HEADER_BYTES + 1) + bytes(100))
        with pytest.raises(BundleError, match="no bundle"):
            read_spec(path)

    def test_weights_that_are_not_finite(self, make_bundle: MakeBundle) -> None:
        path = make_bundle()
        content = bytearray(path.read_bytes())
        content[-2:] = b"\x00\x7e"  # NaN in half precision
        content[-4:] = b"\x00\x00\xc0\x7f"  # and in single
        path.write_bytes(content)
        with pytest.raises(BundleError, match="not finite"):
            open_bundle(path).generator()


class TestForeignFiles:
    def test_pickles_are_not_opened(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return exec, ("raise SystemExit('executed')",)

        for i, content in enumerate((pickle.dumps(Trap()), pickle.dumps(Trap(), protocol=2))):
            path = tmp_path / f"{i}.safetensors"
            path.write_bytes(content)
            with pytest.raises(BundleError, match="pickle"):
                read_spec(path)
        torch.save({"a": torch.ones(3)}, tmp_path / "net.pth")
        with pytest.raises(BundleError, match="pickle"):
            read_spec(tmp_path / "net.pth")

    @pytest.mark.parametrize("length", [0x0480, 0x0380])
    def test_headers_of_any_length_are_no_pickles(self, tmp_path: Path, length: int) -> None:
        """A header of 1152 bytes starts with 80 04, as a pickle of protocol 4 does."""
        path = tmp_path / "any.safetensors"
        text = json.dumps({"__metadata__": {"a": "b"}}).encode().ljust(length)
        path.write_bytes(struct.pack("<Q", length) + text)
        with pytest.raises(BundleError, match="is a safetensors file, but no geotrans bundle"):
            read_spec(path)

    @pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
    def test_safetensors_of_others(self, tmp_path: Path, metadata: dict[str, str] | None) -> None:
        save_file({"a": torch.ones(3)}, tmp_path / "b.safetensors", metadata=metadata)
        with pytest.raises(BundleError, match="no geotrans bundle"):
            read_spec(tmp_path / "b.safetensors")

    @pytest.mark.parametrize("version", [2, 99, "two", None])
    def test_newer_schemas(self, make_bundle: MakeBundle, version: object) -> None:
        path = make_bundle()
        rewrite_header(path, lambda spec: spec.update(schema_version=version, surprise=1))
        with pytest.raises(BundleError, match=r"schema version .*; update geotrans"):
            read_spec(path)

    def test_tasks_that_are_not_valid(self, make_bundle: MakeBundle) -> None:
        path = make_bundle()
        rewrite_header(path, lambda spec: spec.update(halo=-3))
        with pytest.raises(BundleError, match="halo"):
            read_spec(path)

    @pytest.mark.parametrize("text", ["{", "[]", "7"])
    def test_tasks_that_are_not_json(self, tmp_path: Path, text: str) -> None:
        save_file({"a": torch.ones(3)}, tmp_path / "b.safetensors", metadata={"geotrans": text})
        with pytest.raises(BundleError, match="not JSON"):
            read_spec(tmp_path / "b.safetensors")


class TestBundlesThatDoNotFit:
    def test_other_weights(self, tmp_path: Path, small_spec: TaskSpec) -> None:
        state = build("unet", 3, 3, depth=2, width=4, max_width=16, head_width=4).state_dict()
        state["extra"] = torch.ones(1)
        with pytest.raises(
            BundleError, match=r"do not fit .* is \(.*\), not \(.*\); .*and \d+ more"
        ):
            save_bundle(tmp_path / "b.safetensors", small_spec, state)
        assert not list(tmp_path.iterdir())

    def test_missing_and_unknown_weights(
        self, tmp_path: Path, small_spec: TaskSpec, small_net: torch.nn.Module
    ) -> None:
        state = dict(small_net.state_dict())
        state["elsewhere"] = state.pop("head.0.bias")
        with pytest.raises(BundleError, match=r"head\.0\.bias is missing; elsewhere is unknown"):
            save_bundle(tmp_path / "b.safetensors", small_spec, state)

    def test_too_small_a_halo(
        self, tmp_path: Path, small_spec: TaskSpec, small_net: torch.nn.Module
    ) -> None:
        spec = small_spec.model_copy(update={"halo": small_spec.halo - 1})
        with pytest.raises(BundleError, match=f"its network sees {small_spec.halo} px"):
            save_bundle(tmp_path / "b.safetensors", spec, small_net.state_dict())

    def test_a_halo_changed_afterwards(self, make_bundle: MakeBundle) -> None:
        path = make_bundle()
        rewrite_header(path, lambda spec: spec.update(halo=2))
        with pytest.raises(BundleError, match="halo of 2 px"):
            open_bundle(path).generator()

    def test_another_stride(self, make_bundle: MakeBundle) -> None:
        path = make_bundle()
        rewrite_header(path, lambda spec: spec.update(align=2))
        with pytest.raises(
            BundleError, match="alignment of 2 px; its network has a stride of 4 px"
        ):
            open_bundle(path).generator()

    @pytest.mark.parametrize(
        ("arch", "args", "message"),
        [
            ("u-net", {}, "did you mean 'unet'"),
            ("unet", {"dept": 2}, "did you mean 'depth'"),
            ("unet", {"depth": "two"}, "cannot be built"),
            # Sixteen terabytes of weights, if they were made before they were compared.
            ("unet", {"width": 10**6, "max_width": 10**6}, "do not fit"),
        ],
    )
    def test_networks_that_cannot_be(
        self, make_bundle: MakeBundle, arch: str, args: dict[str, object], message: str
    ) -> None:
        path = make_bundle()
        rewrite_header(path, lambda spec: spec.update(generator={"arch": arch, "args": args}))
        with pytest.raises(BundleError, match=message):
            open_bundle(path).generator()

    def test_weights_beyond_half_precision(
        self, tmp_path: Path, small_net: torch.nn.Module, small_spec: TaskSpec
    ) -> None:
        state = {key: value.clone() for key, value in small_net.state_dict().items()}
        key = max(state, key=lambda k: state[k].numel())
        state[key].fill_(1e6)
        with pytest.raises(BundleError, match="not finite in half precision"):
            save_bundle(tmp_path / "b.safetensors", small_spec, state)


def test_identity_has_no_weights(tmp_path: Path, small_spec: TaskSpec) -> None:
    spec = small_spec.model_copy(
        update={"generator": GeneratorSpec(arch="identity"), "halo": 0, "align": 1}
    )
    bundle = open_bundle(save_bundle(tmp_path / "b.safetensors", spec, {}))
    x = torch.rand(1, 3, 5, 7)
    assert torch.equal(bundle.generator()(x), x)
