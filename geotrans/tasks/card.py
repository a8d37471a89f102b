"""Cards: what a user should know about a bundle before trusting it, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from geotrans.tasks.bundle import Bundle
from geotrans.tasks.spec import BandSpec, Score, TaskSpec


def render_card(task: TaskSpec | Bundle) -> str:
    """The card of a task, complete and readable on its own.

    Args:
        task: A task, or a bundle, whose size and checksum are then told as well.

    Returns:
        Markdown that ends in a newline.
    """
    spec, bundle = (task.spec, task) if isinstance(task, Bundle) else (task, None)
    parts = [
        f"# {spec.name}",
        spec.title,
        _table(("", ""), _facts(spec, bundle)),
        f"![Held-out samples of {spec.name}]({spec.samples})" if spec.samples else "",
        _section("Scores", _scores(spec)),
        _section("Trained on", spec.data),
        _section("Classes", _classes(spec)),
        _section("Limits", spec.limits),
        _section("Notes", spec.card),
        _section("To reproduce", _recipe(spec)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def render_html(task: TaskSpec | Bundle) -> str:
    """A small card of a task with its sample sheet, as a notebook shows it.

    Args:
        task: A task, or a bundle, whose size and checksum are then told as well.
    """
    from geotrans.html.card import card, thumbnail
    from geotrans.tasks.registry import shipped_bundles

    spec, bundle = (task.spec, task) if isinstance(task, Bundle) else (task, None)
    path = shipped_bundles().get(spec.name) if bundle is None else bundle.path
    facts: list[tuple[str, object]] = [
        ("reads", describe_source(spec) + (", and noise" if spec.noise else "")),
        ("writes", _writes(spec)),
        ("pixel", describe_gsd(spec)),
        ("place", spec.place),
        ("licence", spec.licence),
        *((name, describe_score(score)) for name, score in spec.metrics.items()),
    ]
    if bundle is not None:
        size = (
            f"{bundle.n_bytes / 1e6:.1f} MB, {bundle.n_parameters() / 1e6:.2f} million parameters"
        )
        facts += [("file", f"{bundle.path.name}, {size}"), ("sha256", bundle.sha256[:16])]
    sheet = None
    if path is not None:
        sheet = thumbnail(
            path.with_name(spec.samples or f"{spec.name}.png"), f"sheet of {spec.name}"
        )
    return card(spec.name, spec.title, facts, figure=sheet)


def describe_bands(bands: Iterable[BandSpec]) -> str:
    """`red, green, blue`, with the type and range where it is not plain 8 bit."""
    words = []
    for band in bands:
        low, high = band.value_range
        plain = (band.dtype, low, high, band.units) == ("uint8", 0, 255, "dn")
        units = "" if band.units == "dn" else f" {band.units}"
        words.append(
            band.name if plain else f"{band.name} ({band.dtype}, {low:g} to {high:g}{units})"
        )
    return ", ".join(words)


def describe_source(spec: TaskSpec) -> str:
    """What a task reads: its bands, or how many classes."""
    if spec.source_classes:
        return f"one band of {len(spec.source_classes)} classes"
    return describe_bands(spec.source)


def describe_gsd(spec: TaskSpec) -> str:
    """`0.6 m`, `0.5 to 1 m` or `any`."""
    if spec.gsd_m is None:
        return "any"
    low, high = spec.gsd_m
    return f"{low:g} m" if low == high else f"{low:g} to {high:g} m"


def describe_score(score: Score) -> str:
    """`0.66 (0.61 to 0.70)`; the interval only where it is known."""
    if score.low is None or score.high is None:
        return f"{score.value:.3g}"
    return f"{score.value:.3g} ({score.low:.3g} to {score.high:.3g})"


def _facts(spec: TaskSpec, bundle: Bundle | None) -> list[tuple[str, str]]:
    noise = ""
    if spec.noise:
        scales = ", ".join(str(scale) for scale in spec.noise.scales)
        noise = (
            f"ground-anchored, at {scales} px; `--seed` chooses among equally plausible pictures"
        )
    facts = [
        ("Reads", describe_source(spec)),
        ("Writes", _writes(spec)),
        ("Pixel size seen", describe_gsd(spec)),
        ("Place", spec.place),
        ("Licence", spec.licence),
        ("Version", f"{spec.version}{f', {spec.created}' if spec.created else ''}"),
        ("Network", _network(spec.generator.arch, spec.generator.args)),
        ("Context of a pixel", f"{spec.halo} px on each side, stride {spec.align} px"),
        ("Knows of the place", ", ".join(spec.coordinates)),
        ("Noise", noise),
    ]
    if bundle is not None:
        facts += [
            ("Parameters", f"{bundle.n_parameters() / 1e6:.2f} million"),
            ("File", f"{bundle.path.name}, {bundle.n_bytes / 1e6:.1f} MB"),
            ("SHA-256", f"`{bundle.sha256}`"),
        ]
    return [(name, value) for name, value in facts if value]


def _writes(spec: TaskSpec) -> str:
    target = describe_bands(spec.target)
    return f"{target}; or one band of {len(spec.palette)} classes" if spec.palette else target


def _network(arch: str, args: Mapping[str, Any]) -> str:
    """`unet (depth 4, width 24)`, networks within it alike."""
    words = [
        f"{key} {_network(value['arch'], value.get('args', {}))}"
        if isinstance(value, Mapping) and "arch" in value
        else f"{key} {value}"
        for key, value in args.items()
    ]
    return f"{arch} ({', '.join(words)})" if words else arch


def _scores(spec: TaskSpec) -> str:
    """One row a score, with what else was measured the same way."""
    if not spec.metrics:
        return ""
    rows = [
        (
            f"{name}{f', {s.better} is better' if s.better else ''}",
            s.split,
            f"**{describe_score(s)}**",
            "; ".join(f"{other} {value:.3g}" for other, value in s.baselines.items()),
        )
        for name, s in spec.metrics.items()
    ]
    table = _table(("Score", "Measured on", spec.name, "To compare"), rows)
    if any(s.low is not None for s in spec.metrics.values()):
        table += "\n\nIn brackets: 95 % confidence intervals over places."
    return table


def _classes(spec: TaskSpec) -> str:
    palette = dict(enumerate(spec.palette or spec.source_palette or ()))
    palette = palette or {c.value: c for c in spec.source_classes or ()}
    if not palette:
        return ""
    rows = [
        (str(value), c.name, "#{:02x}{:02x}{:02x}".format(*c.color)) for value, c in palette.items()
    ]
    side = "written" if spec.palette else "read"
    text = f"Of the map that is {side}:\n\n" + _table(("Value", "Class", "Colour"), rows)
    if spec.source_palette:
        text += f"\n\nDraw a map in this style with `geotrans render --style-of {spec.name}`."
    return text


def _recipe(spec: TaskSpec) -> str:
    text = f"```sh\n{spec.reproduce}\n```" if spec.reproduce else ""
    if spec.training:
        config = yaml.safe_dump(spec.training, sort_keys=False, allow_unicode=True)
        text += f"\n\nThe resolved configuration:\n\n```yaml\n{config}```"
    return text


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text.strip()}" if text.strip() else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
