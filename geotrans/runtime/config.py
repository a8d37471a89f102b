"""Sections of YAML configurations: read, overridden by dotted arguments, checked by models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from geotrans.errors import ConfigError, suggest


def read_sections(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a configuration file as plain values.

    Args:
        path: YAML file.
        overrides: `section.key=value`, the value in YAML; they win over the file.

    Raises:
        ConfigError: If the file cannot be read, or an override is invalid.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read configuration {path}: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} has no section 'data:', nor any other")
    for override in overrides:
        _apply_override(content, override)
    return content


def validate_section[Model: BaseModel](model: type[Model], value: Any, *, where: str) -> Model:
    """Make a model from plain values.

    Raises:
        ConfigError: One line that names the first thing wrong and, for an unknown key, the
            nearest known one.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # An unknown key is often the misspelt form of a missing one, so it is reported first.
        problems = sorted(error.errors(), key=lambda p: p["type"] != "extra_forbidden")
        raise ConfigError(f"{where}{_describe_problem(model, problems[0])}") from error


def _apply_override(content: dict[str, Any], text: str) -> None:
    keys, separator, value = text.partition("=")
    if not separator:
        raise ConfigError(f"override '{text}' has no '='; write it as section.key=value")
    *parents, last = keys.split(".")
    section = content
    for key in parents:
        if section.get(key) is None:  # absent, or a heading without anything below it
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            raise ConfigError(f"override '{text}' reaches into '{key}', which is no section")
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override '{text}' is not YAML after '='") from error


def _describe_problem(model: type[BaseModel], problem: Any) -> str:
    # Tags of discriminated unions, in parentheses, are part of the location but not of the file.
    location = [str(part) for part in problem["loc"] if not str(part).startswith("(")]
    where = "".join(f".{part}" for part in location)
    if problem["type"] != "extra_forbidden":
        message = problem["msg"].removeprefix("Value error, ")
        return f"{where}: {message}"
    known = sorted({name for part in _find_models(model) for name in part.model_fields})
    return f"{where}: unknown key{suggest(location[-1], known)}"


def _find_models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and the models its fields hold."""
    yield model
    pending: list[Any] = [field.annotation for field in model.model_fields.values()]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _find_models(annotation)
        pending.extend(getattr(annotation, "__args__", ()))
