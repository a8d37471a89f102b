"""What each trick with the process of the command saves: memory, or seconds.

    python benchmarks/process.py --task summer2winter --size 4096 --repeats 3 --json process.json
    python benchmarks/process.py --without exit gc --task identity --size 256 --repeats 9

The scene is that of `cog.py`. Each run is `geotrans translate` as a process of its own, from its
start to its end; runs as it ships and runs without one of the tricks take turns. Told are medians
of wall time, of the processor's time and of the largest memory the process held. Where other work
runs beside it, the processor's time tells more.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median

from cog import identity, repeated_town, run

# What takes each trick away: Python before the command begins, and its environment.
WITHOUT: dict[str, tuple[str, dict[str, str]]] = {
    "nothing": ("", {}),
    "tunables": ("", {"GLIBC_TUNABLES": ""}),
    "mallopt": ("import geotrans.runtime.memory as m; m.keep_freed_memory = lambda: False", {}),
    "trim": ("import geotrans.runtime.memory as m; m._ROUND = 10**9", {}),
    "exit": ("import geotrans.runtime.process as p; p._exit_at_once = lambda codes: None", {}),
    "gc": ("import gc; gc.set_threshold = lambda *numbers: None", {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--without", nargs="+", choices=list(WITHOUT), default=list(WITHOUT))
    parser.add_argument("--task", default="summer2winter")
    parser.add_argument("--size", type=int, default=4096, help="px each way")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names = list(dict.fromkeys(["nothing", *asked.without]))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        scene = repeated_town(Path(folder) / "scene.tif", asked.size)
        bundle = Path(folder) / "identity.safetensors"
        task = str(identity(bundle)) if asked.task == "identity" else asked.task
        for i in range(asked.repeats):
            for name in names if i % 2 == 0 else names[::-1]:
                patch, env = WITHOUT[name]
                out = Path(folder) / "product.tif"
                runs[name].append(run(scene, task, out, patch=patch, env=env))
                print(f"without {name}", json.dumps(runs[name][-1]), flush=True)
    for name in names:
        told = {key: median(one[key] for one in runs[name]) for key in runs[name][0]}
        print(f"without {name}: median", json.dumps(told), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
