"""Styles: which classes a map shows, in which colours, and which vectors fill them.

A style is a YAML file. One for vectors of your own, in the classes a shipped task has learned:

    name: mytown
    extends: plain              # classes and colours; `merge: {a: b}` would join class a to b
    background: verge           # what no layer covers; ~ leaves it blank
    layers:                     # painted one over the other, the last on top
      - {layer: zoning, where: {zone: [R1, R2]}, class: houses}
      - {layer: lakes, class: ~}                                    # blank: nodata in a product
      - {layer: roads, where: {kind: "*"}, unless: {bridge: "yes"}, class: verge, width_m: 18}
      - {layer: roads, where: {kind: alley}, class: alley, width_m: 6, over: [verge, houses]}
      - {layer: roads, where: {kind: "*"}, unless: {kind: alley}, class: street, width_m: 12}
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from geotrans.errors import ConfigError, suggest

# Class index of ground that a map leaves blank.
BLANK = 255
# Two classes closer than this in every channel are one class to a blur, grey levels.
MIN_CONTRAST = 20

Color = tuple[int, int, int]


def _to_words(value: Any) -> Any:
    """One value or several as text: YAML's `yes` and numbers as they are written."""
    words = {True: "yes", False: "no"}
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(words[v] if isinstance(v, bool) else str(v) for v in values)


Words = Annotated[tuple[str, ...], BeforeValidator(_to_words), Field(min_length=1)]
_Level = Annotated[int, Field(ge=0, le=255)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class MapClass(_Frozen):
    """One class of a map: its name and its colour `(red, green, blue)`."""

    name: str
    color: tuple[_Level, _Level, _Level]


class StyleLayer(_Frozen):
    """One layer of a map. Later layers cover earlier ones.

    Attributes:
        layer: Layer of the vector source; not needed where it has only one.
        where: Values a feature must have, by field or OpenStreetMap tag. `"*"` is any value.
        unless: Values a feature must not have.
        class_name: Class painted (`class` in YAML); None leaves the place blank.
        width_m: Width on the ground that lines get, m; areas grow by half of it on each side.
            None paints areas as they are.
        over: Classes this layer may cover; all unless given.
    """

    layer: str | None = None
    where: dict[str, Words] = Field(default_factory=dict)
    unless: dict[str, Words] = Field(default_factory=dict)
    class_name: str | None = Field(alias="class")
    width_m: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    over: Words | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields or tags this layer reads."""
        return tuple(dict.fromkeys((*self.where, *self.unless)))


class StyleMapping(_Frozen):
    """How the features of one kind of source fall into the classes of a style.

    Attributes:
        background: Class of the ground that no layer covers; None leaves it blank.
        layers: Layers, first to last.
    """

    background: str | None
    layers: tuple[StyleLayer, ...] = Field(min_length=1)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Layers of the source that are named."""
        return tuple(dict.fromkeys(x.layer for x in self.layers if x.layer is not None))

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields or tags any of the layers reads."""
        return tuple(dict.fromkeys(field for x in self.layers for field in x.fields))

    def _class_names(self) -> tuple[str, ...]:
        names = [self.background, *(x.class_name for x in self.layers)]
        over = [name for x in self.layers for name in x.over or ()]
        return tuple(dict.fromkeys(name for name in (*names, *over) if name is not None))


class Style(_Frozen):
    """The classes of a map, and how sources of several kinds fill them.

    A style with one kind of source may hold `background` and `layers` themselves.

    Attributes:
        name: Name of the style.
        title: One line for a list of styles.
        classes: Classes of the map; their order is the class index.
        mappings: Mapping by kind of source.
    """

    name: str
    title: str = ""
    classes: tuple[MapClass, ...] = Field(min_length=1, max_length=BLANK)
    mappings: dict[str, StyleMapping] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _move_into_mappings(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping) or not {"layers", "background"} & set(fields):
            return fields
        mapping = {key: fields[key] for key in ("background", "layers") if key in fields}
        rest = {key: value for key, value in fields.items() if key not in mapping}
        return {**rest, "mappings": {str(fields.get("name", "layers")): mapping}}

    @model_validator(mode="after")
    def _check_classes(self) -> Style:
        names = [c.name for c in self.classes]
        if len(set(names)) < len(names):
            raise ValueError(f"classes {', '.join(names)} are not all different")
        for mapping in self.mappings.values():
            for name in mapping._class_names():
                if name not in names:
                    raise ValueError(
                        f"class '{name}' is not among the classes{suggest(name, names)}"
                    )
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

    def choose_mapping(self, layers: Sequence[str], fields: Sequence[str]) -> StyleMapping:
        """Choose the mapping for a source.

        Args:
            layers: Its layers.
            fields: Fields of its only layer, if it has one.

        Returns:
            The first mapping all of whose layers the source has; for a source of one layer, the
            one that reads most of its fields.

        Raises:
            ConfigError: If there are several mappings and none fits.
        """
        mappings = list(self.mappings.values())
        if len(mappings) == 1:
            return mappings[0]
        for mapping in mappings:
            if set(mapping.layer_names) <= set(layers):
                return mapping
        best = max(mappings, key=lambda mapping: len(set(mapping.fields) & set(fields)))
        if len(layers) == 1 and set(best.fields) & set(fields):
            return best
        known = "; ".join(
            f"{name}: {', '.join(mapping.layer_names)}" for name, mapping in self.mappings.items()
        )
        raise ConfigError(
            f"style '{self.name}' knows sources with layers {known}; "
            f"the vectors have {', '.join(layers)}; write a style for them that extends it"
        )


def palette(style: Style) -> tuple[tuple[str, Color], ...]:
    """Names and colours of a style's classes, by class index."""
    return tuple((c.name, c.color) for c in style.classes)


def list_styles() -> tuple[str, ...]:
    """Names of the styles that ship with geotrans."""
    return tuple(sorted(path.stem for path in _get_shipped_folder().glob("*.yaml")))


def find_style(name_or_path: str | PathLike[str]) -> Path:
    """The file of a shipped style, or the style file at a path.

    Raises:
        ConfigError: If there is neither; the message names the nearest shipped style.
    """
    text = str(name_or_path)
    if text in list_styles():
        return _get_shipped_folder() / f"{text}.yaml"
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    raise ConfigError(
        f"no style '{text}': there is no such file, and geotrans ships "
        f"{', '.join(list_styles())}{suggest(text, list_styles())}"
    )


def load_style(source: str | PathLike[str] | Mapping[str, Any] | Style) -> Style:
    """Read a style.

    A style may extend another: it inherits what it does not define itself, and with
    `merge: {class: other class}` joins some of its classes to others.

    Args:
        source: Name of a shipped style, a YAML file, or the mapping such a file holds.

    Raises:
        ConfigError: If the style is missing or invalid.
    """
    return _load(source, ())


def _load(
    source: str | PathLike[str] | Mapping[str, Any] | Style, extending: tuple[str, ...]
) -> Style:
    if isinstance(source, Style):
        return source
    if isinstance(source, Mapping):
        return _parse(source, f"style '{source.get('name', '?')}'", extending, Path())
    path = find_style(source)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"style {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"style {path} holds no mapping; see the shipped plain.yaml")
    if str(path) in extending:
        raise ConfigError(f"style {path} extends itself")
    return _parse(content, f"style {path}", (*extending, str(path)), path.parent)


def _parse(
    content: Mapping[str, Any], where: str, extending: tuple[str, ...], folder: Path
) -> Style:
    fields = dict(content)
    parent, joined = fields.pop("extends", None), fields.pop("merge", None) or {}
    if parent is not None:
        sibling = folder / str(parent)
        base = _load(sibling if sibling.is_file() else parent, extending)
        inherited = _merge(base, joined, where).model_dump(by_alias=True)
        if "layers" in fields:
            del inherited["mappings"]
        elif "mappings" in fields:
            fields["mappings"] = {**fields["mappings"], **inherited["mappings"]}
        fields = {**inherited, **fields}
    elif joined:
        raise ConfigError(f"{where}: merge: joins classes of the style it extends; name that one")
    try:
        return Style.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_describe_error(error)}") from error


def _merge(style: Style, joined: Mapping[str, str], where: str) -> Style:
    """A style with some classes joined to others."""
    names = [c.name for c in style.classes]
    for name in (*joined, *joined.values()):
        if name not in names or (name in joined and name in joined.values()):
            raise ConfigError(
                f"{where}: merge: '{name}' is not a class of {style.name} that stays"
                f"{suggest(name, names)}"
            )

    def rename(name: str | None) -> str | None:
        return None if name is None else joined.get(name, name)

    def rename_layer(layer: StyleLayer) -> StyleLayer:
        over = layer.over and tuple(dict.fromkeys(joined.get(name, name) for name in layer.over))
        return layer.model_copy(update={"class_name": rename(layer.class_name), "over": over})

    mappings = {
        name: StyleMapping(
            background=rename(mapping.background), layers=tuple(map(rename_layer, mapping.layers))
        )
        for name, mapping in style.mappings.items()
    }
    classes = tuple(c for c in style.classes if c.name not in joined)
    return style.model_copy(update={"classes": classes, "mappings": mappings})


def _describe_error(error: ValidationError) -> str:
    """The first error, with the nearest known key where one is unknown."""
    first = error.errors()[0]
    location = _format_location(first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{location}'{suggest(str(first['loc'][-1]), _list_keys(first['loc']))}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{location}: {message}" if location else message


def _format_location(loc: Sequence[str | int]) -> str:
    """`layers[2].where` for `("layers", 2, "where")`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _list_keys(loc: Sequence[str | int]) -> list[str]:
    """Known keys at the location of an unknown one."""
    models: dict[str, type[BaseModel]] = {"classes": MapClass, "layers": StyleLayer}
    words = [part for part in loc[:-1] if isinstance(part, str)]
    if not words:
        return [*Style.model_fields, *StyleMapping.model_fields, "extends", "merge"]
    model = models.get(words[-1], StyleMapping)
    return [field.alias or name for name, field in model.model_fields.items()]


def _get_shipped_folder() -> Path:
    """Folder of the shipped styles: inside the installed package, or of the checkout."""
    package = Path(str(resources.files("geotrans")))
    installed = package / "configs" / "styles"
    return installed if installed.is_dir() else package.parent / "configs" / "styles"
