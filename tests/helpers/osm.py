"""Small OpenStreetMap files, as XML and as PBF, from the same words."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

LonLat = tuple[float, float]


@dataclass(frozen=True)
class Way:
    """A line of nodes; closed if it ends where it begins."""

    points: Sequence[LonLat]
    tags: Mapping[str, str]


def write_xml(path: Path, ways: Sequence[Way]) -> Path:
    """Write `.osm` XML."""
    nodes, refs = _number(ways)
    lines = ['<?xml version="1.0"?>', '<osm version="0.6" generator="geotrans tests">']
    for i, (lon, lat) in enumerate(nodes, 1):
        lines.append(f'<node id="{i}" lon="{lon:.7f}" lat="{lat:.7f}" version="1"/>')
    for i, (way, ids) in enumerate(zip(ways, refs, strict=True), 1):
        lines.append(f'<way id="{i}" version="1">')
        lines += [f'<nd ref="{ref}"/>' for ref in ids]
        lines += [f"<tag k={quoteattr(k)} v={quoteattr(v)}/>" for k, v in way.tags.items()]
        lines.append("</way>")
    path.write_text("\n".join([*lines, "</osm>"]), encoding="utf-8")
    return path


def write_pbf(path: Path, ways: Sequence[Way]) -> Path:
    """Write `.osm.pbf`: a header block, then dense nodes and ways in one data block."""
    nodes, refs = _number(ways)
    words = [b""]  # The string table begins with an empty entry.

    def word(text: str) -> int:
        words.append(text.encode())
        return len(words) - 1

    dense = _bytes(1, _packed(_deltas(range(1, len(nodes) + 1))))
    dense += _bytes(8, _packed(_deltas([round(lat * 1e7) for _, lat in nodes])))
    dense += _bytes(9, _packed(_deltas([round(lon * 1e7) for lon, _ in nodes])))
    group = b""
    for i, (way, ids) in enumerate(zip(ways, refs, strict=True), 1):
        keys = [word(key) for key in way.tags]
        values = [word(value) for value in way.tags.values()]
        one = _varint(1 << 3) + _varint(i)
        one += _bytes(2, b"".join(map(_varint, keys)))
        one += _bytes(3, b"".join(map(_varint, values)))
        one += _bytes(8, _packed(_deltas(ids)))
        group += _bytes(3, one)
    table = _bytes(1, b"".join(_bytes(1, entry) for entry in words))
    block = table + _bytes(2, _bytes(2, dense)) + _bytes(2, group)
    header = _bytes(4, b"OsmSchema-V0.6") + _bytes(4, b"DenseNodes")
    path.write_bytes(_blob(b"OSMHeader", header) + _blob(b"OSMData", block))
    return path


def _number(ways: Sequence[Way]) -> tuple[list[LonLat], list[list[int]]]:
    """Nodes, and their numbers along each way; ways share the nodes they meet in."""
    numbers: dict[LonLat, int] = {}
    refs = [[numbers.setdefault(p, len(numbers) + 1) for p in way.points] for way in ways]
    return list(numbers), refs


def _blob(kind: bytes, content: bytes) -> bytes:
    blob = _varint(2 << 3) + _varint(len(content)) + _bytes(3, zlib.compress(content))
    header = _bytes(1, kind) + _varint(3 << 3) + _varint(len(blob))
    return struct.pack(">I", len(header)) + header + blob


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _packed(values: Sequence[int]) -> bytes:
    """Zigzag varints."""
    return b"".join(_varint(value << 1 if value >= 0 else (-value << 1) - 1) for value in values)


def _deltas(values: Sequence[int]) -> list[int]:
    return [b - a for a, b in zip([0, *values], values, strict=False)]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
