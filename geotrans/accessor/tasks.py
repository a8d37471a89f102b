"""Which of the shipped tasks fit an array, and why the others do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import xarray as xr

from geotrans.accessor.datasets import make_outline, variable_with_bands
from geotrans.errors import GeotransError
from geotrans.scene import Scene, expand_palette, match_bands
from geotrans.scene.array import ArrayScene
from geotrans.scene.axes import step_dims
from geotrans.tasks import TaskSpec, list_tasks
from geotrans.tasks.domain import as_task_classes, check_gsd
from geotrans.tasks.spec import describe_bands


@dataclass(frozen=True)
class TaskFit:
    """Whether a task fits an array.

    Attributes:
        name: The task.
        title: One line on it.
        reads: Bands it reads.
        writes: Bands of its product.
        gsd: Pixel sizes it has seen.
        reason: Why it does not fit; empty if it does.
    """

    name: str
    title: str
    reads: str
    writes: str
    gsd: str
    reason: str

    @property
    def fits(self) -> bool:
        """Whether bands and pixel size are such as the task has seen."""
        return not self.reason


class TaskFits(Sequence[TaskFit]):
    """Fits of tasks to an array, those that fit first; shown as a table."""

    def __init__(self, fits: Sequence[TaskFit]) -> None:
        self._fits = sorted(fits, key=lambda fit: not fit.fits)

    def __len__(self) -> int:
        return len(self._fits)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # as a list does
        return self._fits[index]

    def __iter__(self) -> Iterator[TaskFit]:
        return iter(self._fits)

    def __repr__(self) -> str:
        width = max((len(fit.name) for fit in self), default=0)
        lines = [f"{fit.name:<{width}}  {'fits' if fit.fits else fit.reason}" for fit in self]
        return "\n".join(lines) or "no task ships with geotrans"

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td style="text-align:left"><b>{escape(fit.name)}</b><br>{escape(fit.title)}</td>'
            f'<td style="text-align:left">{escape(fit.reads)}</td>'
            f'<td style="text-align:left">{escape(fit.writes)}</td>'
            f'<td style="text-align:left">{escape(fit.gsd)}</td>'
            f'<td style="text-align:left">{escape(fit.reason) or "✓ fits"}</td></tr>'
            for fit in self
        )
        head = "".join(
            f'<th style="text-align:left">{word}</th>'
            for word in ("task", "reads", "writes", "pixel", "this array")
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def fit_tasks(array: xr.DataArray | xr.Dataset) -> TaskFits:
    """Look at bands and pixel size of an array; none of its values is read.

    Raises:
        SceneError: If it is no scene.
    """
    if isinstance(array, xr.Dataset):
        variable = variable_with_bands(array)
        array = make_outline(array) if variable is None else array[variable]
    scene = ArrayScene(array.isel(dict.fromkeys(step_dims(array), 0)))
    return TaskFits([_fit_task(spec, scene) for spec in list_tasks()])


def _fit_task(spec: TaskSpec, scene: Scene) -> TaskFit:
    return TaskFit(
        spec.name,
        spec.title,
        spec.describe_source(),
        describe_bands(spec.target),
        spec.describe_gsd(),
        _find_reason(spec, scene),
    )


def _find_reason(spec: TaskSpec, scene: Scene) -> str:
    try:
        if scene.colormap is not None and len(spec.source) > 1:
            scene = expand_palette(scene)
        scene = as_task_classes(spec, scene)
        match_bands(scene, spec.source, task=spec.name)
        check_gsd(spec, scene)
    except GeotransError as error:
        *reasons, advice = str(error).split("; ")  # The advice is for users of this task.
        return "; ".join(reasons) or advice
    return ""
