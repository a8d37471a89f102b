"""Location of an archive: a folder, or a prefix in a store and a working folder."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geotrans.archive.inputs import Entry
from geotrans.archive.journal import Row
from geotrans.errors import OutputError, UsageError, message_of, option
from geotrans.product.stac.collection import make_folder
from geotrans.product.stac.document import encode_document, write_document
from geotrans.product.upload import Target

# A URL that was turned into a path, and has lost a slash.
_URL_AS_PATH = re.compile(r"[A-Za-z][\w+.-]+:/")

# A disk without room for this probe has none for a product, bytes.
_PROBE_BYTES = 2**16

# The documents over all products, and the one that is rewritten to probe a store: an object made
# only for that would be useless, and credentials that may not delete could not remove it.
COLLECTION, MODELS = "collection.json", "models"
_PROBE = f"{MODELS}/{COLLECTION}"


@dataclass(frozen=True)
class Location:
    """Where the products and the journal of an archive are.

    Attributes:
        folder: Folder of its journal and unfinished tiles; without a store also of the products.
        target: Prefix of its products in a store.
    """

    folder: Path
    target: Target | None = None

    @classmethod
    def parse(cls, out: str | os.PathLike[str]) -> Location:
        """Parse a folder or URL. The working folder of a store is in the current directory.

        Raises:
            UsageError: If nothing can be uploaded to it.
        """
        if (target := Target.parse_prefix(out)) is not None:
            return cls(target.local_path, target)
        if _URL_AS_PATH.match(os.fspath(out)):
            raise UsageError(f"{out} was given as a path; give a URL as text, such as s3://bucket")
        return cls(Path(out).expanduser())

    def __str__(self) -> str:
        return str(self.folder) if self.target is None else self.target.url

    def check(self) -> None:
        """Check, before any work, that the store answers, if there is one.

        Raises:
            OutputError: If it does not.
        """
        if self.target is not None:
            self.target.check_listing()

    def make_folder(self) -> None:
        """Make the folder, and check that it can be written.

        Raises:
            OutputError: If it cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be made: {error.strerror}; {self._alternative}"
            ) from error
        if problem := self._find_local_problem(None):
            raise OutputError(f"{problem}; {self._alternative}")

    @property
    def _alternative(self) -> str:
        if self.target is not None:
            return "run in another directory"
        return f"choose another {option('out')}"

    def list_names(self) -> set[str]:
        """List the names of what is there."""
        if self.target is not None:
            return self.target.list_names()
        return {entry.name for entry in os.scandir(self.folder) if entry.is_file()}

    def has(self, name: str) -> bool:
        """Whether a document exists."""
        if self.target is not None:
            return self.target.child(name).read() is not None
        return (self.folder / name).exists()

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write a document, whole or not at all; an equal one is left as it is."""
        if self.target is None:
            path = self.folder / name
            make_folder(path.parent)
            write_document(document, path)
            return
        target, content = self.target.child(name), encode_document(document)
        if target.read() != content:
            target.write(content)

    def find_problem(self, last_error: str | None = None) -> str | None:
        """Find out why nothing can be written, if that is so.

        Args:
            last_error: Why the last product could not be written: a disk that was too full for it
                may still have room for a probe, and none for the next one.
        """
        if (problem := self._find_local_problem(last_error)) or self.target is None:
            return problem
        try:
            write_probe(self.target)
        except OutputError as error:
            return message_of(error)
        return None

    def _find_local_problem(self, last_error: str | None) -> str | None:
        full = os.strerror(errno.ENOSPC)
        if full in (last_error or ""):
            return f"{self.folder} cannot be written: {full}"
        probe = self.folder / ".probe.tmp"
        try:
            probe.write_bytes(bytes(_PROBE_BYTES))
        except OSError as error:
            return f"{self.folder} cannot be written: {error.strerror}"
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
        return None


def write_probe(target: Target) -> None:
    """Check that this process can read and write where the products go.

    Raises:
        OutputError: If it cannot.
    """
    probe = target.child(_PROBE)
    content = probe.read()
    if content is None:
        raise OutputError(f"{probe.url} is not seen here, although this run has written it")
    probe.write(content)


def product_name(name: str, task: str) -> str:
    """File name of the product of a scene."""
    return f"{name}_{task}.tif"


def sidecar_names(product: str) -> list[str]:
    """File names of a product and of its sidecar files: thumbnail and item."""
    stem = product.removesuffix(".tif")
    return [product, f"{stem}.png", f"{stem}.json"]


def find_missing(
    entries: Iterable[Entry], rows: Mapping[str, Row], names: Collection[str], task: str
) -> set[str]:
    """Keys of scenes that are done and whose products or sidecar files are missing.

    Args:
        entries: The scenes.
        rows: The journal.
        names: Names of what is there; listed after the journal was read, as others may be writing.
        task: Name of the task.
    """
    done = (rows[e.key] for e in entries if e.key in rows and rows[e.key].state == "done")
    return {
        row.key
        for row in done
        if not all(name in names for name in sidecar_names(product_name(row.name, task)))
    }
