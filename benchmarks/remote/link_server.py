"""A distant store on this machine: a web server in a process of its own, behind a link of limited rate and a latency.

    python link_server.py FOLDER SECONDS BYTES_PER_SECOND

This file is run as it is, and imports nothing of feedline, so that it starts in a fraction of a second. It serves
ranges of the files in FOLDER on the loopback. Each answer begins after SECONDS, and all answers share
BYTES_PER_SECOND (a token bucket; 0 for no limit). It prints its port, and ends when its stdin is closed, so it does
not outlive the process that started it.
"""

import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

CHUNK = 2**18  # bytes that are sent at once: 2 ms at 1 Gb/s
CREDIT = 0.02  # seconds of the rate that a link which was idle sends at once, so that late wake-ups cost nothing


class Bucket:
    """The rate that all connections of a link share."""

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._free_at = 0.0
        """When all that was admitted is sent."""
        self._lock = threading.Lock()

    def admit(self, size: int) -> None:
        """Wait until the link has sent ``size`` more bytes."""
        if not self._rate:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - CREDIT) + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


class LinkServer(ThreadingHTTPServer):
    """Serves the files in a folder."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, latency: float, bytes_per_second: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.latency, self.bucket = folder, latency, Bucket(bytes_per_second)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and data in one packet
    server: LinkServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        time.sleep(self.server.latency)
        path = self.server.folder / unquote(urlsplit(self.path).path).strip("/")
        if not path.is_file():
            self._head(404, 0)
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = min(int(asked[1]), size) if asked else 0
        stop = min(int(asked[2]) + 1, size) if asked and asked[2] else size
        self._head(206 if asked else 200, stop - start, f"bytes {start}-{stop - 1}/{size}" if asked else None)
        with path.open("rb", buffering=0) as file:
            file.seek(start)
            while start < stop:
                data = file.read(min(CHUNK, stop - start))
                self.server.bucket.admit(len(data))
                self.wfile.write(data)
                start += len(data)

    def _head(self, status: int, length: int, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main(folder: str, latency: str, bytes_per_second: str) -> None:
    """Serve until stdin is closed."""
    server = LinkServer(Path(folder), float(latency), float(bytes_per_second))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:4])
