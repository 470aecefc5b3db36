"""WAV files, by walking their chunks: RIFF, RF64 and BW64.

    "RIFF" size "WAVE"  { id(4) size(4, little-endian) content [padding to an even size] } …

Survived: sizes of 0 or 0xFFFFFFFF that a recorder leaves when it is cut off or writes to a pipe,
sizes beyond the file's end, chunks before and after the audio, headers of zeros. A chunk's content
is passed over by seeking, so a file costs a few small reads whatever its size.

Sources: Microsoft's "Multimedia Programming Interface" (RIFF, WAVE), RFC 2361 (codec numbers),
EBU Tech 3306 and ITU-R BS.2088 (RF64, BW64).
"""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import BinaryIO

from msgspec import Struct

from agent.recordings.verdict import Audio, Verdict, empty, foreign

MAGIC = (b"RIFF", b"RF64", b"BW64")
HEADER_BYTES = 12
MOST_CHUNKS = 512
"""Chunks looked at in one file; recorders write fewer than ten."""
MOST_FORMAT_BYTES = 64
"""Bytes read of a format chunk; the longest known, EXTENSIBLE, has 40."""
PLACEHOLDER = 0xFFFFFFFF
LONGEST_DURATION = 7 * 86_400.0
"""Seconds; a header that makes it longer is wrong about its rates."""
UNCOUNTED_SECONDS = 1.0
"""More audio than this behind the audio that the header counts: its recorder was cut off."""

PCM, MS_ADPCM, IMA_ADPCM, GSM, EXTENSIBLE = 1, 2, 17, 49, 0xFFFE
CODECS = MappingProxyType(
    {
        PCM: "pcm",
        MS_ADPCM: "ms adpcm",
        3: "float",
        6: "a-law",
        7: "mu-law",
        IMA_ADPCM: "ima adpcm",
        GSM: "gsm",
        0x55: "mp3 in wav",
    }
)
UNIFORM = frozenset({PCM, 3, 6, 7})
"""Codecs with one sample of each channel in a block."""
BLOCKS = frozenset({MS_ADPCM, IMA_ADPCM, GSM})
"""Codecs whose format chunk ends with the number of samples in a block."""
GSM_BLOCK = (65, 320)
"""Bytes and samples of two GSM 6.10 frames, as WAV packs them."""


class _Format(Struct, frozen=True):
    tag: int
    channels: int
    rate: int
    byte_rate: int
    block: int
    bits: int
    samples: int

    @property
    def codec(self) -> str:
        return CODECS.get(self.tag, f"wav codec {self.tag}")

    def seconds(self, size: int) -> float | None:
        """Duration of `size` bytes; None where the header's fields make no sense."""
        if self.tag in UNIFORM:
            block = self.block or self.channels * ((self.bits + 7) // 8)
            seconds = _ratio(size // block if block else 0, self.rate)
        elif self.tag in BLOCKS and self.samples and self.block:
            seconds = _ratio(size // self.block * self.samples, self.rate)
        else:
            seconds = _ratio(size, self.byte_rate)
        return None if seconds is None or seconds > LONGEST_DURATION else seconds


class _Chunk(Struct, frozen=True):
    name: bytes
    size: int
    content: int
    """Offset of the content in the file."""

    @property
    def end(self) -> int:
        return self.content + self.size + (self.size & 1)


def inspect_wav(file: BinaryIO, size: int) -> Audio:
    """Judge a file that begins with one of MAGIC (or a part of it). Raises OSError of the file."""
    header = _read(file, 0, HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return empty("wav", "only the beginning of a WAV header is there")
    if header[8:] != b"WAVE":
        return foreign(f"a RIFF file of another kind ({header[8:]!r}), not WAVE")
    form: _Format | None = None
    long_size: int | None = None
    position = HEADER_BYTES
    for _ in range(MOST_CHUNKS):
        chunk = _chunk(file, position)
        if chunk is None:
            return empty("wav", "a WAV header without audio behind it")
        if chunk.name == b"ds64":
            long_size = _long_size(_read(file, chunk.content, min(chunk.size, 16)))
        elif chunk.name == b"fmt ":
            form = _format(_read(file, chunk.content, min(chunk.size, MOST_FORMAT_BYTES)))
        elif chunk.name == b"data":
            return _audio(file, size, _with_long_size(chunk, long_size), form)
        position = chunk.end
    return foreign(f"no audio among its first {MOST_CHUNKS} WAV chunks")


def _audio(file: BinaryIO, size: int, chunk: _Chunk, form: _Format | None) -> Audio:
    if form is None:
        return foreign("a WAV file that does not say which codec its audio has")
    there = max(0, size - chunk.content)
    if there == 0:
        return empty("wav", "a WAV header without audio behind it")
    if chunk.size == 0 and _only_chunks(file, chunk.content, size):
        return empty("wav", "a WAV file whose audio has no samples")
    if _counts_all(file, size, chunk, form):
        return _found(Verdict.GOOD, form, chunk.size, "")
    placeholder = chunk.size in {0, PLACEHOLDER}
    said = f"the placeholder {chunk.size}" if placeholder else f"{chunk.size} bytes of audio"
    reason = f"its header says {said}, the file holds {there} bytes"
    return _found(Verdict.CUT_OFF, form, there, reason)


def _counts_all(file: BinaryIO, size: int, chunk: _Chunk, form: _Format) -> bool:
    """Tell whether the header's size is that of the audio: not beyond the file, nor far short."""
    if chunk.size == 0 or chunk.content + chunk.size > size:
        return False
    uncounted = form.seconds(max(0, size - chunk.end)) or 0.0
    return uncounted <= UNCOUNTED_SECONDS or _only_chunks(file, chunk.end, size)


def _found(verdict: Verdict, form: _Format, size: int, reason: str) -> Audio:
    seconds = form.seconds(size)
    if seconds is None:
        unknown = f"its header makes no sense of time ({form.rate} samples a second)"
        reason = f"{reason}; {unknown}" if reason else unknown
    return Audio(verdict, "wav", form.codec, seconds, reason)


def _with_long_size(chunk: _Chunk, long_size: int | None) -> _Chunk:
    """Take the size from the ds64 chunk where the audio's own can't hold it."""
    if chunk.size != PLACEHOLDER or not long_size:
        return chunk
    return _Chunk(chunk.name, long_size, chunk.content)


def _only_chunks(file: BinaryIO, position: int, size: int) -> bool:
    """Tell whether the rest of the file is a chain of chunks that ends where the file does."""
    for _ in range(MOST_CHUNKS):
        if position >= size:
            return True
        chunk = _chunk(file, position)
        if chunk is None or not chunk.name.isascii() or not chunk.name.decode().isprintable():
            return False
        if chunk.content + chunk.size > size:
            return False
        position = chunk.end
    return False


def _chunk(file: BinaryIO, position: int) -> _Chunk | None:
    head = _read(file, position, 8)
    if len(head) < 8:
        return None
    return _Chunk(head[:4], int.from_bytes(head[4:], "little"), position + 8)


def _format(content: bytes) -> _Format | None:
    if len(content) < 14:
        return None
    tag, channels, rate, byte_rate, block = struct.unpack_from("<HHIIH", content)
    bits = int.from_bytes(content[14:16], "little")
    if tag == EXTENSIBLE:
        tag = int.from_bytes(content[24:26], "little") or tag
    samples = int.from_bytes(content[18:20], "little") if tag in BLOCKS else 0
    if tag == GSM:
        block, samples = block or GSM_BLOCK[0], samples or GSM_BLOCK[1]
    return _Format(tag, channels, rate, byte_rate, block, bits, samples)


def _long_size(content: bytes) -> int | None:
    return int.from_bytes(content[8:16], "little") if len(content) == 16 else None


def _ratio(count: int, rate: int) -> float | None:
    return count / rate if rate else None


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)
