"""MP3 files: MPEG audio layer III, with constant or varying bit rate, with or without tags.

A file is taken for MP3 only where two frame headers stand where the first says: eleven set bits
alone occur in any data. The duration comes from the index in the first frame (Xing, Info, VBRI)
where the file holds what the index counts, else from walking the frames in bounded blocks; an
estimate from the first few frames is wrong for speech, which begins with silence.

Source: ISO/IEC 11172-3 and 13818-3 (frames), id3.org's ID3v2.4 structure (tags).
"""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO

from msgspec import Struct

from agent.recordings.verdict import Audio, Verdict, empty, foreign

MOST_TAGS = 4
"""ID3v2 tags passed over at the beginning; one is usual, two come from careless editors."""
MOST_LEADING_BYTES = 4096
"""Bytes searched for the first frame: padding behind a tag, or half a frame of a recorder that
joined a stream."""
BLOCK_BYTES = 65_536
LONGEST_FRAME = 2881
"""Bytes: 160 kbit/s at 8 kHz and a padding byte; no layer III frame is longer."""
MOST_WALKED_BYTES = 64 * 1024 * 1024
"""Bytes walked; 4.6 hours at 32 kbit/s. Behind that the mean of what was walked is taken."""
MOST_JUNK_BYTES = 65_536
"""Bytes between frames that are passed over in one file, searching for the next frame."""
INDEX_TOLERANCE = 0.02
"""Part of the bytes an index counts that may be missing: encoders disagree on what counts."""
SINGLE_FRAME = 0.2
"""Seconds, longer than any one frame: an index that counts no more has counted only itself."""

_BIT_RATES = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
"""kbit/s of layer III by index, from 1: of MPEG 1, and of MPEG 2 and 2.5."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Samples a second by index, by the header's version bits."""


class Frame(Struct, frozen=True):
    """One frame's header."""

    version: int
    rate: int
    size: int
    """Bytes, header included."""
    samples: int
    mono: bool


def frame(header: bytes) -> Frame | None:
    """Read four bytes as a layer III frame header; None where they are none."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3
    bit_index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or bit_index in {0, 15} or rate_index == 3:
        return None
    rate = _RATES[version][rate_index]
    samples = 1152 if version == 3 else 576
    bit_rate = _BIT_RATES[0 if version == 3 else 1][bit_index - 1]
    size = samples // 8 * bit_rate * 1000 // rate + (header[2] >> 1 & 1)
    return Frame(version, rate, size, samples, header[3] >> 6 == 3)


def inspect_mp3(file: BinaryIO, size: int) -> Audio:
    """Judge a file that is no WAV. Raises OSError of the file, nothing else."""
    start = _behind_tags(file)
    if start >= size:
        return empty("mp3", "an ID3 tag without audio behind it")
    file.seek(start)
    head = file.read(MOST_LEADING_BYTES + 3 * LONGEST_FRAME)
    offset = _first_frame(head, at_end=start + len(head) >= size)
    if offset is None:
        return foreign("neither a WAV header nor MP3 frames")
    first = frame(head[offset : offset + 4])
    if first is None or start + offset + first.size >= size:
        return empty("mp3", "only the beginning of an MP3 file")
    return _judge(file, size, start + offset, first, head[offset : offset + first.size])


def _judge(file: BinaryIO, size: int, start: int, first: Frame, content: bytes) -> Audio:
    if not _has_index(first, content):
        return _walked(Verdict.GOOD, file, size, start, first, "")
    audio_start = start + first.size
    counted = _index(content)
    if counted is not None:
        seconds, counted_bytes = counted
        if size - audio_start >= counted_bytes * (1 - INDEX_TOLERANCE):
            return Audio(Verdict.GOOD, "mp3", "mp3", seconds, "")
        there = size - audio_start
        reason = f"its index counts {counted_bytes:.0f} bytes of audio, the file holds {there}"
        return _walked(Verdict.CUT_OFF, file, size, audio_start, first, reason)
    return _walked(Verdict.GOOD, file, size, audio_start, first, "")


def _walked(
    verdict: Verdict, file: BinaryIO, size: int, start: int, first: Frame, reason: str
) -> Audio:
    seconds = _walk(file, start, size, first)
    if seconds == 0:
        return empty("mp3", "an MP3 file without a whole frame of audio")
    return Audio(verdict, "mp3", "mp3", seconds, reason)


def _behind_tags(file: BinaryIO) -> int:
    """Offset behind the ID3v2 tags at the beginning; a cover in them is passed over unread."""
    position = 0
    for _ in range(MOST_TAGS):
        file.seek(position)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:]):
            break
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        footer = 10 if head[5] & 0x10 else 0
        position += 10 + length + footer
    return position


def _first_frame(head: bytes, at_end: bool) -> int | None:
    """Offset of the first frame; one that is not the first byte needs two successors."""
    if _chain(head, 0, 2, at_end):
        return 0
    position = head.find(b"\xff", 1, MOST_LEADING_BYTES)
    while position != -1:
        if _chain(head, position, 3, at_end=False):
            return position
        position = head.find(b"\xff", position + 1, MOST_LEADING_BYTES)
    return None


def _chain(head: bytes, position: int, frames: int, at_end: bool) -> bool:
    """Tell whether `frames` alike headers follow each other, or the file ends in the first."""
    first = frame(head[position : position + 4])
    if first is None:
        return False
    if at_end and position + first.size + 4 > len(head):
        return True
    for _ in range(frames):
        found = frame(head[position : position + 4])
        if found is None or not _alike(found, first):
            return False
        position += found.size
    return True


def _alike(one: Frame, other: Frame) -> bool:
    return one.version == other.version and one.rate == other.rate


def _has_index(first: Frame, content: bytes) -> bool:
    """Tell whether the first frame is an index: its name stands behind the side information."""
    side = (17 if first.mono else 32) if first.version == 3 else (9 if first.mono else 17)
    places = ((b"Xing", 4 + side), (b"Info", 4 + side), (b"VBRI", 36))
    return any(content.startswith(name, position) for name, position in places)


def _index(content: bytes) -> tuple[float, float] | None:
    """Seconds and bytes that the index counts; None where it counts nothing.

    tinytag gets the first frame alone, so that it can read neither covers nor the whole file.
    """
    from tinytag import TinyTag  # noqa: PLC0415 - most gateways never see an MP3

    try:
        tag = TinyTag.get("recording.mp3", file_obj=BytesIO(content), tags=False, image=False)
    except Exception:
        # Whatever the library trips over: the frames tell the duration as well.
        return None
    if not tag.duration or not tag.bitrate or tag.duration < SINGLE_FRAME:
        return None
    return tag.duration, tag.bitrate * 1000 / 8 * tag.duration


def _walk(file: BinaryIO, start: int, size: int, first: Frame) -> float:
    """Seconds of the whole frames from `start` on."""
    limit = min(size, start + MOST_WALKED_BYTES)
    position, samples, junk = start, 0, 0
    block, block_start = b"", start
    while position < limit and junk <= MOST_JUNK_BYTES:
        offset = position - block_start
        if offset + 4 > len(block):
            file.seek(position)
            block, block_start, offset = file.read(BLOCK_BYTES), position, 0
            if len(block) < 4:
                break
        found = frame(block[offset : offset + 4])
        if found is not None and _alike(found, first):
            if position + found.size > size:
                break
            samples += found.samples
            position += found.size
        else:
            following = block.find(b"\xff", offset + 1)
            step = (following if following != -1 else len(block)) - offset
            junk, position = junk + step, position + step
    if start < position < size and limit < size:
        samples = round(samples * (size - start) / (position - start))
    return samples / first.rate
