"""A head that counts as plain, beside what http.client makes of the same bytes."""

from __future__ import annotations

import http.client
import io
from typing import Any

from agent.platform.plain import PlainHead, plain_head


class Sent:
    """Stands in for the socket, of which http.client wants no more than a file to read from."""

    def __init__(self, content: bytes) -> None:
        self.file = io.BufferedReader(io.BytesIO(content))

    def makefile(self, _mode: str) -> io.BufferedReader[io.BytesIO]:
        return self.file


def understood_alike(content: bytes) -> tuple[PlainHead, http.client.HTTPResponse] | None:
    """Where the head is plain, see that the library finds the same in it and nothing that matters.

    Returns what both understood, the library's answer with its body unread.
    """
    found = plain_head(content)
    if found is None:
        return None
    source: Any = Sent(content)
    answer = http.client.HTTPResponse(source, method="POST")
    answer.begin()
    assert (answer.status, answer.version, answer.chunked, answer.will_close) == (200, 11, 0, False)
    assert (source.file.tell(), answer.length) == (found.size, found.length)
    for name in ("Retry-After", "Content-Encoding", "Transfer-Encoding"):
        assert answer.headers.get(name) is None
    return found, answer
