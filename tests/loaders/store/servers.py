"""A web server on the loopback that serves ranges of the files in a folder, and misbehaves as a test says."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

Fault = str | None
"""An HTTP status such as "503", "cut", "short", "corrupt", "whole" (no ranges), or None for a proper answer."""


class Server(ThreadingHTTPServer):
    """Serves ``folder``. ``fault(name, times)`` says what goes wrong with request ``times`` for a file, from 1."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.fault: Callable[[str, int], Fault] = lambda name, times: None
        self.latency = 0.0
        self.authorization: str | None = None
        self.sent = Counter[str]()
        """Bytes of each file."""
        self.requests: list[str] = []
        self.busy = self.most_busy = 0
        """Requests that are being answered, and the most that were at a time."""
        self.counting = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def requested(self, suffix: str) -> list[str]:
        """Return the requested files whose names end with ``suffix``."""
        return [name for name in self.requests if name.endswith(suffix)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and data in one packet: a second one waits 40 ms for the first one's acknowledgement
    server: Server

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path).strip("/")
        with self.server.counting:
            self.server.requests.append(name)
            times = self.server.requests.count(name)
            self.server.busy += 1
            self.server.most_busy = max(self.server.most_busy, self.server.busy)
        time.sleep(self.server.latency)
        with self.server.counting:
            self.server.busy -= 1
        fault = self.server.fault(name, times)
        if self.server.authorization not in (None, self.headers.get("Authorization")):
            fault = "401"
        if fault is not None and fault.isdecimal():
            return self._answer(int(fault), b"no")
        path = self.server.folder / name
        if not path.is_file():
            return self._answer(404, b"no such file")
        data, asked = path.read_bytes(), re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        status = 206 if asked and fault != "whole" else 200
        if asked and fault != "whole":
            data = data[int(asked[1]) : int(asked[2]) + 1]
        if fault == "short":
            data = data[: len(data) // 2]
        if fault == "corrupt":
            data = data[:-1] + bytes([data[-1] ^ 1])
        with self.server.counting:
            self.server.sent[name] += len(data)
        return self._answer(status, data, cut=fault == "cut")

    def do_HEAD(self) -> None:
        self.send_response(405)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, status: int, data: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Generator[Server]:
    """Serve a folder for a block."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
