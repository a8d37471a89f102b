"""`geotrans report`: the page of a run, wherever the run is."""

from __future__ import annotations

from pathlib import Path

import pytest

from geotrans.cli.main import run
from tests.helpers.patches import toy_cache, toy_config
from tests.helpers.runs import TrainingRun
from tests.html.test_page import check


def test_the_page_is_written_and_its_path_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = toy_cache(tmp_path / "cache")
    TrainingRun(toy_config(training__steps=2), cache, tmp_path, quiet=True).run()
    assert run(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    check((tmp_path / "report.html").read_text())


def test_a_folder_without_a_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(tmp_path / "missing")]) == 1
    assert "give the folder 'geotrans train' made" in capsys.readouterr().err
