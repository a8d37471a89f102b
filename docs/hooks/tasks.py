"""A page a shipped task, from its card, and a table of them all."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File, Files

from geotrans.tasks import TaskSpec, list_tasks, shipped_bundles
from geotrans.tasks.spec import describe_bands

_INDEX = """# Tasks

A task is a translation from one visual domain to another, with the weights that do it. These ship
with geotrans; [your own](../train.md) is one configuration file away. What they share:

- The product is **invented**. It is plausible where the task has seen the like, and evidence of
  nothing.
- A scene unlike anything the task has seen (pixel size, values, map colours) is refused, and the
  message names the option that takes it anyway.
- Scores are of places held out from training, with 95 % confidence intervals over places, beside
  what is reached without the network.

| Task | Reads | Writes | Pixel size seen |
|---|---|---|---|
"""

# Of `sample:town_photo`.
_SAMPLE_GSD_M, _SAMPLE_BANDS = 0.6, {"red", "green", "blue", "nir"}

# What a card ends with is for who trains it anew; a page folds it.
_CONFIGURATION = "The resolved configuration:\n\n"


def on_config(config: Any) -> None:
    """Put a page a task under Tasks."""
    section = next(item for item in config.nav if "Tasks" in item)
    section["Tasks"] = ["tasks/index.md", *(f"tasks/{spec.name}.md" for spec in list_tasks())]


def on_files(files: Files, config: Any) -> None:
    """Make the pages, and bring the sheets of samples along."""
    specs = list_tasks()
    index = _INDEX + "".join(_row(spec) for spec in specs)
    files.append(File.generated(config, "tasks/index.md", content=index))
    for spec in specs:
        bundle = shipped_bundles()[spec.name]
        page = _page(spec, bundle.with_suffix(".md").read_text(encoding="utf-8"))
        files.append(File.generated(config, f"tasks/{spec.name}.md", content=page))
        sheet = bundle.with_suffix(".png")
        files.append(File.generated(config, f"tasks/{sheet.name}", abs_src_path=str(sheet)))


def _row(spec: TaskSpec) -> str:
    cells = spec.describe_source(), describe_bands(spec.target), spec.describe_gsd()
    return f"| [{spec.name}]({spec.name}.md)<br>{spec.title} | {' | '.join(cells)} |\n"


def _page(spec: TaskSpec, card: str) -> str:
    title, _, rest = card.partition("\n\n")
    lead, _, rest = rest.partition("\n\n")
    card, _, configuration = rest.partition(_CONFIGURATION)
    folded = "".join(f"    {line}\n" for line in configuration.splitlines())
    return (
        f"{title}\n\n{lead}\n\n{_use(spec)}\n{card}"
        f'??? note "The resolved configuration"\n\n{folded}'
    )


def _use(spec: TaskSpec) -> str:
    """Commands that run a task, on a sample where one fits."""
    lines, scene = _source(spec)
    run = f"geotrans translate {scene} --task {spec.name}"
    lines.append(run)
    if spec.palette:
        lines.append(f"{run} --as classes -o classes.tif")
    if spec.noise:
        lines.append(f"{run} --seed 7 -o another.tif")
    return "```sh\n" + "\n".join(lines) + "\n```\n"


def _source(spec: TaskSpec) -> tuple[list[str], str]:
    """Commands that make a source for a task, and its name."""
    if spec.style is not None and spec.source_palette:
        return [
            f"geotrans render sample:town --style-of {spec.name} --gsd 0.6 -o scene.tif"
        ], "scene.tif"
    if spec.source_classes:
        return ["geotrans label sample:town_photo -o scene.tif"], "scene.tif"
    low, high = spec.gsd_m or (_SAMPLE_GSD_M, _SAMPLE_GSD_M)
    is_fit = low <= _SAMPLE_GSD_M <= high and {band.name for band in spec.source} <= _SAMPLE_BANDS
    return [], "sample:town_photo" if is_fit else "scene.tif"
