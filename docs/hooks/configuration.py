"""The reference of training configurations, from the typed models that read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from griffe import Docstring, DocstringSectionAttributes
from mkdocs.structure.files import File, Files
from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

from geotrans.training.config import TrainConfig

_HEAD = """# Configuration

A training run is one YAML file; [Train your own](../train.md) shows one. Here is every key, with
what it is unless you say otherwise. A key that is not there is an error that names the nearest. On
the command line a dotted key overrides the file:
`geotrans train my_town.yaml training.steps=2000 data.patch=192`.
"""


def on_files(files: Files, config: Any) -> None:
    """Make the page."""
    homes: dict[type[BaseModel], list[str]] = {}
    _gather(TrainConfig, "", homes)
    page = _HEAD + "".join(_section(model, paths) for model, paths in homes.items())
    files.append(File.generated(config, "reference/configuration.md", content=page))


def _gather(model: type[BaseModel], path: str, homes: dict[type[BaseModel], list[str]]) -> None:
    """Where each model is found in the file, in the order of the file."""
    homes.setdefault(model, []).append(path)
    for key, field in model.model_fields.items():
        for inner, kind in _models(field.annotation):
            _gather(inner, f"{path}.{key}{kind}".lstrip("."), homes)


def _models(annotation: Any, kind: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Models inside an annotation, with the kind that tells those of a union apart."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, kind
        return
    inner = get_args(annotation)
    kind = next((f" {one.tag}" for one in inner if isinstance(one, Tag)), kind)
    for one in inner:
        yield from _models(one, kind)


def _section(model: type[BaseModel], paths: list[str]) -> str:
    told = dict(_attributes(model))
    rows = "".join(
        f"| `{key}` | {_default(field)} | {told.get(key) or _lead_of(field)} |\n"
        for key, field in model.model_fields.items()
    )
    title = ", ".join(filter(None, paths)) or "The whole file"
    return (
        f"\n## {title}\n\n{_lead(model)}\n\n| Key | Unless given | Means |\n|---|---|---|\n{rows}"
    )


def _attributes(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    for section in Docstring(model.__doc__ or "").parse("google", warnings=False):
        if isinstance(section, DocstringSectionAttributes):
            for item in section.value:
                yield item.name, " ".join(item.description.split()).replace("|", "\\|")


def _lead(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").partition("\n\n")[0].split())


def _lead_of(field: FieldInfo) -> str:
    """The first line of what a key holds, where the key itself says no more."""
    return next((_lead(model) for model, _ in _models(field.annotation)), "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel):
        return ""
    return f"`{json.dumps(value, default=str)}`"
