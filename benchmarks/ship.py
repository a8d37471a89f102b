"""Put a trained bundle into the package: measured scores, card and sample sheet beside it.

    python benchmarks/ship.py runs/map2aerial --scores quality.json

Reads the bundle, the sheet of its best step (or another) and the scores that `quality.py`,
`landcover.py` or `winter.py --json` measured for exactly these weights, and writes
`geotrans/tasks/zoo/<task>.safetensors`, `.md` and `.png`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import geotrans
from geotrans.errors import BundleError, GeotransError
from geotrans.tasks.bundle import Bundle, save_bundle
from geotrans.tasks.card import render_card
from geotrans.tasks.spec import Score

ZOO = Path(geotrans.__file__).parent / "tasks" / "zoo"


def measured(report: dict[str, Any], bundle: Bundle) -> dict[str, Score]:
    """The scores of a bundle in a report."""
    task = bundle.spec.name
    if report["weights_sha256"].get(task) != bundle.sha256:
        raise BundleError(
            f"the report scores other weights of '{task}' than {bundle.path}; measure these first"
        )
    return {
        row["metric"]: Score(
            value=round(row["value"], 4),
            low=round(row["low"], 4),
            high=round(row["high"], 4),
            better=better(row),
            baselines={name: round(other["value"], 4) for name, other in row["beside"].items()},
            split=f"{report['split']}, {report['year']}, {row['n']} places",
        )
        for row in report["scores"]
        if row["task"] == task
    }


def better(row: dict[str, Any]) -> Any:
    """Which way a score is better; None where it only describes."""
    if row["metric"].startswith("contrast"):
        return None
    lower = row["metric"].startswith("kernel distance") or row.get("sense") == "<"
    return "lower" if lower else "higher"


def ship(run: Path, report: dict[str, Any], *, card: str, sheet: Path | None = None) -> Path:
    """Write bundle, card and sheet of a run into the zoo."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    bundle = Bundle.open(run / result["bundle"])
    name = bundle.spec.name
    spec = bundle.spec.model_copy(
        update={"metrics": measured(report, bundle), "samples": f"{name}.png", "card": card}
    )
    shipped = save_bundle(ZOO / f"{name}.safetensors", spec, bundle.state())
    sheet = sheet or run / "sheets" / f"step_{result['step']:07d}.png"
    shutil.copyfile(sheet, ZOO / f"{name}.png")
    (ZOO / f"{name}.md").write_text(render_card(Bundle.open(shipped)), encoding="utf-8")
    return shipped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished `geotrans train`")
    parser.add_argument("--scores", type=Path, required=True, help="report of a benchmark")
    parser.add_argument("--card", default="", help="what else a user should know, Markdown")
    parser.add_argument("--sheet", type=Path, help="picture instead of the best step's sheet")
    options = parser.parse_args()
    report = json.loads(options.scores.read_text(encoding="utf-8"))
    print(ship(options.run, report, card=options.card, sheet=options.sheet))


if __name__ == "__main__":
    try:
        main()
    except GeotransError as error:
        sys.exit(f"error: {error}")
