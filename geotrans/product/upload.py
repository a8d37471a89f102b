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
_PIECE_BYTES, _MAX_PIECES = 16 * 2**20, 9_000

# How often a running upload is checked, s.
_POLL_S = 0.2

# How Amazon, Google and Azure say that a bucket is not there.
_NO_BUCKET = re.compile("NoSuchBucket|ContainerNotFound")


@dataclass(frozen=True)
class Target:
    """An object in a store, or a prefix; credentials are found where the store's own tools look.

    Attributes:
        url: URL of the product, or the prefix of many.
    """

    url: str

    @classmethod
    def parse(cls, out: str | os.PathLike[str] | None) -> Target | None:
        """The target of a product, or None for a file of this machine.

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
    def parse_prefix(cls, out: str | os.PathLike[str]) -> Target | None:
        """The prefix of the products of an archive, or None for a folder.

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
        # Not parsed as a URL: a ? or # may be part of the name of a file.
        return self.url.partition("://")[2].partition("/")[2].lstrip("/")

    @property
    def local_path(self) -> Path:
        """The same on this machine; parts of a product lie beside it."""
        return Path.cwd() / "_".join((urlsplit(self.url).netloc, *PurePosixPath(self.key).parts))

    def child(self, name: str) -> Target:
        """An object below it."""
        return Target(f"{self.url}/{name}")

    def with_suffix(self, suffix: str) -> Target:
        """An object beside the product, with another suffix."""
        return Target(self.url.removesuffix(PurePosixPath(self.key).suffix) + suffix)

    def check(self, *, overwrite: bool) -> None:
        """Check, before any work, that the store answers and nothing is replaced.

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
            raise self._describe_error(error) from error
        if not overwrite:
            raise OutputError(
                f"{self.url} exists; replace it with {option('overwrite', True)} or choose another "
                f"{option('out')}"
            )

    def check_listing(self) -> None:
        """Check, before any work, that the store answers and lists what lies below it.

        Raises:
            OutputError: If it does not.
        """
        try:
            store = open_store(self.url, brief=True)
            next(iter(store.list(self.key, chunk_size=1)), None)
        except Exception as error:
            raise self._describe_error(error, "listed") from error

    def list_names(self) -> set[str]:
        """List the names right below it; a request lists a thousand.

        Raises:
            OutputError: If they cannot be listed.
        """
        import obstore

        try:
            listing = obstore.list_with_delimiter(open_store(self.url, brief=True), self.key)
        except Exception as error:
            raise self._describe_error(error, "listed") from error
        return {PurePosixPath(item["path"]).name for item in listing["objects"]}

    def read(self) -> bytes | None:
        """Read a small object; None if there is none.

        Raises:
            OutputError: If it cannot be read.
        """
        try:
            return bytes(open_store(self.url, brief=True).get(self.key).bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._describe_error(error, "read") from error

    def write(self, content: bytes) -> None:
        """Write a small object, or replace it.

        Raises:
            OutputError: If it cannot be written.
        """
        try:
            open_store(self.url, brief=True).put(self.key, content)
        except Exception as error:
            raise self._describe_error(error) from error

    def _check_bucket(self, store: Any) -> None:
        """Distinguish a missing bucket from one in which nothing has that name yet."""
        try:
            next(iter(store.list(self.key, chunk_size=1)), None)
        except Exception as error:  # Credentials that may write need not allow listing.
            if _NO_BUCKET.search(str(error)):
                raise self._describe_error(error) from error

    def upload(self, file: Path, *, check: Callable[[], object] = lambda: None) -> None:
        """Upload a file, which appears whole or not at all.

        Args:
            file: The file.
            check: Called periodically; an error it raises ends the upload.

        Raises:
            OutputError: If it cannot be uploaded; what was uploaded is discarded.
        """
        import obstore

        check()
        n_bytes = file.stat().st_size
        piece_bytes = max(_PIECE_BYTES, -(-n_bytes // _MAX_PIECES))
        is_over = threading.Event()

        def pieces() -> Iterator[bytes]:
            with file.open("rb") as source:
                while content := source.read(piece_bytes):
                    if is_over.is_set():  # The store then discards what it has.
                        raise InterruptedError("interrupted")
                    yield content

        def put() -> None:
            # A file of one piece takes one request instead of three.
            obstore.put(
                open_store(self.url), self.key, pieces(), use_multipart=n_bytes > piece_bytes,
                chunk_size=piece_bytes,
            )  # fmt: skip

        # obstore does not react to Ctrl-C; waiting here does.
        future = run_in_thread(put, name="upload")
        try:
            while wait([future], _POLL_S).not_done:
                check()
        except BaseException:
            is_over.set()
            wait([future], 30)
            raise
        try:
            future.result()
        except Exception as error:
            raise self._describe_error(error) from error
        _log.info("%s uploaded, %.1f MB", self.url, n_bytes / 1e6)

    def discard(self) -> None:
        """Delete the object, if that is possible."""
        with suppress(Exception):
            open_store(self.url).delete(self.key)

    def _describe_error(self, error: BaseException, action: str = "written") -> OutputError:
        if isinstance(error, ImportError):  # Reported with the extra that installs it.
            raise error
        if _NO_BUCKET.search(str(error)):
            reason = f"there is no bucket '{urlsplit(self.url).netloc}'; make it first"
        else:
            line = str(error).strip().partition("\n")[0].partition(" <?xml")[0].rstrip(": ")
            reason = redact(line, self.url)
        return OutputError(f"{self.url} cannot be {action}: {reason}")


def _parse_url(out: str) -> SplitResult:
    """Parse a URL to which something can be uploaded."""
    parts, url = urlsplit(out), strip_secrets(out)
    if parts.scheme not in SCHEMES:
        raise UsageError(
            f"nothing can be uploaded to {url}; give a file or a folder, or a URL that begins "
            f"with {', '.join(f'{scheme}://' for scheme in SCHEMES)}"
        )
    if "@" in parts.netloc or parts.query:
        raise UsageError(
            f"{url} was given with a key; keys belong into the environment, such as "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return parts


def upload_with_sidecars(product: Path, target: Target, *, picture: Path | None) -> None:
    """Upload a finished product and its sidecar files; the product comes last.

    Args:
        product: The file.
        target: Where to.
        picture: Its preview, if there is one.

    Raises:
        OutputError: If any of them cannot be uploaded; none is left then.
    """
    names = product.with_name(f"{product.name}.aux.xml")
    sidecars = [(names, Target(f"{target.url}.aux.xml"))] if names.exists() else []
    if picture is not None:
        sidecars.append((picture, target.with_suffix(".png")))
    uploaded: list[Target] = []
    try:
        for file, destination in (*sidecars, (product, target)):
            destination.upload(file)
            uploaded.append(destination)
    except BaseException:
        for destination in uploaded:
            destination.discard()
        raise
