"""STAC documents validated by pystac, offline: a schema that is not here is an error."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pystac
from pystac.validation.stac_validator import JsonSchemaSTACValidator

_SCHEMAS = Path(__file__).with_name("stac_schemas")


@cache
def _validator() -> JsonSchemaSTACValidator:
    validator = JsonSchemaSTACValidator()
    for path in _SCHEMAS.glob("*.json"):
        schema = json.loads(path.read_text())
        validator.schema_cache[schema["$id"].rstrip("#")] = schema
    return validator


class _Offline(pystac.StacIO):
    def read_text(self, source: Any, *args: Any, **options: Any) -> str:
        href = str(source)
        if "://" in href:
            raise AssertionError(f"{href} is not here, and nothing may be fetched")
        return Path(href).read_text(encoding="utf-8")

    def write_text(self, dest: Any, txt: str, *args: Any, **options: Any) -> None:
        raise AssertionError("only read here")


def read_valid(path: Path) -> pystac.STACObject:
    """A document, valid by the core schema and by that of every extension it names."""
    document = json.loads(path.read_text(encoding="utf-8"))
    kind = "ITEM" if document["type"] == "Feature" else "COLLECTION"
    before = type(pystac.StacIO.default())
    pystac.StacIO.set_default(_Offline)
    try:
        found = pystac.read_file(str(path), stac_io=_Offline())
        core = _validator().validate_core(
            document, pystac.STACObjectType[kind], document["stac_version"], href=str(path)
        )
        assert core, "no core schema was found"
        for uri in document["stac_extensions"]:
            assert _validator().validate_extension(
                document, pystac.STACObjectType[kind], document["stac_version"], uri, str(path)
            ), f"no schema of {uri} was found"
    finally:
        pystac.StacIO.set_default(before)
    return found
