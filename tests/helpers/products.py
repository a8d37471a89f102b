"""What products have in common that were made in different ways."""

from __future__ import annotations

import hashlib
from pathlib import Path


def digests(folder: Path) -> dict[str, str]:
    """Pixels, mask and grid of every product in a folder; tags hold the time of day."""
    import rasterio

    found = {}
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as file:
            content = file.read().tobytes() + file.dataset_mask().tobytes()
            content += repr((file.crs, file.transform, file.profile)).encode()
        found[path.name] = hashlib.sha256(content).hexdigest()
    return found
