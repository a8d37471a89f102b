"""A local HTTP server that answers byte ranges and counts what it sends."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Longer than the client of a test waits.
_STALL_S = 4.0


@dataclass
class RangeServer:
    """What a server serves and has sent.

    Attributes:
        url: Root, without a slash at the end.
        requests: `(method, path, status, bytes sent)` in the order they came.
        failures: How many of the next requests are answered with 503.
        faults: What goes wrong with the next answers that have content, one each: `"500"`,
            `"drop"` (half of it, then the line is cut), `"truncate"` (half of it, said to be all),
            `"stall"` (nothing comes for a while), or `""` for nothing.
        denied: Whether every request is answered with 403.
        etag: What tells the files from those of another day; None for nothing.
    """

    url: str
    requests: list[tuple[str, str, int, int]] = field(default_factory=list)
    failures: int = 0
    faults: list[str] = field(default_factory=list)
    denied: bool = False
    etag: str | None = None

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
            elif state.denied:
                status = 403
            elif not path.is_file():
                status = 404
            else:
                size = path.stat().st_size
                first, last, status = 0, size - 1, 200
                asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if asked:
                    first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
                    status = 206
                    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
                with path.open("rb") as file:
                    file.seek(first)
                    body = file.read(last + 1 - first)
                headers["Accept-Ranges"] = "bytes"
                if state.etag:
                    headers["ETag"] = state.etag
            fault = state.faults.pop(0) if state.faults and body and with_body else ""
            if fault == "500":
                status, body, headers = 500, b"", {}
            if fault == "stall":
                time.sleep(_STALL_S)
            if fault == "truncate":
                body = body[: len(body) // 2]
            state.requests.append((self.command, self.path, status, len(body) if with_body else 0))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                with suppress(ConnectionError):  # Whoever has read enough hangs up.
                    self.wfile.write(body[: len(body) // 2] if fault == "drop" else body)
            if fault == "drop":
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = RangeServer(f"http://127.0.0.1:{server.server_port}", etag=etag)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
