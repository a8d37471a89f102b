"""The page a run leaves, `report.html`, made from the files in its folder alone."""

from __future__ import annotations

import csv
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import yaml
from affine import Affine

from geotrans import __version__
from geotrans.errors import TrainingError
from geotrans.grid import make_geobox
from geotrans.html import page as html
from geotrans.html.chart import draw_curve
from geotrans.html.footprints import draw_footprints
from geotrans.html.picture import embed_picture, read_picture
from geotrans.sampling.cache import Manifest, PatchRecord
from geotrans.sampling.ground import LONLAT, project

if TYPE_CHECKING:
    from lightning.fabric import Fabric

REPORT, RESULT = "report.html", "result.json"
MACHINE, PLACES = "machine.json", "places.geojson"
N_SHEETS = 6
_SHEET_PX = 900


def record_machine(folder: Path, fabric: Fabric) -> None:
    """Write down what a run trains on, `machine.json`."""
    import torch

    device = fabric.device.type
    machine = {
        "geotrans": __version__,
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "processes": int(fabric.world_size),
        "precision": str(fabric._precision.precision),
    }
    (folder / MACHINE).write_text(json.dumps(machine, indent=1) + "\n", encoding="utf-8")


def record_places(folder: Path, manifest: Manifest) -> None:
    """Write the outline of every place, `places.geojson`; patches without a CRS are left out."""
    features = []
    for split, records in manifest.splits.items():
        sides = [("", records)]
        if split in manifest.targets:
            sides = [(" source", records), (" target", manifest.targets[split])]
        for side, patches in sides:
            # Of one place in several years the first will do.
            grids = {(p.crs, p.transform, p.shape): p for p in reversed(patches) if p.crs}
            features += [_outline_feature(f"{split}{side}", patch) for patch in grids.values()]
    content = {"type": "FeatureCollection", "features": features}
    (folder / PLACES).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _outline_feature(split: str, patch: PatchRecord) -> dict[str, Any]:
    geobox = make_geobox(patch.shape, Affine(*patch.transform), patch.crs)
    shape = project(geobox.extent.geom, geobox.crs, LONLAT, n_steps=2)
    return {
        "type": "Feature",
        "properties": {"split": split, "place": patch.place},
        "geometry": shapely.geometry.mapping(shapely.set_precision(shape, 1e-7)),
    }


def write_report(folder: str | os.PathLike[str]) -> Path:
    """Write `report.html` of a run, finished or not, from the files in its folder.

    Args:
        folder: Folder of the run.

    Returns:
        The page: configuration, curves, sample sheets, map of the places, time.

    Raises:
        TrainingError: If the folder holds no run.
        OutputError: If the page cannot be written.
    """
    folder = Path(folder)
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        task = config["task"]
    except (OSError, yaml.YAMLError, TypeError, KeyError) as error:
        raise TrainingError(
            f"{folder} holds no training run: {error}; give the folder 'geotrans train' made"
        ) from error
    result = _read_json(folder / RESULT)
    n_members = len(config.get("members") or ())
    learned = (
        _render_members(folder, n_members, result)
        if n_members
        else _render_curves_of_run(folder, result)
    )
    content = html.render_page(
        f"{task['name']}: training run",
        html.section("Run", html.facts(_list_facts(folder, config, result))),
        *learned,
        html.section("Sample sheets", *_render_sheets(folder, result.get("step"))),
        html.section("Places", _render_map(folder)),
        html.section("Configuration", html.details("every key", _format_yaml(config))),
        subtitle=task.get("title", ""),
    )
    html.write_page(folder / REPORT, content)
    return folder / REPORT


def _render_curves_of_run(folder: Path, result: Mapping[str, Any]) -> list[html.Html]:
    """How one training went."""
    scores = _render_curves(_read_columns(folder / "scores.csv"), mark=result.get("step"))
    return [
        html.section("Held-out scores", *scores),
        html.section("Losses", *_render_curves(_read_columns(folder / "losses.csv"))),
        html.section(
            "Speed", *_render_curves(_patches_per_second(_read_columns(folder / "timing.csv")))
        ),
    ]


def _render_members(folder: Path, n: int, result: Mapping[str, Any]) -> list[html.Html]:
    """How good each of several trainings is, and how good their mean."""
    results = {f"member_{i}": _read_json(folder / f"member_{i}" / RESULT) for i in range(1, n + 1)}
    results |= {"mean": dict(result)} if result else {}
    names = list(
        dict.fromkeys(
            name for result_of in results.values() for name in result_of.get("scores", ())
        )
    )
    rows = [
        (
            training,
            *(
                f"{result_of['scores'][name]:.4g}" if name in result_of["scores"] else ""
                for name in names
            ),
        )
        if result_of
        else (training, "not finished")
        for training, result_of in results.items()
    ]
    note = html.text(
        "The bundle is their mean. How each learned stands in the report of its folder."
    )
    return [html.section("Members", note, html.table(("training", *names), rows))]


def _list_facts(
    folder: Path, config: Mapping[str, Any], result: Mapping[str, Any]
) -> Iterator[tuple[str, object]]:
    """What a run is, how far it came and how long it took."""
    loop, machine = config["training"], _read_json(folder / MACHINE)
    timing = _read_columns(folder / "timing.csv")
    latest = {name: values[-1] for name, values in timing.items() if values}
    step = result.get("steps", latest.get("step"))
    seconds = result.get("seconds", latest.get("seconds"))
    yield "state", "finished" if result else "not finished; the same command goes on from here"
    if n_members := len(config.get("members") or ()):
        yield "members", f"{n_members} trainings, one after the other"
    yield "method", f"{loop['method']}, generator {config['generator']['arch']}"
    if step is not None:
        yield "steps", f"{step:.0f}" + ("" if n_members else f" of at most {loop['steps']}")
    if result:
        if not n_members:
            yield "exported", f"step {result['step']}, chosen by {loop['select']}"
        yield "scores of it", ", ".join(f"{k} {v:.4g}" for k, v in result["scores"].items())
    if seconds:
        limit = loop.get("max_minutes")
        is_bound = limit and not n_members
        yield "time", f"{seconds / 60:.1f} min" + (f" of at most {limit:g}" if is_bound else "")
    if latest:
        rate = f"{latest['images'] / latest['seconds']:.1f} patches/s, evaluation included"
        yield "throughput", f"{rate}; {latest['images']:.0f} patches of {loop['crop']} px"
    yield "batch", f"{loop['batch']} patches, seed {loop['seed']}"
    if machine:
        yield "on", f"{machine['device']} in {machine['precision']}; {machine['machine']}"
        yield "processes", machine["processes"]
        yield "threads of each", machine["threads"]
        yield "by", f"geotrans {machine['geotrans']}, torch {machine['torch']}"
    yield "data", config["task"].get("data")


def _render_curves(
    columns: Mapping[str, list[float]], *, mark: float | None = None
) -> list[html.Html]:
    """A chart a column, by step; `mark` is the step that was exported."""
    steps = columns.get("step", [])
    charts = []
    for name, values in columns.items():
        known = [value for value in values if math.isfinite(value)]
        if name != "step" and known:
            charts.append(
                html.figure(
                    draw_curve(steps, values, label=f"{name} by step", mark=mark),
                    f"{name}, {known[-1]:.4g} at the end",
                )
            )
    if not charts:
        return [html.text("Nothing was recorded.")]
    note = "By step; the dashed line is the step that was exported." if mark else "By step."
    return [html.text(note), html.side_by_side(*charts, kind="grid")]


def _patches_per_second(timing: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Patches a second between one evaluation and the next."""
    if "seconds" not in timing:
        return {}
    steps, seconds, images = (np.array([0.0, *timing[k]]) for k in ("step", "seconds", "images"))
    elapsed = np.maximum(np.diff(seconds), 1e-9)
    return {"step": [*steps[1:]], "patches per second": [*(np.diff(images) / elapsed)]}


def _render_sheets(folder: Path, best: int | None) -> Iterator[html.Html]:
    """Some sheets evenly over time, the exported weights' and the last among them."""
    sheets = {int(path.stem.partition("_")[2]): path for path in folder.glob("sheets/step_*.png")}
    steps = sorted(sheets)
    if not steps:
        yield html.text("There is none yet.")
        return
    positions = np.linspace(0, len(steps) - 1, min(N_SHEETS, len(steps))).round().astype(int)
    chosen = {steps[i] for i in positions} | {step for step in steps if step == best}
    note = f"{len(chosen)} of {len(steps)}; " if len(chosen) < len(steps) else ""
    yield html.text(f"{note}each row a held-out place: source, output and, of pairs, target.")
    figures = []
    for step in sorted(chosen):
        picture = embed_picture(
            read_picture(sheets[step], max_px=_SHEET_PX), f"sheet of step {step}"
        )
        figures.append(html.figure(picture, f"step {step}{', exported' if step == best else ''}"))
    yield html.side_by_side(*figures, kind="grid")


def _render_map(folder: Path) -> html.Html:
    groups: dict[str, list[Any]] = {}
    for feature in _read_json(folder / PLACES).get("features", []):
        ring = shapely.geometry.shape(feature["geometry"]).exterior.coords
        groups.setdefault(feature["properties"]["split"], []).append(list(ring))
    if not groups:
        return html.text(f"The folder holds no {PLACES}, or the places have no CRS.")
    return draw_footprints(groups)


def _read_columns(path: Path) -> dict[str, list[float]]:
    """Columns of a curve's file by name, NaN where a row has no value; empty if there is none."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if str(row.get("step")).isdigit()]
    return {name: [float(row[name] or "nan") for row in rows] for name in (rows or [{}])[0]}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _format_yaml(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
