from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geotrans.errors import OutputError
from geotrans.runtime.files import write_whole


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
