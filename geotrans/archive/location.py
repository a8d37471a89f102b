"""Where an archive is: a folder, or a prefix in a store and a folder of this machine to work in."""

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

# What a path makes of a URL.
_URL_AS_PATH = re.compile(r"[A-Za-z][\w+.-]+:/")

# A disk that does not take so much takes no product, bytes.
_PROBE_BYTES = 2**16

# The documents over all products, and the one that shows whether a store can be written: any other
# object for that would be of no use to anybody, and stay where a key may not delete.
COLLECTION, MODELS = "collection.json", "models"
_PROBE = f"{MODELS}/{COLLECTION}"


@dataclass(frozen=True)
class Location:
    """Where an archive is.

    Attributes:
        folder: Where its journal and tiles under way are; without a store the products, too.
        target: What its products begin with in a store.
    """

    folder: Path
    target: Target | None = None

    @classmethod
    def of(cls, out: str | os.PathLike[str]) -> Location:
        """The place that was asked for. Work for a store is done in the current directory.

        Raises:
            UsageError: If nothing can be uploaded to it.
        """
        if (target := Target.parse_prefix(out)) is not None:
            return cls(target.local, target)
        if _URL_AS_PATH.match(os.fspath(out)):
            raise UsageError(f"{out} was given as a path; give a URL as text, such as s3://bucket")
        return cls(Path(out).expanduser())

    def __str__(self) -> str:
        return str(self.folder) if self.target is None else self.target.url

    def check(self) -> None:
        """See, before any work, that the store answers, if there is one.

        Raises:
            OutputError: If it does not.
        """
        if self.target is not None:
            self.target.check_listing()

    def make(self) -> None:
        """Make the folder, and see that it can be written.

        Raises:
            OutputError: If it cannot.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be made: {error.strerror}; {self._elsewhere}"
            ) from error
        if told := self._trouble_here(None):
            raise OutputError(f"{told}; {self._elsewhere}")

    @property
    def _elsewhere(self) -> str:
        if self.target is not None:
            return "run in another directory"
        return f"choose another {option('out')}"

    def names(self) -> set[str]:
        """Names of what lies there, found by listing it once."""
        if self.target is not None:
            return self.target.names()
        return {entry.name for entry in os.scandir(self.folder) if entry.is_file()}

    def has(self, name: str) -> bool:
        """Whether a document is there."""
        if self.target is not None:
            return self.target.child(name).read() is not None
        return (self.folder / name).exists()

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Write a document, whole or not at all; one that says the same already is left alone."""
        if self.target is None:
            path = self.folder / name
            make_folder(path.parent)
            write_document(document, path)
            return
        target, content = self.target.child(name), encode_document(document)
        if target.read() != content:
            target.write(content)

    def trouble(self, told: str | None = None) -> str | None:
        """What keeps anything from being written.

        Args:
            told: Why the last product could not be: a disk that was too full for it may still have
                room for a probe, and none for the next one.
        """
        if (here := self._trouble_here(told)) or self.target is None:
            return here
        try:
            write_probe(self.target)
        except OutputError as error:
            return message_of(error)
        return None

    def _trouble_here(self, told: str | None) -> str | None:
        full = os.strerror(errno.ENOSPC)
        if full in (told or ""):
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
    """See that this process can read and write where the products go.

    Raises:
        OutputError: If it cannot.
    """
    proof = target.child(_PROBE)
    content = proof.read()
    if content is None:
        raise OutputError(f"{proof.url} is not seen here, although this run has written it")
    proof.write(content)


def product_name(name: str, task: str) -> str:
    """What the product of a scene is called."""
    return f"{name}_{task}.tif"


def sidecar_names(product: str) -> list[str]:
    """Names of a product, and of what is made with it: its thumbnail and its item."""
    stem = product.removesuffix(".tif")
    return [product, f"{stem}.png", f"{stem}.json"]


def find_missing(
    entries: Iterable[Entry], rows: Mapping[str, Row], names: Collection[str], task: str
) -> set[str]:
    """Keys of scenes that are done and whose products, or what belongs to them, are gone.

    Args:
        entries: The scenes.
        rows: What the journal knows of them.
        names: What is there; listed later than the journal was read, for others may be at work.
        task: Name of the task.
    """
    done = (rows[e.key] for e in entries if e.key in rows and rows[e.key].state == "done")
    return {
        row.key
        for row in done
        if not all(name in names for name in sidecar_names(product_name(row.name, task)))
    }
