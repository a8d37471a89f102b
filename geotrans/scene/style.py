"""Styles: which classes a map shows, in which colours, and which vectors fill them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from geotrans.errors import ConfigError, nearest

# Class index of ground that a style leaves blank.
BLANK = 255
# Two classes closer than this in every channel are one class to a blur.
MIN_CONTRAST = 20

Color = tuple[int, int, int]


def _as_tuple(value: Any) -> Any:
    """A lone word or number where a list is allowed."""
    return value if isinstance(value, (list, tuple)) else (value,)


# Strings as the source writes them: YAML's booleans and numbers are meant as words.
def _as_words(value: Any) -> Any:
    words = {True: "yes", False: "no"}
    return tuple(words[v] if isinstance(v, bool) else str(v) for v in _as_tuple(value))


Words = Annotated[tuple[str, ...], BeforeValidator(_as_words)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MapClass(_Frozen):
    """One class of a map: what it is called and the colour `(red, green, blue)` it is drawn in."""

    name: str
    color: tuple[
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
        Annotated[int, Field(ge=0, le=255)],
    ]


class StyleLayer(_Frozen):
    """One coat of paint. Later layers cover earlier ones.

    Attributes:
        layer: Layer of the vector source; not needed where it has only one.
        where: Values a feature must have, by field or OSM tag. `"*"` is any value.
        unless: Values a feature must not have.
        class_name: Class painted (`class` in YAML); None leaves the place blank.
        width_m: Width on the ground that lines get, m; areas grow by half of it on each side.
            None paints areas as they are.
        over: Classes this layer may cover; all unless given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    layer: str | None = None
    where: dict[str, Words] = Field(default_factory=dict)
    unless: dict[str, Words] = Field(default_factory=dict)
    class_name: str | None = Field(alias="class")
    width_m: Annotated[float, Field(gt=0)] | None = None
    over: Words | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields or tags this layer asks about."""
        return tuple(dict.fromkeys((*self.where, *self.unless)))


class Style(_Frozen):
    """An ordered list of layers that paints vectors as a map.

    Attributes:
        name: Word after `--style`.
        title: One line for a list of styles.
        background: Class of the ground that no layer covers; None leaves it blank.
        classes: Classes of the map; their order is the class index.
        layers: Coats of paint, first to last.
    """

    name: str
    title: str = ""
    background: str | None
    classes: tuple[MapClass, ...] = Field(min_length=1, max_length=255)
    layers: tuple[StyleLayer, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Style:
        names = [c.name for c in self.classes]
        if len(set(names)) < len(names):
            raise ValueError(f"classes {', '.join(names)} are not all different")
        for word in (
            self.background,
            *(layer.class_name for layer in self.layers),
            *(word for layer in self.layers for word in layer.over or ()),
        ):
            if word is not None and word not in names:
                raise ValueError(f"class '{word}' is not among the classes{nearest(word, names)}")
        for a, b in itertools.combinations(self.classes, 2):
            contrast = max(abs(x - y) for x, y in zip(a.color, b.color, strict=True))
            if contrast < MIN_CONTRAST:
                raise ValueError(
                    f"classes '{a.name}' and '{b.name}' differ by {contrast} grey levels; "
                    f"give them colours at least {MIN_CONTRAST} apart in some channel"
                )
        return self

    def index(self, class_name: str | None) -> int:
        """Class index of a class; `BLANK` for None."""
        return BLANK if class_name is None else [c.name for c in self.classes].index(class_name)


def palette(style: Style) -> tuple[tuple[str, Color], ...]:
    """Names and colours of a style's classes, by class index."""
    return tuple((c.name, c.color) for c in style.classes)


def list_styles() -> tuple[str, ...]:
    """Names of the styles that ship with geotrans."""
    return tuple(sorted(path.stem for path in _shipped().glob("*.yaml")))


def find_style(name_or_path: str | PathLike[str]) -> Path:
    """The file of a shipped style, or the style file at a path.

    Raises:
        ConfigError: If there is neither; the message names the nearest shipped style.
    """
    text = str(name_or_path)
    shipped = _shipped() / f"{text}.yaml"
    if text in list_styles():
        return shipped
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise ConfigError(
        f"no style '{text}': there is no such file, and geotrans ships "
        f"{', '.join(list_styles())}{nearest(text, list_styles())}"
    )


def load_style(source: str | PathLike[str] | Mapping[str, Any] | Style) -> Style:
    """Read a style.

    Args:
        source: Name of a shipped style, a YAML file, or the mapping such a file holds.

    Raises:
        ConfigError: If the style is missing or says something that cannot be meant.
    """
    if isinstance(source, Style):
        return source
    if isinstance(source, Mapping):
        return _parse(source, f"style '{source.get('name', '?')}'")
    path = find_style(source)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"style {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"style {path} holds no mapping; see the shipped plain.yaml")
    return _parse(content, f"style {path}")


def _parse(content: Mapping[str, Any], where: str) -> Style:
    """A style whose missing parts come from the style it extends."""
    fields = dict(content)
    parent = fields.pop("extends", None)
    if parent is not None:
        merged = fields.pop("merge", None) or {}
        inherited = _merge(load_style(parent), merged, where).model_dump(by_alias=True)
        fields = {**inherited, **fields}
    try:
        return Style.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_line(error)}") from error


def _merge(style: Style, merged: Mapping[str, str], where: str) -> Style:
    """A style with some classes joined to others."""
    names = [c.name for c in style.classes]
    for word in (*merged, *merged.values()):
        if word not in names or word in merged.values() and word in merged:
            raise ConfigError(
                f"{where}: merge: '{word}' is not a class of {style.name} that stays"
                f"{nearest(word, names)}"
            )

    def renamed(name: str | None) -> str | None:
        return name if name is None else merged.get(name, name)

    return style.model_copy(
        update={
            "background": renamed(style.background),
            "classes": tuple(c for c in style.classes if c.name not in merged),
            "layers": tuple(
                layer.model_copy(
                    update={
                        "class_name": renamed(layer.class_name),
                        "over": layer.over
                        and tuple(dict.fromkeys(merged.get(n, n) for n in layer.over)),
                    }
                )
                for layer in style.layers
            ),
        }
    )


def _first_line(error: ValidationError) -> str:
    """The first thing wrong, with the nearest key where one is unknown."""
    first = error.errors()[0]
    place = _place(first["loc"])
    if first["type"] == "extra_forbidden":
        key = str(first["loc"][-1])
        return f"unknown key '{place}'{nearest(key, _keys(first['loc']))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _place(loc: Sequence[str | int]) -> str:
    """`layers[2].where` for `("layers", 2, "where")`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _keys(loc: Sequence[str | int]) -> list[str]:
    """Keys that are known where an unknown one was found."""
    model: type[BaseModel] = {"classes": MapClass, "layers": StyleLayer}.get(str(loc[0]), Style)
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return [*keys, "extends"] if model is Style else keys


def _shipped() -> Path:
    """Folder of the shipped styles: inside the installed package, or of the checkout."""
    package = Path(str(resources.files("geotrans")))
    installed = package / "configs" / "styles"
    return installed if installed.is_dir() else package.parent / "configs" / "styles"
