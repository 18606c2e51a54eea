"""Requests over kept-alive connections by a client that itself takes next to no time."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode, urlsplit


@dataclass(frozen=True)
class Answer:
    """What came back."""

    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class Caller:
    """Asks one server; enter it once. As many connections as there are requests at the same time."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname, parts.port, parts.path.rstrip("/")
        self._headers = {"Host": parts.netloc, **(headers or {})}
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for _, writer in self._idle:
            writer.close()

    async def ask(
        self, path: str, query: Mapping[str, str | int] | None = None, *, body: object = None
    ) -> Answer:
        """GET, or POST of a body. Raises RuntimeError for an answer that is an error."""
        content = b"" if body is None else json.dumps(body).encode()
        target = f"{self._path}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = dict(self._headers)
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": f"{len(content)}"}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{'GET' if body is None else 'POST'} {target} HTTP/1.1\r\n{head}\r\n".encode() + content
        while True:
            kept = bool(self._idle)
            reader, writer = self._idle.pop() if kept else await self._connect()
            try:
                writer.write(request)
                answer = await _answer(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()
                if kept:
                    continue  # the server closes connections that nobody used for a while
                raise
            self._idle.append((reader, writer))
            return answer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port, limit=2**22)


async def _answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *lines = head[:-4].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    if not status.split()[1].startswith("2"):
        raise RuntimeError(f"{status}: {body.decode(errors='replace')}")
    return Answer(headers, body)
