"""Products that go to a store, `s3://bucket/key.tif`: uploaded whole or not at all."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import SplitResult, urlsplit

from geotrans.errors import OutputError, UsageError, option
from geotrans.runtime.threads import run_in_thread
from geotrans.scene.access.stores import SCHEMES, open_store
from geotrans.scene.access.urls import redact, strip_secrets

_log = logging.getLogger(__name__)

# Pieces an upload is made of, bytes: stores want at least 5 MiB, and at most 10,000 of them.
_PIECE_BYTES, _MOST_PIECES = 16 * 2**20, 9_000

# How often an upload is looked at, s.
_LOOK_S = 0.2

# How Amazon, Google and Azure say that a bucket is not there.
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")


@dataclass(frozen=True)
class Target:
    """A place in a store; who may write there is found where the store's own tools look for it.

    Attributes:
        url: Of the product, or of what many of them begin with.
    """

    url: str

    @classmethod
    def of(cls, out: str | os.PathLike[str] | None) -> Target | None:
        """The target that was asked for, or None for a file of this machine.

        Raises:
            UsageError: If it is a URL that nothing can be uploaded to.
        """
        if not isinstance(out, str) or "://" not in out:
            return None
        parts = _parse_url(out)
        if not parts.netloc or not parts.path.strip("/") or parts.path.endswith("/"):
            raise UsageError(f"{strip_secrets(out)} names no product; give s3://bucket/key.tif")
        return cls(out)

    @classmethod
    def of_many(cls, out: str | os.PathLike[str]) -> Target | None:
        """What the products of an archive shall begin with, or None for a folder.

        Raises:
            UsageError: If it is a URL that nothing can be uploaded to.
        """
        if not isinstance(out, str) or "://" not in out:
            return None
        if not _parse_url(out).netloc:
            raise UsageError(f"{strip_secrets(out)} names no bucket; give s3://bucket/prefix")
        return cls(out.rstrip("/"))

    @property
    def key(self) -> str:
        """Name inside the bucket."""
        # As it is: a ? or # in the name of a file means nothing.
        return self.url.partition("://")[2].partition("/")[2].lstrip("/")

    @property
    def local(self) -> Path:
        """What it would be called here; parts of a product lie beside that."""
        return Path.cwd() / "_".join((urlsplit(self.url).netloc, *PurePosixPath(self.key).parts))

    def child(self, name: str) -> Target:
        """Something below it."""
        return Target(f"{self.url}/{name}")

    def beside(self, suffix: str) -> Target:
        """Something beside the product, with another suffix."""
        return Target(self.url.removesuffix(PurePosixPath(self.key).suffix) + suffix)

    def check(self, *, overwrite: bool) -> None:
        """See, before any work, that the store answers and nothing is replaced.

        Raises:
            OutputError: If it does not, or something would be.
        """
        try:
            store = open_store(self.url)
            store.head(self.key)
        except FileNotFoundError:
            self._check_bucket(store)
            return
        except Exception as error:
            raise self._told(error) from error
        if not overwrite:
            raise OutputError(
                f"{self.url} exists; replace it with {option('overwrite', True)} or choose another "
                f"{option('out')}"
            )

    def check_listing(self) -> None:
        """See, before any work, that the store answers and says what lies below it.

        Raises:
            OutputError: If it does not.
        """
        try:
            store = open_store(self.url, brief=True)
            next(iter(store.list(self.key, chunk_size=1)), None)
        except Exception as error:
            raise self._told(error, "listed") from error

    def names(self) -> set[str]:
        """Names of what lies right below it, asked for a thousand at a time.

        Raises:
            OutputError: If the store does not say.
        """
        import obstore

        try:
            found = obstore.list_with_delimiter(open_store(self.url, brief=True), self.key)
        except Exception as error:
            raise self._told(error, "listed") from error
        return {PurePosixPath(one["path"]).name for one in found["objects"]}

    def read(self) -> bytes | None:
        """What a small object holds; None if there is none.

        Raises:
            OutputError: If it cannot be read.
        """
        try:
            return bytes(open_store(self.url, brief=True).get(self.key).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._told(error, "read") from error

    def write(self, content: bytes) -> None:
        """Write a small object, or replace it.

        Raises:
            OutputError: If it cannot be written.
        """
        try:
            open_store(self.url, brief=True).put(self.key, content)
        except Exception as error:
            raise self._told(error) from error

    def _check_bucket(self, store: Any) -> None:
        """Tell a bucket that is not there from one in which nothing has that name yet."""
        try:
            next(iter(store.list(self.key, chunk_size=1)), None)
        except Exception as error:  # Who may write need not be allowed to list.
            if _NO_BUCKET.search(str(error)):
                raise self._told(error) from error

    def send(self, file: Path, *, check: Callable[[], object] = lambda: None) -> None:
        """Upload a file; until the last byte is there, nothing is.

        Args:
            file: Which.
            check: Called now and then; what it raises ends the upload.

        Raises:
            OutputError: If it cannot be uploaded; what was uploaded is taken back.
        """
        import obstore

        check()
        n_bytes = file.stat().st_size
        piece = max(_PIECE_BYTES, -(-n_bytes // _MOST_PIECES))
        is_over = threading.Event()

        def pieces() -> Iterator[bytes]:
            with file.open("rb") as source:
                while content := source.read(piece):
                    if is_over.is_set():  # The store then takes back what it has.
                        raise InterruptedError("interrupted")
                    yield content

        def upload() -> None:
            # What fits into one piece takes one request instead of three.
            obstore.put(
                open_store(self.url), self.key, pieces(), use_multipart=n_bytes > piece,
                chunk_size=piece,
            )  # fmt: skip

        # It works without looking up; waiting here keeps Ctrl-C working.
        uploaded = run_in_thread(upload, name="upload")
        try:
            while wait([uploaded], _LOOK_S).not_done:
                check()
        except BaseException:
            is_over.set()
            wait([uploaded], 30)
            raise
        try:
            uploaded.result()
        except Exception as error:
            raise self._told(error) from error
        _log.info("%s uploaded, %.1f MB", self.url, n_bytes / 1e6)

    def discard(self) -> None:
        """Take a file back, as far as that can be done."""
        with suppress(Exception):
            open_store(self.url).delete(self.key)

    def _told(self, error: BaseException, what: str = "written") -> OutputError:
        if isinstance(error, ImportError):  # Whoever reports it knows the extra that brings it.
            raise error
        if _NO_BUCKET.search(str(error)):
            reason = f"there is no bucket '{urlsplit(self.url).netloc}'; make it first"
        else:
            line = str(error).strip().partition("\n")[0].partition(" <?xml")[0].rstrip(": ")
            reason = redact(line, self.url)
        return OutputError(f"{self.url} cannot be {what}: {reason}")


def _parse_url(out: str) -> SplitResult:
    """The parts of a URL to which something can be uploaded."""
    parts, shown = urlsplit(out), strip_secrets(out)
    if parts.scheme not in SCHEMES:
        raise UsageError(
            f"nothing can be uploaded to {shown}; give a file or a folder, or a URL that begins "
            f"with {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        )
    if "@" in parts.netloc or parts.query:
        raise UsageError(
            f"{shown} was given with a key; keys belong into the environment, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return parts


def upload_with_sidecars(whole: Path, target: Target, *, picture: Path | None) -> None:
    """Upload a finished product, and what belongs beside it; the product comes last.

    Args:
        whole: The file.
        target: Where to.
        picture: Its preview, if there is one.

    Raises:
        OutputError: If any of them cannot be uploaded; none is left then.
    """
    names = whole.with_name(f"{whole.name}.aux.xml")
    beside = [(names, Target(f"{target.url}.aux.xml"))] if names.exists() else []
    if picture is not None:
        beside.append((picture, target.beside(".png")))
    sent: list[Target] = []
    try:
        for file, place in (*beside, (whole, target)):
            place.send(file)
            sent.append(place)
    except BaseException:
        for place in sent:
            place.discard()
        raise
