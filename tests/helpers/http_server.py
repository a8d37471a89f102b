"""A local HTTP server that answers byte ranges and counts what it sends."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class RangeServer:
    """What a server serves and has sent.

    Attributes:
        url: Root, without a slash at the end.
        requests: `(method, path, status, bytes sent)` in the order they came.
        failures: How many of the next requests are answered with 503.
    """

    url: str
    requests: list[tuple[str, str, int, int]] = field(default_factory=list)
    failures: int = 0

    @property
    def n_bytes(self) -> int:
        """Bytes of content sent so far."""
        return sum(sent for _, _, _, sent in self.requests)

    @property
    def paths(self) -> set[str]:
        """What was asked for."""
        return {path for _, path, _, _ in self.requests}


@contextmanager
def serve(folder: Path, *, etag: str | None = '"v1"') -> Iterator[RangeServer]:
    """Serve a folder on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            path = folder / self.path.partition("?")[0].lstrip("/")
            status, body, headers = 200, b"", {}
            if state.failures > 0:
                state.failures -= 1
                status = 503
            elif not path.is_file():
                status = 404
            else:
                whole = path.read_bytes()
                body = whole
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if asked:
                    first = int(asked[1])
                    last = min(int(asked[2] or len(whole) - 1), len(whole) - 1)
                    status, body = 206, whole[first : last + 1]
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(whole)}"
                headers["Accept-Ranges"] = "bytes"
                if etag:
                    headers["ETag"] = etag
            state.requests.append((self.command, self.path, status, len(body) if with_body else 0))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = RangeServer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
