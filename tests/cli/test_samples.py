"""`geotrans samples`: what ships, listed and copied."""

import json
from pathlib import Path

import pytest

from geotrans.cli.main import run
from geotrans.scene.samples import list_samples, sample_files


def test_samples_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["samples"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(list_samples())
    assert lines[0].endswith("(town.tif, town.gpkg)")


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["samples", "--json"]) == 0
    samples = json.loads(capsys.readouterr().out)
    assert [sample["name"] for sample in samples] == list(list_samples())
    assert all(Path(path).is_file() for sample in samples for path in sample["files"])


def test_samples_are_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my_data"
    assert run(["samples", "town", "town_photo", "-o", str(folder)]) == 0
    copies = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [copy.name for copy in copies] == ["town.tif", "town.gpkg", "town_photo.tif"]
    files = [*sample_files("town"), *sample_files("town_photo")]
    for path, copy in zip(files, copies, strict=True):
        assert copy.parent == folder
        assert copy.read_bytes() == path.read_bytes()


def test_to_the_current_folder_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["samples", "suburb"]) == 0
    assert capsys.readouterr().out.split() == ["suburb.tif", "suburb.gpkg"]
    assert (tmp_path / "suburb.gpkg").is_file()


def test_nothing_is_replaced_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "town.gpkg"
    mine.write_text("mine")
    assert run(["samples", "town", "-o", str(tmp_path)]) == 1
    assert f"{mine} exists; replace it with --overwrite" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert not (tmp_path / "town.tif").exists(), "all or none"
    assert run(["samples", "town", "-o", str(tmp_path), "--overwrite"]) == 0
    assert mine.read_bytes() == sample_files("town")[1].read_bytes()


def test_what_cannot_be_meant_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["samples", "twon", "-o", str(tmp_path)]) != 0
    assert "no sample 'twon'" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run(["samples", "town", "-o", str(tmp_path / "file")]) == 1
    assert "cannot be made" in capsys.readouterr().err


def test_the_vectors_of_a_sample_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["render", "sample:town", "--gsd", "4"]) == 0
    assert capsys.readouterr().out.split() == ["town_plain.tif"]
    assert run(["render", "sample:town_photo", "--gsd", "4"]) != 0
    assert "sample 'town_photo' has no vectors; town and suburb have" in capsys.readouterr().err
