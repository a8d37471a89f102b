"""Where a product goes, and all checks of that which are possible before any work."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from geotrans.errors import OutputError, UsageError, option
from geotrans.product.cog.driver import publish
from geotrans.product.preview import Preview, preview_path
from geotrans.product.upload import Target, upload_with_sidecars
from geotrans.scene import Scene

# Parts and product together never compress to less than this share of the bytes of their pixels;
# with less free space than that no run begins.
_SMALLEST_SHARE = 0.02

_SUFFIXES = (".tif", ".tiff")


@dataclass(frozen=True)
class Destination:
    """Where a product goes, with or without a preview.

    Attributes:
        path: File of this machine; parts of the product lie beside it.
        target: Object in a store that the product is uploaded to instead.
        preview: Picture beside the product, if there is to be one.
    """

    path: Path
    target: Target | None = None
    preview: Path | None = None

    @classmethod
    def choose(
        cls,
        scene: Scene,
        task: str,
        out: str | os.PathLike[str] | None,
        *,
        overwrite: bool,
        preview: bool = False,
    ) -> Self:
        """Parse and check a destination before any work.

        Args:
            scene: The source.
            task: Name of the task.
            out: As `output_path` takes it, or a URL.
            overwrite: Whether what exists may be replaced.
            preview: Whether there is to be a picture.

        Raises:
            UsageError: If nothing of that name can be written.
            OutputError: If it cannot be written there.
        """
        target = Target.parse(out)
        out = out if target is None else target.local_path
        path = output_path(scene, task, out, overwrite=overwrite)
        if target is not None:
            target.check(overwrite=overwrite)
        picture = preview_path(path, overwrite=overwrite) if preview else None
        return cls(path, target, preview=picture)

    @property
    def url(self) -> Path | str:
        """Where the finished product is."""
        return self.path if self.target is None else self.target.url

    @property
    def preview_url(self) -> Path | str | None:
        """Where its finished picture is."""
        if self.preview is None or self.target is None:
            return self.preview
        return self.target.with_suffix(".png").url

    def deliver(self, product: Path, preview: Preview | None) -> None:
        """Move or upload a finished file; into a store together with its picture."""
        if self.target is None:
            publish(product, self.path)
            return
        picture = None
        if preview is not None:
            picture = product.with_suffix(".png")
            preview.write(product, picture)
        upload_with_sidecars(product, self.target, picture=picture)

    def write_preview(self, preview: Preview | None) -> None:
        """Write the picture beside a product of this machine."""
        if preview is not None and self.preview is not None and self.target is None:
            preview.write(self.path, self.preview)

    def __str__(self) -> str:
        return str(self.url)


def output_path(
    scene: Scene, task: str, out: str | os.PathLike[str] | None, *, overwrite: bool
) -> Path:
    """File of the product.

    Args:
        scene: The source.
        task: Name of the task.
        out: File asked for, or a directory to put the default name in. The default is
            `<stem>_<task>.tif` beside the source, or in the current directory if the source is no
            local file.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UsageError: If the name is no GeoTIFF's.
        OutputError: If it cannot be written there.
    """
    source = Path(scene.uri)
    name = f"{scene.name}_{task}.tif"
    if out is None:
        path = source.with_name(name) if source.is_file() else Path.cwd() / name
    else:
        path = Path(out).expanduser()
        path = path / name if path.is_dir() else path
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"the product is a GeoTIFF; {path} must end in .tif")
    _check_folder(path.parent)
    if path.exists():
        if source.exists() and path.samefile(source):
            raise OutputError(f"{path} is the source itself; choose another {option('out')}")
        if not overwrite:
            raise OutputError(
                f"{path} exists; replace it with {option('overwrite', True)} or choose another "
                f"{option('out')}"
            )
        if not path.is_file():
            raise OutputError(f"{path} exists and is no file; choose another {option('out')}")
    return path


def check_space(path: Path, n_bytes: int) -> None:
    """Refuse to begin on a disk that is almost full.

    Args:
        path: File of the product.
        n_bytes: Size of its pixels, not compressed.

    Raises:
        OutputError: If not even a product of one colour would fit.
    """
    free = shutil.disk_usage(path.parent).free
    needed = int(n_bytes * _SMALLEST_SHARE)
    if free < max(needed, 2**16):
        raise OutputError(
            f"{path.parent} has {format_size(free)} free; the product has {format_size(n_bytes)} "
            f"of pixels before compression, and needs at least {format_size(needed)}"
        )


def format_size(n_bytes: float) -> str:
    """A size as text, such as `1.2 MB`."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise OutputError(f"output directory {folder} does not exist; make it first")
    if not folder.is_dir():
        raise OutputError(f"{folder} is no directory; choose another {option('out')}")
    # access() also sees a read-only file system; for root, permissions of a folder do not count.
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"output directory {folder} is read-only; choose another {option('out')}")
