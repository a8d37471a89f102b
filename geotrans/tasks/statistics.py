"""Statistics of norms that take them from the image: counted once, then part of the job."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

NormMode = Literal["scene", "tile", "exact"]
NORM_MODES: tuple[str, ...] = get_args(NormMode)


@dataclass(frozen=True)
class NormStatistics:
    """Where the norms of a network have their statistics from, and what they are.

    Attributes:
        mode: `"scene"`: a fixed sample of the scene; `"exact"`: all of it; `"tile"`: each window
            has its own.
        values: Means and then variances of the channels, norm by norm in the order of the
            network's modules, float32, little-endian; empty with `"tile"`.
    """

    mode: NormMode
    values: bytes = b""

    @property
    def sha256(self) -> str:
        """SHA-256 of the values, hexadecimal."""
        return hashlib.sha256(self.values).hexdigest()

    def to_dict(self) -> dict[str, str]:
        """The same, for JSON."""
        return {
            "mode": self.mode,
            "sha256": self.sha256,
            "values": base64.b64encode(self.values).decode("ascii"),
        }

    @classmethod
    def from_dict(cls, fields: Any) -> Self | None:
        """What `to_dict` made; None if it is anything else, or has changed since."""
        try:
            statistics = cls(fields["mode"], base64.b64decode(fields["values"], validate=True))
            is_whole = fields["sha256"] == statistics.sha256 and statistics.mode in NORM_MODES
        except (KeyError, TypeError, ValueError):
            return None
        return statistics if is_whole else None
