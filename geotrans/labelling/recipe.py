"""Recipes: rules that classify pixels by spectral and texture indices.

A recipe is a YAML file; `configs/recipes/landcover.yaml` is one and explains itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from geotrans.errors import ConfigError, suggest
from geotrans.labelling.indices import INDICES
from geotrans.maps.style import MapClass, Style, StyleMapping, Words

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_BANDS = ("red", "green", "blue", "nir")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Rule(_Frozen):
    """One class and the index ranges of its pixels.

    Attributes:
        class_name: The class (`class` in YAML).
        where: Smallest and largest value of each index, None where an end is open; no index
            takes every pixel.
    """

    class_name: str = Field(alias="class")
    where: dict[str, tuple[_Finite | None, _Finite | None]] = Field(default_factory=dict)


class Overlay(_Frozen):
    """Classes that vectors paint over those of the rules.

    Attributes:
        over: Classes that may be painted over.
        mappings: Mapping by kind of source, as in a style.
    """

    over: Words
    mappings: dict[str, StyleMapping] = Field(min_length=1)


class Recipe(_Frozen):
    """How the pixels of a scene are classified.

    Attributes:
        name: Name of the recipe.
        title: One line for a list of recipes.
        bands: Bands that are read.
        value_range: Range of stored values the thresholds are meant for.
        gsd_m: Smallest and largest ground sampling distance they are meant for, m.
        texture_m: Edge of the square that roughness is measured in, m.
        majority_m: Edge of the square whose most frequent class a pixel takes, m.
        classes: Classes; their order is the class value.
        rules: The first that fits a pixel gives its class; the last fits every pixel.
        vectors: Classes that vectors paint; None if they paint none.
    """

    name: str
    title: str = ""
    bands: tuple[str, ...] = Field(default=_BANDS, min_length=1)
    value_range: tuple[_Finite, _Finite] = (0.0, 255.0)
    gsd_m: tuple[_Finite, _Finite]
    texture_m: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    majority_m: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    classes: tuple[MapClass, ...] = Field(min_length=2, max_length=255)
    rules: tuple[Rule, ...] = Field(min_length=1)
    vectors: Overlay | None = None

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        names = [map_class.name for map_class in self.classes]
        if set(self.bands) != set(_BANDS):
            raise ValueError(
                f"bands are {', '.join(self.bands)}; measures need {', '.join(_BANDS)}"
            )
        class_names = [rule.class_name for rule in self.rules]
        for word in (*class_names, *(self.vectors.over if self.vectors else ())):
            if word not in names:
                raise ValueError(f"class '{word}' is not among the classes{suggest(word, names)}")
        for word in (word for rule in self.rules for word in rule.where):
            if word not in INDICES:
                known = ", ".join(INDICES)
                raise ValueError(f"no measure '{word}'{suggest(word, INDICES)}; there are {known}")
        if self.rules[-1].where:
            raise ValueError("the last rule must fit every pixel; leave out its where:")
        if self.vectors is not None:
            self.style  # noqa: B018  raises where a layer paints an unknown class
        return self

    @property
    def index_names(self) -> tuple[str, ...]:
        """Indices the rules read."""
        return tuple(dict.fromkeys(word for rule in self.rules for word in rule.where))

    @property
    def style(self) -> Style | None:
        """The classes and what vectors paint, as a style; None if they paint nothing."""
        if self.vectors is None:
            return None
        return Style(name=self.name, classes=self.classes, mappings=self.vectors.mappings)

    def index(self, class_name: str) -> int:
        """Value of a class."""
        return [map_class.name for map_class in self.classes].index(class_name)

    @property
    def rule_classes(self) -> tuple[MapClass, ...]:
        """Classes that rules can give; they come before those that only vectors paint."""
        indices = {self.index(rule.class_name) for rule in self.rules}
        return self.classes[: max(indices) + 1]


def list_recipes() -> tuple[str, ...]:
    """Names of the recipes that ship with geotrans."""
    return tuple(sorted(path.stem for path in _get_shipped_folder().glob("*.yaml")))


def load_recipe(source: str | PathLike[str] | Mapping[str, Any] | Recipe) -> Recipe:
    """Read a recipe.

    Args:
        source: Name of a shipped recipe, a YAML file, or the mapping such a file holds.

    Raises:
        ConfigError: If the recipe is missing or invalid.
    """
    if isinstance(source, Recipe):
        return source
    if isinstance(source, Mapping):
        return _parse(source, f"recipe '{source.get('name', '?')}'")
    path = _find_recipe(source)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {path} is not YAML: {' '.join(str(error).split())}") from error
    return _parse(content, f"recipe {path}")


def _find_recipe(name_or_path: str | PathLike[str]) -> Path:
    text, names = str(name_or_path), list_recipes()
    if text in names:
        return _get_shipped_folder() / f"{text}.yaml"
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    raise ConfigError(
        f"no recipe '{text}': there is no such file, and geotrans ships "
        f"{', '.join(names)}{suggest(text, names)}"
    )


def _parse(content: Any, where: str) -> Recipe:
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where} holds no mapping; see the shipped landcover.yaml")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = [
                f.alias or n for m in (Recipe, Rule, Overlay) for n, f in m.model_fields.items()
            ]
            message = f"unknown key{suggest(str(first['loc'][-1]), known)}"
        raise ConfigError(f"{where}: {f'{location}: ' if location else ''}{message}") from error


def _get_shipped_folder() -> Path:
    """Folder of the shipped recipes: inside the installed package, or of the checkout."""
    package = Path(str(resources.files("geotrans")))
    installed = package / "configs" / "recipes"
    return installed if installed.is_dir() else package.parent / "configs" / "recipes"
