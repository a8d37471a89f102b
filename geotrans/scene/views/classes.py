"""Class rasters: one band whose values stand for named classes."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt

from geotrans.errors import DomainError
from geotrans.grid import Window
from geotrans.scene.base import Band, Patch, Scene, SceneView

# Names of the classes by value, JSON: what products and labels of ours carry.
CLASSES_TAG = "GEOTRANS_CLASSES"
# Colours of the classes by name, JSON: what rendered maps carry.
PALETTE_TAG = "GEOTRANS_PALETTE"


@dataclass(frozen=True)
class ClassValue:
    """One class of a raster.

    Attributes:
        value: Stored value.
        name: Name of the class; its value as text where the file gives no names.
        color: Red, green, blue it is drawn in; a grey by its value where the file gives none.
    """

    value: int
    name: str
    color: tuple[int, int, int]


def read_class_names(scene: Scene) -> dict[int, str] | None:
    """Names of the classes of a one-band scene by value; None if it has none.

    They are read from our own tag, else from the category names in GDAL's sidecar file.
    """
    if len(scene.bands) != 1:
        return None
    names = _read_tag(scene.tags.get(CLASSES_TAG, "")) or _read_sidecar(scene.uri)
    return {value: name for value, name in enumerate(names) if name} or None


def read_class_values(scene: Scene) -> tuple[ClassValue, ...] | None:
    """Classes of a one-band scene, by value; None where it carries neither names nor colours."""
    names, colors = read_class_names(scene), scene.colormap if len(scene.bands) == 1 else None
    if names is None and colors is None:
        return None
    values = names if names is not None else colors or {}
    return tuple(
        ClassValue(
            value,
            str(value) if names is None else names[value],
            _choose_color(value, None if colors is None else colors.get(value)),
        )
        for value in sorted(values)
    )


class ClassScene(SceneView):
    """A class raster in the values and colours of a task.

    Args:
        scene: The class raster, one band.
        values: Value in the task of each value of the raster that the task knows.
        colors: Colour of each value in the task.
        names: Names of the raster's values, for messages.
        task: Name of the task, for messages.
    """

    def __init__(
        self,
        scene: Scene,
        values: Mapping[int, int],
        *,
        colors: Mapping[int, tuple[int, int, int]],
        names: Mapping[int, str],
        task: str,
    ) -> None:
        colormap = {value: (*color, 255) for value, color in colors.items()}
        dtype = np.dtype(np.uint8) if max(colors) < 256 else scene.dtype
        band = replace(scene.bands[0], name="class", dtype=dtype)
        # A scene that has a colour table is never averaged for an overview.
        inner = copy.copy(scene)
        inner.info = replace(scene.info, colormap=colormap)
        super().__init__(inner, replace(inner.info, bands=(band,), dtype=dtype))
        self._values, self._names, self._task = dict(values), dict(names), task

    def _read(self, window: Window, bands: tuple[Band, ...], out_shape: tuple[int, int]) -> Patch:
        patch = self.scene.read(window, out_shape=out_shape)
        data = np.zeros((len(bands), *out_shape), self.dtype)
        for value in find_values(patch.data[0], patch.valid):
            if value not in self._values:
                raise DomainError(self._describe_unknown(patch, window))
            data[:, patch.data[0] == value] = self._values[value]
        return Patch(data, patch.valid)

    def _describe_unknown(self, patch: Patch, window: Window) -> str:
        unknown = [v for v in find_values(patch.data[0], patch.valid) if v not in self._values]
        unknown_text = ", ".join(f"{v} {self._names.get(v, '')}".strip() for v in unknown[:8])
        known_text = ", ".join(
            f"{v} {self._names.get(v, '')}".strip() for v in sorted(self._values)
        )
        return (
            f"task '{self._task}' knows the classes {known_text} of {self.name}, which also holds "
            f"{unknown_text} at column {window.col_off}, row {window.row_off}; give those pixels a "
            "class it knows, or make them nodata"
        )


def find_values(data: npt.NDArray[Any], valid: npt.NDArray[np.bool_]) -> list[int]:
    """Distinct values of a class raster where it is valid, sorted."""
    return [int(value) for value in np.unique(data[..., valid])]


def write_category_names(path: Path, names: Sequence[str]) -> None:
    """Write class names to a GeoTIFF's sidecar file, from which QGIS shows them."""
    root = ET.Element("PAMDataset")
    categories = ET.SubElement(ET.SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
    for name in names:
        ET.SubElement(categories, "Category").text = name
    path.with_name(f"{path.name}.aux.xml").write_text(ET.tostring(root, encoding="unicode"))


def _read_tag(text: str) -> list[str]:
    try:
        names = json.loads(text) if text else []
    except ValueError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _read_sidecar(uri: str) -> list[str]:
    path = Path(f"{uri}.aux.xml")
    try:
        root = ET.fromstring(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ET.ParseError, UnicodeDecodeError):
        return []
    if root is None:
        return []
    return [element.text or "" for element in root.iterfind("PAMRasterBand/CategoryNames/Category")]


def _choose_color(value: int, color: tuple[int, int, int, int] | None) -> tuple[int, int, int]:
    if color is None:
        grey = value % 256
        return grey, grey, grey
    return color[0], color[1], color[2]
