"""One page of scores and pictures of held-out places."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geotrans.errors import OutputError, option
from geotrans.evaluation.places import UInt8Array, draw_classes, select_rgb
from geotrans.evaluation.result import Evaluation
from geotrans.html import page as html
from geotrans.html.footprints import draw_footprints
from geotrans.html.picture import embed_picture
from geotrans.metrics.mapping import nearest_class
from geotrans.sampling.ground import LONLAT, outline

FILES = ("report.html", "scores.json", "places.gpkg", "places.parquet")
PathText = str | PathLike[str]

N_PICTURES = 24
_MAX_PX = 384
# How bright a difference is drawn that few are greater than.
_BRIGHT = 128
# Scores that stand below the pictures of a place, those of them there are.
_SHOWN = ("psnr", "ssim", "chroma", "within_16", "mean_iou", "road_iou", "edge_shift", "cycle_l1",
          "cycle_mean_iou")  # fmt: skip
_RED = np.array([200, 40, 40], np.uint8)


def write_evaluation(found: Evaluation, out: PathText, *, overwrite: bool = False) -> Path:
    """Write the scores as a page, as JSON, and by place as GeoPackage and GeoParquet.

    Args:
        found: The scores.
        out: Folder, made if it is not there.
        overwrite: Whether files of an evaluation before may be replaced.

    Returns:
        The page.

    Raises:
        OutputError: If a file exists already or cannot be written.
    """
    page, scores, gpkg, parquet = (check_folder(out, overwrite=overwrite) / f for f in FILES)
    table = found.table()
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        scores.write_text(json.dumps(found.to_dict(), indent=1) + "\n", encoding="utf-8")
        gpkg.unlink(missing_ok=True)  # or the layer would be added to what it holds
        table.to_file(gpkg, driver="GPKG", layer="scores")
        table.to_parquet(parquet)
    except (OSError, RuntimeError) as error:
        raise OutputError(f"cannot write scores to {out}: {error}") from error
    html.write_page(page, render_report(found))
    return page


def check_folder(out: PathText, *, overwrite: bool) -> Path:
    """Refuse a folder that may not be written to, before anything long begins.

    Raises:
        OutputError: If it is a file, or holds an evaluation that may not be replaced.
    """
    import pyarrow  # noqa: F401  GeoParquet: fail before the work, not after it

    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give a folder for {', '.join(FILES)}")
    existing = [name for name in FILES if (folder / name).exists()]
    if existing and not overwrite:
        raise OutputError(
            f"{folder} holds {existing[0]} already; replace it with {option('overwrite', True)} or "
            f"choose another {option('out')}"
        )
    return folder


def render_report(evaluation: Evaluation) -> str:
    """The page as text."""
    facts = evaluation.facts
    rings = [list(outline(g, LONLAT).exterior.coords) for g in evaluation.places.geoboxes]
    return html.render_page(
        f"{evaluation.name} on held-out places"
        if facts["split"]
        else f"{evaluation.name}, square by square",
        html.section(
            "Scores",
            html.table(evaluation.header(), evaluation.rows()),
            html.text(
                f"In brackets: {facts['interval']}. Baselines learned on: "
                f"{facts['baselines_learned_on']}. An edge shift is none where edges agree at no "
                "shift. A kernel distance here uses EfficientNet-Lite0 features and is no FID or "
                "KID."
            ),
        ),
        html.section("Places", draw_footprints({"places": rings}), *_render_places(evaluation)),
        html.section("What was scored", html.facts(_format_facts(evaluation))),
        subtitle=f"{evaluation.title}. {evaluation.summary()}"
        if evaluation.title
        else evaluation.summary(),
    )


def _format_facts(evaluation: Evaluation) -> Iterator[tuple[str, object]]:
    for name, value in evaluation.facts.items():
        yield name.replace("_", " "), ", ".join(value) if isinstance(value, list) else value


def _render_places(evaluation: Evaluation) -> Iterator[html.Html]:
    """Rows of source, product, truth and difference; every so many places, not the best ones."""
    places, n = evaluation.places, len(evaluation.places)
    chosen = np.unique(np.linspace(0, n - 1, min(n, N_PICTURES)).round().astype(int))
    if len(chosen) < n:
        yield html.text(f"{len(chosen)} of {n}, evenly from the list and not by score.")
    is_map = places.map_side == "target"
    sides = _make_pictures(evaluation, chosen)
    for position, i in enumerate(chosen):
        record = places.records[i]
        rows, cols = record.shape
        figures = []
        for name, (images, is_flat) in sides.items():
            picture = _decimate(images[position, :, :rows, :cols])
            figures.append(html.figure(embed_picture(picture, name, lossless=is_flat), name))
        yield html.text(f"{record.place} {record.group}".strip(), "h3")
        yield html.side_by_side(*figures)
        yield html.text(_describe_place(evaluation, int(i)))
    if is_map:
        yield html.text("Red in the last picture: a class other than the truth's.")


def _make_pictures(evaluation: Evaluation, chosen: Any) -> dict[str, tuple[UInt8Array, bool]]:
    """Pictures of the chosen places by name, `(N, C, H, W)`, and whether they are flat colours."""
    places = evaluation.places[chosen]
    product, truth = evaluation.products[chosen], places.target
    is_map = places.map_side == "target"
    pictures = {}
    if places.map_side == "source" and places.classes is not None:
        pictures["source"] = draw_classes(places.classes, places.colors), True
    elif len(places.source):  # a picture that is scored alone may be of anything
        source = places.inner_source
        displayed = _to_display(source, places.manifest.source.bands, source, places.valid)
        pictures["source"] = displayed, False
    product_rgb, truth_rgb = (
        _to_display(side, places.bands, truth, places.valid) for side in (product, truth)
    )
    pictures |= {"product": (product_rgb, is_map), "truth": (truth_rgb, is_map)}
    if is_map and places.classes is not None:
        is_wrong = (nearest_class(product_rgb, places.colors) != places.classes) & places.valid
        grey = np.repeat(truth_rgb.mean(1, keepdims=True) * 0.4 + 140, 3, axis=1)
        wrong = np.where(is_wrong[:, None], _RED[:, None, None], grey).astype(np.uint8)
        return {**pictures, "wrong class": (wrong, True)}
    difference = np.abs(product_rgb.astype(np.int16) - truth_rgb).mean(1) * places.valid
    gain = 2 ** int(np.log2(_BRIGHT / np.percentile(difference, 98).clip(4, _BRIGHT)))
    difference_picture = (difference * gain).clip(0, 255).astype(np.uint8)[:, None]
    return {**pictures, f"difference x {gain}": (difference_picture, False)}


def _to_display(
    values: npt.NDArray[Any],
    bands: tuple[str, ...],
    reference: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
) -> UInt8Array:
    """Values as `(N, 3, H, W)`: red, green, blue, else the first bands.

    Bytes stay as they are; other values are stretched between the outer fiftieths of `like`.
    """
    colors = select_rgb(values, bands)
    if colors is not None:
        return colors
    order = [0, 1, 2] if values.shape[1] >= 3 else [0, 0, 0]
    low, high = 0.0, 255.0
    if values.dtype != np.uint8 and valid.any():
        low, high = np.percentile(np.moveaxis(reference, 1, -1)[valid], (2, 98))
    scaled = (values[:, order].astype(np.float32) - low) * (255 / max(high - low, 1e-9))
    displayed: UInt8Array = scaled.round().clip(0, 255).astype(np.uint8)
    return displayed


def _decimate(pixels: UInt8Array) -> UInt8Array:
    """A picture of at most `_MAX_PX`, every so many px of a larger one."""
    step = -(-max(pixels.shape[1:]) // _MAX_PX)
    return np.ascontiguousarray(pixels[:, ::step, ::step])


def _describe_place(evaluation: Evaluation, i: int) -> str:
    """The scores of one place as text."""
    scores = [evaluation.scores[name] for name in _SHOWN if name in evaluation.scores]
    return "; ".join(
        f"{score.title}: {score.each[i]:.3g}"
        for score in scores
        if score.each is not None and not math.isnan(score.each[i])
    )
