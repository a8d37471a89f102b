"""Model cards of bundles, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from geotrans.tasks.bundle import Bundle
from geotrans.tasks.spec import (
    TaskSpec,
)


def render_card(task: TaskSpec | Bundle) -> str:
    """The card of a task, complete and readable on its own.

    Args:
        task: A task, or a bundle, whose size and checksum are then included.

    Returns:
        Markdown that ends in a newline.
    """
    spec, bundle = (task.spec, task) if isinstance(task, Bundle) else (task, None)
    parts = [
        f"# {spec.name}",
        spec.title,
        _format_table(("", ""), _list_facts(spec, bundle)),
        f"![Held-out samples of {spec.name}]({spec.samples})" if spec.samples else "",
        _format_section("Scores", _format_scores(spec)),
        _format_section("Trained on", spec.data),
        _format_section("Classes", _format_classes(spec)),
        _format_section("Limits", spec.limits),
        _format_section("Notes", spec.card),
        _format_section("To reproduce", _format_reproduction(spec)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def _list_facts(spec: TaskSpec, bundle: Bundle | None) -> list[tuple[str, str]]:
    noise = ""
    if spec.noise:
        scales = ", ".join(str(scale) for scale in spec.noise.scales)
        noise = f"ground-anchored, at {scales} px; `seed` chooses among equally plausible pictures"
    facts = [
        ("Reads", spec.describe_source()),
        ("Writes", spec.describe_target()),
        ("Pixel size seen", spec.describe_gsd()),
        ("Place", spec.place),
        ("Licence", spec.licence),
        ("Version", f"{spec.version}{f', {spec.created}' if spec.created else ''}"),
        ("Network", _describe_network(spec.generator.arch, spec.generator.args)),
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


def _describe_network(arch: str, args: Mapping[str, Any]) -> str:
    """`unet (depth 4, width 24)`, networks within it alike."""
    parts = [
        f"{key} {_describe_network(value['arch'], value.get('args', {}))}"
        if isinstance(value, Mapping) and "arch" in value
        else f"{key} {value}"
        for key, value in args.items()
    ]
    return f"{arch} ({', '.join(parts)})" if parts else arch


def _format_scores(spec: TaskSpec) -> str:
    """One row per score, with its baselines."""
    if not spec.metrics:
        return ""
    rows = [
        (
            f"{name}{f', {s.better} is better' if s.better else ''}",
            s.split,
            f"**{s}**",
            "; ".join(f"{other} {value:.3g}" for other, value in s.baselines.items()),
        )
        for name, s in spec.metrics.items()
    ]
    table = _format_table(("Score", "Measured on", spec.name, "To compare"), rows)
    if any(s.low is not None for s in spec.metrics.values()):
        table += "\n\nIn brackets: 95 % confidence intervals over places."
    return table


def _format_classes(spec: TaskSpec) -> str:
    palette = dict(enumerate(spec.palette or spec.source_palette or ()))
    palette = palette or {c.value: c for c in spec.source_classes or ()}
    if not palette:
        return ""
    rows = [
        (str(value), c.name, "#{:02x}{:02x}{:02x}".format(*c.color)) for value, c in palette.items()
    ]
    side = "written" if spec.palette else "read"
    text = f"Of the map that is {side}:\n\n" + _format_table(("Value", "Class", "Colour"), rows)
    if spec.source_palette:
        text += f"\n\nDraw a map in this style with `geotrans render --style-of {spec.name}`."
    return text


def _format_reproduction(spec: TaskSpec) -> str:
    text = f"```sh\n{spec.reproduce}\n```" if spec.reproduce else ""
    if spec.training:
        config = yaml.safe_dump(spec.training, sort_keys=False, allow_unicode=True)
        text += f"\n\nThe resolved configuration:\n\n```yaml\n{config}```"
    return text


def _format_section(title: str, text: str) -> str:
    return f"## {title}\n\n{text.strip()}" if text.strip() else ""


def _format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
