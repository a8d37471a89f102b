import csv
import io
import itertools

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from geotrans.training import monitor as module
from geotrans.training.monitor import Monitor, save_sheet


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _monitor(folder, *, step=0, quiet=True):
    return Monitor(folder, step=step, quiet=quiet)


def test_curves_are_written_as_they_grow(tmp_path):
    monitor = _monitor(tmp_path)
    monitor.log_losses(20, {"gan": 1.5, "l1": 0.25})
    assert _rows(tmp_path / "losses.csv") == [{"step": "20", "gan": "1.5", "l1": "0.25"}]
    monitor.log_scores(20, {"l1": 0.125})
    monitor.close()
    assert _rows(tmp_path / "scores.csv") == [{"step": "20", "l1": "0.125"}]
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_name_that_turns_up_later_gets_a_column(tmp_path):
    monitor = _monitor(tmp_path)
    monitor.log_losses(1, {"l1": 1.0})
    monitor.log_losses(2, {"l1": 2.0, "gan": 0.5})
    monitor.log_losses(3, {"gan": 0.25})
    monitor.close()
    assert _rows(tmp_path / "losses.csv") == [
        {"step": "1", "l1": "1", "gan": ""},
        {"step": "2", "l1": "2", "gan": "0.5"},
        {"step": "3", "l1": "", "gan": "0.25"},
    ]


def test_rows_after_the_step_that_is_gone_on_from_are_dropped(tmp_path):
    monitor = _monitor(tmp_path)
    for step in (1, 2, 3):
        monitor.log_losses(step, {"l1": step})
    monitor.close()
    with (tmp_path / "losses.csv").open("a") as file:
        file.write("1")  # what a killed run leaves
    monitor = _monitor(tmp_path, step=2)
    monitor.log_losses(3, {"l1": 7})
    monitor.close()
    found = [(row["step"], row["l1"]) for row in _rows(tmp_path / "losses.csv")]
    assert found == [("1", "1"), ("2", "2"), ("3", "7")]
    assert not list(tmp_path.glob(".*"))


def test_tensorboard_reads_the_same(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monitor = _monitor(tmp_path)
    monitor.log_losses(20, {"gan": 1.5})
    monitor.log_scores(20, {"l1": 0.25})
    monitor.close()
    board = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert sorted(board.Tags()["scalars"]) == ["loss/gan", "val/l1"]
    assert [(e.step, e.value) for e in board.Scalars("loss/gan")] == [(20, 1.5)]


def test_curves_need_no_tensorflow(tmp_path):
    _monitor(tmp_path).close()
    from tensorboard.compat import tf

    assert tf.__version__ == "stub"


@pytest.fixture
def clock(monkeypatch):
    """A second passes at each look."""
    ticks = itertools.count()
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(ticks)))


def test_a_terminal_sees_speed_and_time_left(tmp_path, monkeypatch, clock):
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    monitor = _monitor(tmp_path, quiet=False)
    monitor.show_progress(5, images=8, share=0.25, seconds=60)
    monitor.close()
    told = stderr.getvalue()
    assert told.startswith("\r[######")
    assert " 25%  step 5    8.0 images/s    3.0 min left" in told
    assert told.endswith("\n")


@pytest.mark.parametrize(("terminal", "quiet"), [(io.StringIO, False), (Terminal, True)])
def test_nobody_else_does(tmp_path, monkeypatch, clock, terminal, quiet):
    stderr = terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    monitor = _monitor(tmp_path, quiet=quiet)
    monitor.show_progress(5, images=8, share=0.25, seconds=60)
    monitor.close()
    assert stderr.getvalue() == ""


def test_a_sheet_shows_places_below_each_other(tmp_path):
    pictures = [np.full((3, 4, 5), value, np.uint8) for value in (10, 20, 30, 40)]
    save_sheet(tmp_path / "sheet.png", [pictures[:2], pictures[2:]])
    with pytest.warns(NotGeoreferencedWarning), rasterio.open(tmp_path / "sheet.png") as file:
        sheet = file.read()
    assert sheet.shape == (3, 8, 10)
    assert sheet[0, ::4, ::5].tolist() == [[10, 20], [30, 40]]
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]
