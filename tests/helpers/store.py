"""Real servers of this machine: an S3 with one bucket, and Azurite, where it is installed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from urllib.parse import quote

# Of every Azurite, as its manual says.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Bucket:
    """What is in the bucket `shelf`.

    Args:
        server: URL of the server.
    """

    def __init__(self, server: str) -> None:
        self.server, self.url = server, f"{server}/shelf"
        # What another test has left is gone.
        _ask(f"{server}/moto-api/reset", "POST")
        _ask(self.url, "PUT")

    def keys(self) -> list[str]:
        """Names of its objects."""
        return self._words("?list-type=2", "Key")

    def unfinished(self) -> list[str]:
        """Uploads that were neither finished nor taken back."""
        return self._words("?uploads", "UploadId")

    def get(self, key: str) -> bytes:
        """An object."""
        with urllib.request.urlopen(f"{self.url}/{quote(key)}") as answer:
            return bytes(answer.read())

    def save(self, prefix: str, folder: Path) -> Path:
        """Write the objects below a prefix into a folder."""
        for key in self.keys():
            if key.startswith(f"{prefix}/"):
                path = folder / key.removeprefix(f"{prefix}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(self.get(key))
        return folder

    def put(self, key: str, content: bytes) -> None:
        """Write an object that everybody may read."""
        _ask(f"{self.url}/{key}", "PUT", content)

    def remove(self, key: str) -> None:
        """Delete an object."""
        _ask(f"{self.url}/{quote(key)}", "DELETE")

    def refuse(self, *keys: str) -> None:
        """Let nobody write objects of these names, in which `*` stands for anything; or all."""
        if not keys:
            _ask(f"{self.url}?policy", "DELETE")
            return
        rule = {
            "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
            "Resource": [f"arn:aws:s3:::shelf/{key}" for key in keys],
        }  # fmt: skip
        policy = {"Version": "2012-10-17", "Statement": [rule]}
        _ask(f"{self.url}?policy", "PUT", json.dumps(policy).encode())

    def _words(self, query: str, tag: str) -> list[str]:
        from xml.etree import ElementTree

        with urllib.request.urlopen(f"{self.url}/{query}") as answer:
            tree = ElementTree.fromstring(answer.read())
        return [e.text or "" for e in tree.iter() if e.tag.endswith(tag) and e.text]


def _ask(url: str, method: str, content: bytes | None = None) -> None:
    headers = {"Content-Type": "image/tiff", "x-amz-acl": "public-read"}
    request = urllib.request.Request(url, content, headers, method=method)
    urllib.request.urlopen(request).close()


@contextmanager
def serve_store() -> Iterator[str]:
    """Run the server and give its URL."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        running.stop()


@contextmanager
def serve_azure(folder: Path, container: str) -> Iterator[str]:
    """Run Azurite with an empty container, and give its connection string.

    Raises:
        FileNotFoundError: If Azurite is not installed (`npm install -g azurite`).
    """
    program = shutil.which("azurite-blob")
    if program is None:
        raise FileNotFoundError("azurite-blob")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [program, "--inMemoryPersistence", "--silent", "--blobPort", str(port)]
    words += ["--disableTelemetry", "--skipApiVersionCheck"]
    running = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not _answers(port):
            assert time.monotonic() < until, "no Azurite"
            time.sleep(0.1)
        endpoint = f"http://127.0.0.1:{port}/{_ACCOUNT}"
        _make_container(endpoint, container)
        yield f"AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={endpoint};"
    finally:
        running.kill()
        running.wait()


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _make_container(endpoint: str, name: str) -> None:
    """Which obstore cannot do: a request signed with the key of the account."""
    said = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2019-12-12"}
    lines = [*(f"{word}:{value}" for word, value in said.items())]
    resource = f"/{_ACCOUNT}/{_ACCOUNT}/{name}\nrestype:container"
    text = "PUT" + "\n" * 12 + "\n".join([*lines, resource])
    digest = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    signed = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
    request = urllib.request.Request(
        f"{endpoint}/{name}?restype=container", b"",
        {**said, "Authorization": signed, "Content-Type": ""}, method="PUT",
    )  # fmt: skip
    urllib.request.urlopen(request).close()
