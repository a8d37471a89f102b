"""How a process of the `geotrans` command begins and ends."""

from __future__ import annotations

import os
import sys

from geotrans.runtime.process import (
    collect_garbage_seldom,
    exit_at_once_after,
    restart_with_malloc_settings,
)

# Commands that hold the same few large blocks for minutes.
_LONG = {"translate", "batch"}


def main() -> None:
    """Entry point of the `geotrans` script."""
    if not _LONG.isdisjoint(sys.argv[1:]):
        restart_with_malloc_settings()
    from geotrans.cli.main import app, run

    if "_GEOTRANS_COMPLETE" in os.environ:
        app(prog_name="geotrans")
    codes: list[int] = []
    exit_at_once_after(codes)
    collect_garbage_seldom()
    codes.append(run(sys.argv[1:]))
    sys.exit(codes[0])
