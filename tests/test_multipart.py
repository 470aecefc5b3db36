from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.formparser import parse_form_data

from agent.platform.failures import FailureKind, PlatformFailure
from agent.platform.multipart import (
    BLOCK,
    MARGIN,
    Container,
    RecordingBody,
    block_buffer,
    wire_name,
)

FIELDS = (("cmd", "upload"), ("satellite", "00:1A:2B:3C:4D:5E"), ("callid", "7687658987667780097"))


def nothing(_count: int) -> None:
    pass


def body_of(
    file: BinaryIO,
    before_block: Callable[[int], None] = nothing,
    size: int | None = None,
    buffer: memoryview | None = None,
) -> RecordingBody:
    facts = os.fstat(file.fileno())
    return RecordingBody(
        FIELDS,
        file,
        facts.st_size if size is None else size,
        facts.st_mtime_ns,
        "call.wav",
        "audio/wav",
        before_block,
        block_buffer() if buffer is None else buffer,
    )


def whole(body: RecordingBody, before: bytes = b"") -> bytes:
    """All of it: a piece holds until the next one."""
    sent = bytearray()
    for piece in body.pieces(before):
        sent += piece
    return bytes(sent)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    path.write_bytes(os.urandom(3 * BLOCK + 17))
    return path


@pytest.fixture
def file(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        yield file


def kind_of(body: RecordingBody) -> tuple[FailureKind, int]:
    """How sending ends, and how many bytes the platform would have by then."""
    sent = 0
    with pytest.raises(PlatformFailure) as caught:
        for block in body:
            sent += len(block)
    return caught.value.kind, sent


def test_a_server_reads_what_was_sent(file: BinaryIO, path: Path, tmp_path: Path) -> None:
    body = body_of(file)
    sent = tmp_path / "sent"
    sent.write_bytes(whole(body))
    with sent.open("rb") as stream:
        _, form, files = parse_form_data(
            {
                "wsgi.input": stream,
                "REQUEST_METHOD": "POST",
                "CONTENT_TYPE": body.content_type,
                "CONTENT_LENGTH": str(len(body)),
            }
        )
    received = files["file"]
    assert tuple(form.items()) == FIELDS
    assert (received.filename, received.mimetype) == ("call.wav", "audio/wav")
    assert received.stream.read() == path.read_bytes()
    received.close()


def test_the_length_is_exact_and_blocks_are_bounded(file: BinaryIO) -> None:
    body = body_of(file)
    pieces = [len(piece) for piece in body]
    assert sum(pieces) == len(body)
    assert max(pieces) < BLOCK + 2 * MARGIN


def test_what_goes_before_a_body_leaves_together_with_its_first_block(file: BinaryIO) -> None:
    body = body_of(file)
    alone = whole(body)
    body.rewind()
    first = bytes(next(body.pieces(b"POST / HTTP/1.1\r\n\r\n")))
    before, _, after = first.partition(b"\r\n\r\n")
    assert before == b"POST / HTTP/1.1"
    assert len(after) > BLOCK
    assert alone.startswith(after)


@pytest.mark.parametrize("length", [MARGIN - 300, MARGIN, 3 * MARGIN])
def test_what_goes_before_a_body_may_be_of_any_length(file: BinaryIO, length: int) -> None:
    body = body_of(file)
    alone = whole(body)
    body.rewind()
    assert whole(body, b"x" * length) == b"x" * length + alone


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_the_end_of_a_body_leaves_together_with_the_last_block(tmp_path: Path, size: int) -> None:
    path = tmp_path / "call.wav"
    path.write_bytes(os.urandom(size))
    with path.open("rb") as file:
        body = body_of(file)
        sent = whole(body)
        body.rewind()
        assert sum(1 for _ in body) == -(-size // BLOCK)
    assert sent.partition(b"audio/wav\r\n\r\n")[2].startswith(path.read_bytes() + b"\r\n--")
    assert sent.endswith(b"--\r\n")


def test_one_buffer_serves_one_recording_after_another(tmp_path: Path) -> None:
    buffer = block_buffer()
    for name, size in (("long.wav", 2 * BLOCK + 9), ("short.wav", 5), ("empty.wav", 0)):
        path = tmp_path / name
        path.write_bytes(os.urandom(size))
        with path.open("rb") as file:
            body = body_of(file, buffer=buffer)
            sent = whole(body)
        assert len(sent) == len(body)
        assert path.read_bytes() in sent
        assert body.digest == xxhash.xxh3_128(path.read_bytes()).hexdigest()


def test_the_digest_is_that_of_the_file(file: BinaryIO, path: Path) -> None:
    body = body_of(file)
    list(body)
    assert body.digest == xxhash.xxh3_128(path.read_bytes()).hexdigest()


def test_a_digest_of_half_a_file_is_not_given_out(file: BinaryIO) -> None:
    body = body_of(file)
    blocks = iter(body)
    next(blocks)
    next(blocks)
    with pytest.raises(RuntimeError):
        _ = body.digest


def test_a_body_is_not_sent_again_unasked(file: BinaryIO) -> None:
    body = body_of(file)
    list(body)
    with pytest.raises(RuntimeError):
        list(body)


def test_a_body_that_is_rewound_says_the_same(file: BinaryIO) -> None:
    body = body_of(file)
    first = whole(body)
    digest = body.digest
    body.rewind()
    assert whole(body) == first
    assert body.digest == digest


def test_an_empty_file_has_a_body_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    with path.open("rb") as file:
        body = body_of(file)
        assert len(whole(body)) == len(body)
        assert body.digest == xxhash.xxh3_128().hexdigest()


@pytest.mark.parametrize("change", ["grown", "cut", "rewritten", "touched"])
def test_a_file_that_changes_on_the_way_never_arrives_whole(
    file: BinaryIO, path: Path, change: str
) -> None:
    def after_two_blocks(_count: int) -> None:
        blocks.append(_count)
        if len(blocks) == 3:
            changes[change]()

    def rewritten() -> None:
        with path.open("r+b") as other:
            other.write(b"other")

    blocks: list[int] = []
    facts = path.stat()
    changes: dict[str, Callable[[], object]] = {
        "grown": lambda: os.truncate(path, facts.st_size + 1),
        "cut": lambda: os.truncate(path, 10),
        "rewritten": rewritten,
        "touched": lambda: os.utime(path, ns=(0, facts.st_mtime_ns + 1)),
    }
    body = body_of(file, after_two_blocks)
    kind, sent = kind_of(body)
    assert kind is FailureKind.FILE_CHANGED
    assert BLOCK < sent < len(body)


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_file_of_another_size_is_not_begun(file: BinaryIO, difference: int) -> None:
    size = os.fstat(file.fileno()).st_size + difference
    assert kind_of(body_of(file, size=size)) == (FailureKind.FILE_CHANGED, 0)


def test_a_change_during_a_wait_before_the_last_block_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(b"x" * 100)
    with path.open("rb") as file:
        body = body_of(file, lambda _count: os.utime(path, ns=(0, 1)))
        kind, sent = kind_of(body)
    assert kind is FailureKind.FILE_CHANGED
    assert sent < len(body) - 100


def test_a_file_that_cannot_be_read_is_a_platform_failure(tmp_path: Path) -> None:
    # Opened for writing only: reading it gives EBADF, as a failing medium gives EIO.
    path = tmp_path / "call.wav"
    with path.open("wb", buffering=0) as file:
        file.write(b"x" * 100)
        assert kind_of(body_of(file))[0] is FailureKind.FILE_UNREADABLE


def test_each_block_is_announced_before_it_is_read(file: BinaryIO) -> None:
    announced: list[int] = []
    list(body_of(file, announced.append))
    assert announced == [BLOCK, BLOCK, BLOCK, 17]


def test_sending_stops_where_it_is_told_to(file: BinaryIO) -> None:
    def stop(_count: int) -> None:
        raise PlatformFailure(FailureKind.ABANDONED, "stopped")

    assert kind_of(body_of(file, stop))[0] is FailureKind.ABANDONED


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with path.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    with path.open("rb") as file:
        body = body_of(file)
        tracemalloc.start()
        try:
            for _block in body:
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 4 * BLOCK


@pytest.mark.parametrize(
    ("name", "container", "expected"),
    [
        ("20190724-163111_1_in_138.wav", "wav", "20190724-163111_1_in_138.wav"),
        ("a.b.c.MP3", "mp3", "a_b_c.mp3"),
        ("deep/er/a b.wav", "wav", "a_b.wav"),
        ('a"\r\nX: y.wav', "wav", "a___X__y.wav"),
        ("通话.wav", "wav", "__.wav"),
        ("wrong.mp3", "wav", "wrong.wav"),
        (".hidden", "wav", "_hidden.wav"),
        (".hidden.wav", "wav", "_hidden.wav"),
        ("dots..wav", "wav", "dots_.wav"),
        ("no_suffix", "wav", "no_suffix.wav"),
        ("v1.0/call", "wav", "call.wav"),
        ("", "wav", "recording.wav"),
    ],
)
def test_names_on_the_wire_are_plain(name: str, container: Container, expected: str) -> None:
    assert wire_name(name, container) == expected


@given(st.text(), st.sampled_from(["wav", "mp3"]))
def test_any_name_becomes_a_safe_one(name: str, container: Container) -> None:
    safe = wire_name(name, container)
    stem, ending = safe.split(".")
    assert ending == container
    assert stem
    assert safe.isascii()
    assert len(safe) <= 100
    assert all(character.isalnum() or character in "-_" for character in stem)
