"""Finished tiles on disk, by which a killed run resumes and workers need no common writer.

`scene_task.tif.parts/` holds `run.json`, the fingerprint of the run, and a small
GeoTIFF for every finished tile, or an empty file where nothing was valid. A tile is written
atomically.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from geotrans.errors import OutputError, option
from geotrans.grid import Tile, TilePlan, window_geobox
from geotrans.parts.raster_job import RasterJob
from geotrans.scene import Patch

_RUN_FILE, _SCRATCH_PREFIX = "run.json", "whole-"

# How often to try to remove a folder, and how long to wait in between, s.
_REMOVE_TRIES, _REMOVE_PAUSE_S = 20, 0.1

# Edge of the blocks of a part, px, as in the product.
_BLOCK_PX = 512

# Parts are temporary, so speed matters more than size: a codec takes a tenth off the pixels of a
# network; maps shrink to a hundredth.
# GDAL would take the fourth of four bands for alpha.
_PROFILE = {
    "driver": "GTiff",
    "tiled": True,
    "interleave": "pixel",
    "photometric": "MINISBLACK",
    "alpha": "NO",
}
_FLAT_PROFILE = {"compress": "zstd", "zstd_level": 1}


# File whose absence says that nobody wants the parts this process writes.
_claim: ContextVar[Path | None] = ContextVar("claim", default=None)


@contextmanager
def claim_parts(claim: Path | None) -> Iterator[None]:
    """Use a claim for all parts that are opened meanwhile; see `Parts`."""
    token = _claim.set(claim)
    try:
        yield
    finally:
        _claim.reset(token)


class Parts:
    """The folder of finished tiles beside a product.

    Args:
        folder: The folder.
        claim: File whose absence says that nobody wants more of them: a worker that lost its
            scheduler must not write into a later run.
    """

    def __init__(self, folder: Path, *, claim: Path | None = None) -> None:
        self.folder = folder
        self._claim = claim

    @classmethod
    def beside(cls, product: Path) -> Parts:
        """The parts of a product."""
        return cls(product.with_name(f"{product.name}.parts"), claim=_claim.get())

    def read_fingerprint(self) -> dict[str, Any] | None:
        """Read the fingerprint of the run whose parts are here, if there is one."""
        try:
            fingerprint = json.loads((self.folder / _RUN_FILE).read_text())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return {}
        return fingerprint if isinstance(fingerprint, dict) else {}

    def begin(self, job: RasterJob, *, overwrite: bool) -> None:
        """Prepare the folder for a run: a new one, or one that holds parts of the same run.

        Args:
            job: The product.
            overwrite: Discard parts of another run.

        Raises:
            OutputError: If it holds parts of another run, or the folder cannot be written.
        """
        new, old = job.fingerprint(), self.read_fingerprint()
        if old is None and self.folder.exists() and any(self.folder.iterdir()):
            old = {}
        if old is not None and old != new:
            if not overwrite:
                difference = _describe_difference(old, new)
                raise OutputError(
                    f"{self.folder} holds parts of another run ({difference}); "
                    "finish that one with its own options, or discard them with "
                    f"{option('overwrite', True)}"
                )
            self.discard()
        try:
            self.folder.mkdir(exist_ok=True)
            for leftover in self.folder.glob(f"{_SCRATCH_PREFIX}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            self._write_atomically(_RUN_FILE, json.dumps(new, indent=1).encode())
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"{self.folder.parent} cannot be written: {error.strerror}; choose another "
                f"{option('out')}"
            ) from error

    def path(self, tile: Tile) -> Path:
        """File of a tile that holds something valid."""
        return self.folder / f"r{tile.row:05d}_c{tile.col:05d}.tif"

    def write(self, job: RasterJob, tile: Tile, patch: Patch | None) -> None:
        """Write a finished tile.

        Args:
            job: The product.
            tile: The tile.
            patch: Its core as the product stores it; None if nothing in it is valid.

        Raises:
            OutputError: If the disk is full or gone.
        """
        path = self.path(tile)
        try:
            if patch is None:
                self._write_atomically(path.with_suffix(".empty").name, b"")
            else:
                self._write_atomically(path.name, _encode_part(job, tile, patch))
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be written: {error.strerror}") from error

    def find_finished(self, job: RasterJob) -> set[tuple[int, int]]:
        """Find the cells of the plan whose tiles are here and complete."""
        return {
            (tile.row, tile.col)
            for tile in job.plan
            if self.is_empty(tile) or _is_whole(self.path(tile), job.product_window(tile).shape)
        }

    def is_empty(self, tile: Tile) -> bool:
        """Whether a tile is finished and holds nothing valid."""
        return self.path(tile).with_suffix(".empty").exists()

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """Make a temporary folder for the assembly, removed afterwards.

        Each process gets its own: a worker that was thought dead may still run.
        """
        with TemporaryDirectory(
            prefix=_SCRATCH_PREFIX, dir=self.folder, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)

    @property
    def is_claimed(self) -> bool:
        """Whether the run that wants the parts still exists."""
        return self._claim is None or self._claim.exists()

    def check_claim(self) -> None:
        """Raise an OutputError if nobody wants more parts."""
        if not self.is_claimed:
            raise OutputError(f"the run that wanted {self.folder} is over")

    def discard(self) -> None:
        """Remove the folder and everything in it."""
        for _ in range(_REMOVE_TRIES):  # A worker may be writing its last tile, which nobody wants.
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(_REMOVE_PAUSE_S)
        raise OutputError(f"{self.folder} cannot be removed")

    def _write_atomically(self, name: str, content: bytes) -> None:
        # Workers on two machines may have the same process number and, if one seems dead, the same
        # tile.
        temporary = self.folder / f"{name}.{uuid.uuid4().hex}.tmp"
        try:
            temporary.write_bytes(content)
            self.check_claim()
            temporary.replace(self.folder / name)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def read_plan(recorded: Mapping[str, Any]) -> TilePlan | None:
    """The tile plan of a recorded run; None if it cannot be read."""
    try:
        return TilePlan.from_json(json.dumps(recorded["tiles"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _encode_part(job: RasterJob, tile: Tile, patch: Patch) -> bytes:
    """Encode a tile as a small GeoTIFF; in memory, so that a full disk is an error of ours."""
    geobox = window_geobox(job.geobox, job.product_window(tile))
    height, width = geobox.shape
    profile = {
        **_PROFILE,
        **(_FLAT_PROFILE if job.is_flat else {}),
        "height": height,
        "width": width,
        "blockxsize": choose_block_px(width),
        "blockysize": choose_block_px(height),
        "count": len(patch.data),
        "dtype": job.layout.dtype,
        "crs": job.scene.crs_wkt,
        "transform": geobox.affine,
        "nodata": job.layout.nodata,
    }
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES"), MemoryFile() as memory:
        with memory.open(**profile) as part:
            part.write(patch.data)
            if job.layout.nodata is None and not patch.valid.all():
                part.write_mask(patch.valid)
        return bytes(memory.getbuffer())


def choose_block_px(size: int) -> int:
    """Edge of the blocks of a part, px: TIFF wants multiples of 16."""
    return min(_BLOCK_PX, -(-size // 16) * 16)


def _is_whole(path: Path, shape: tuple[int, int]) -> bool:
    """Whether a part has its size, and a last block that can be read."""
    if not path.exists():
        return False
    try:
        with rasterio.open(path) as part:
            last = list(part.block_windows(1))[-1][1]
            part.read(window=last)
            part.read_masks(1, window=last)
            return bool(part.shape == shape)
    except RasterioError:
        return False


def _describe_difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Differences between two fingerprints, in one line."""
    if not old:
        return "its run.json cannot be read"
    differences = []
    for key in {**new, **old}:
        first, second = old.get(key), new.get(key)
        if first == second:
            continue
        if key == "tiles":
            first, second = (_describe_tiles(v) for v in (first, second))
        if key == "norm":
            first, second = (_describe_norm(v) for v in (first, second))
        if key == "layout" or first == second:
            differences.append(f"another {key}")
        else:
            differences.append(f"{key} {_shorten(first)}, now {_shorten(second)}")
    return "; ".join(differences)


def _describe_tiles(plan: Any) -> str:
    try:
        area, window = plan["area"], plan["window_shape"]
        return f"{area['width']} x {area['height']} px in windows of {window[1]} x {window[0]} px"
    except (KeyError, TypeError, IndexError):
        return "unknown"


def _describe_norm(norm: Any) -> str:
    return str(norm.get("mode")) if isinstance(norm, dict) else "of the weights"


def _shorten(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 48 else f"{text[:20]}…"
