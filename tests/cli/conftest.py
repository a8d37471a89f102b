"""Disks that fill up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Any]:
    """`small_disk(size)` mounts a file system of its own, where this is allowed."""
    folders: list[Path] = []

    def mount(size: str, *options: str) -> Path:
        folder = tmp_path / f"disk{len(folders)}"
        folder.mkdir()
        mounting = ["mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "none"]
        if (
            not shutil.which("mount")
            or subprocess.run([*mounting, str(folder)], capture_output=True, check=False).returncode
        ):
            pytest.skip("mounting a small disk needs root")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", str(folder)], check=False)
