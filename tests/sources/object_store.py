"""A small S3 on loopback that counts what it sends: enough of the protocol to list and to read."""

import threading
import xml.sax.saxutils as xml
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class ObjectStore:
    """Serves `root/<bucket>/<key>`; `bytes_sent` counts the bodies of objects."""

    root: Path
    url: str = ""
    sent: list[int] = field(default_factory=list)

    @property
    def bytes_sent(self) -> int:
        return sum(self.sent)

    @property
    def options(self) -> dict[str, str]:
        """What polars needs to know to reach it."""
        return {
            "aws_endpoint_url": self.url,
            "aws_access_key_id": "reader",
            "aws_secret_access_key": "s3cr3t",
            "aws_region": "us-east-1",
            "aws_allow_http": "true",
        }


@contextmanager
def object_store(root: Path) -> Iterator[ObjectStore]:
    store = ObjectStore(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store))
    store.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(store: ObjectStore) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(send_body=False)

        def do_GET(self) -> None:
            self._answer(send_body=True)

        def _answer(self, *, send_body: bool) -> None:
            address = urlsplit(self.path)
            query = parse_qs(address.query)
            if "list-type" in query:
                self._respond(
                    200, _listing(store.root / unquote(address.path).strip("/"), query.get("prefix", [""])[0])
                )
                return
            file = store.root / unquote(address.path).lstrip("/")
            if not file.is_file():
                self._respond(404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            content = file.read_bytes()
            first, last = _range(self.headers.get("Range"), len(content))
            body = content[first : last + 1]
            headers = {"Content-Range": f"bytes {first}-{last}/{len(content)}", "ETag": '"1"'}
            headers["Last-Modified"] = "Mon, 01 Jan 2024 00:00:00 GMT"
            if send_body:
                store.sent.append(len(body))
            self._respond(206 if "Range" in self.headers else 200, body, headers, send_body=send_body)

        def _respond(
            self,
            status: int,
            body: bytes,
            headers: Mapping[str, str] = MappingProxyType({}),
            *,
            send_body: bool = True,
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if send_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            """Stay quiet."""

    return Handler


def _range(header: str | None, size: int) -> tuple[int, int]:
    if header is None:
        return 0, size - 1
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last), size - 1) if last else size - 1


def _listing(bucket: Path, prefix: str) -> bytes:
    keys = sorted(path.relative_to(bucket).as_posix() for path in bucket.rglob("*") if path.is_file())
    contents = "".join(
        f"<Contents><Key>{xml.escape(key)}</Key><Size>{(bucket / key).stat().st_size}</Size>"
        "<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>1</ETag></Contents>"
        for key in keys
        if key.startswith(prefix)
    )
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()
