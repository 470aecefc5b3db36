"""The usual answer's head: understood as http.client would, or left to that one."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.platform.plain import plain_head
from tests.plain_heads import understood_alike

BODY = b'{"status":0}'
PLAIN = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Mon, 30 Nov 2026 12:00:00 GMT\r\n"
    b"Content-Type: application/json;charset=UTF-8\r\nContent-Length: 12\r\n"
    b"Connection: keep-alive\r\nX-Request-Id: 7f%3A\r\n\r\n"
)
"""As a web server of today answers."""


def test_the_usual_answer_is_plain() -> None:
    head = plain_head(PLAIN + BODY)
    assert head is not None
    assert (head.size, head.length) == (len(PLAIN), len(BODY))


def test_its_body_need_not_be_there_yet() -> None:
    assert plain_head(PLAIN) == plain_head(PLAIN + BODY)


@pytest.mark.parametrize(
    ("words", "instead"),
    {
        "another version": (b"HTTP/1.1", b"HTTP/1.0"),
        "another status": (b"200 OK", b"503 Busy"),
        "one that says more later": (b"200 OK", b"100 Continue"),
        "no length": (b"Content-Length: 12\r\n", b""),
        "two lengths": (b"Server: nginx", b"Content-Length: 3"),
        "a length that is none": (b"Length: 12", b"Length: +12"),
        "a length of two": (b"Length: 12", b"Length: 12, 12"),
        "a length that no answer has": (b"Length: 12", b"Length: 1200000000"),
        "pieces": (b"Server: nginx", b"Transfer-Encoding: chunked"),
        "something packed": (b"Server: nginx", b"CONTENT-ENCODING:gzip"),
        "a wish to wait": (b"Server: nginx", b"Retry-After: 5"),
        "a farewell": (b"keep-alive", b"close"),
        "a farewell among others": (b"keep-alive", b"keep-alive, close"),
        "a line that goes on": (b"Server: nginx", b"Server:\r\n nginx"),
        "a blank before the colon": (b"Server:", b"Server :"),
        "no colon": (b"Server: nginx", b"nginx"),
        "a control character": (b"nginx", b"ng\x85inx"),
        "a bare line feed": (b"nginx", b"nginx\nRetry-After: 5"),
    }.values(),
)
def test_what_is_not_plain_is_left_to_the_library(words: bytes, instead: bytes) -> None:
    assert words in PLAIN
    assert plain_head(PLAIN.replace(words, instead) + BODY) is None


@pytest.mark.parametrize("size", range(len(PLAIN)))
def test_half_a_head_is_none(size: int) -> None:
    assert plain_head(PLAIN[:size]) is None


_NAMES = st.sampled_from(
    [
        "Date",
        "content-length",
        "Content-Length",
        "Connection",
        "Transfer-Encoding",
        "X",
        "Keep-Alive",
    ]
)
_VALUES = st.one_of(
    st.sampled_from(["12", " 12 ", "keep-alive", "close", "chunked", "identity", "timeout=5"]),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=6),
)
_ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"])


@st.composite
def _heads(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(st.tuples(_NAMES, st.sampled_from([":", ": ", " : "]), _VALUES, _ENDS)))
    text = "".join("".join(line) for line in lines)
    return f"HTTP/1.1 200 {draw(_VALUES)}\r\nContent-Length: 12\r\n{text}\r\n".encode("latin-1")


@given(_heads())
@example(PLAIN)
def test_what_is_plain_means_what_the_library_understands(head: bytes) -> None:
    both = understood_alike(head + BODY)
    if both is None:
        return
    found, answer = both
    body = answer.read()
    assert (answer.status, body) == (200, (head + BODY)[found.size : found.size + found.length])
    assert found.length == len(body)
