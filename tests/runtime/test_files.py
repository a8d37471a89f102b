from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from geotrans.errors import OutputError
from geotrans.runtime.files import write_atomically, write_whole


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "of spring, München.json"
    write_whole(path, b"first")
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_leaves_goes_with_the_next(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(b"before")
    words = (
        "import sys; from pathlib import Path; from geotrans.runtime.files import write_whole\n"
        "while True: write_whole(Path(sys.argv[1]), bytes(50_000_000))"
    )
    temporary = tmp_path / ".big.bin.tmp"
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", words, str(path)])
        while process.poll() is None and not temporary.exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert path.read_bytes() in (b"before", bytes(50_000_000))
        if temporary.exists():
            break
    assert temporary.exists(), "killed at a moment that leaves something"
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_written_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OutputError, match=r"folder cannot be written: Is a directory"):
        write_whole(path, b"content")
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="No such file or directory"):
        write_whole(tmp_path / "nowhere" / "file", b"content")


def _write(path: Path, meanwhile: Callable[[], object]) -> None:
    with write_atomically(path) as temporary:
        temporary.write_bytes(b"first, long")
        meanwhile()


def test_what_fails_half_way_leaves_what_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"before")
    with pytest.raises(ZeroDivisionError):
        _write(path, lambda: 1 / 0)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_of_two_writers_the_first_is_told_and_the_second_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileExistsError, match="another process is writing it"):
        _write(path, lambda: write_whole(path, b"second"))
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_no_link_planted_beside_a_file_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / ".file.tmp").symlink_to(victim)
    write_whole(tmp_path / "file", b"content")
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "file").is_symlink()


def test_a_file_may_be_read_by_whoever_may_read_others(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_whole(tmp_path / "file", b"content")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode
