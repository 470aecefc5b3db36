"""Makers of real audio bytes for tests: WAV in several codecs, RF64, MP3 in several shapes."""

from __future__ import annotations

import struct

PLACEHOLDER = 0xFFFFFFFF
PCM, FLOAT, A_LAW, MU_LAW, IMA_ADPCM, GSM, EXTENSIBLE = 1, 3, 6, 7, 17, 49, 0xFFFE


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """One RIFF chunk, padded; `size` overrides what its header says."""
    said = len(content) if size is None else size
    return name + struct.pack("<I", said) + content + b"\0" * (len(content) % 2)


def form(
    tag: int = PCM,
    rate: int = 8000,
    channels: int = 1,
    bits: int = 16,
    block: int | None = None,
    byte_rate: int | None = None,
    more: bytes = b"",
) -> bytes:
    """The content of a format chunk."""
    block = channels * bits // 8 if block is None else block
    byte_rate = rate * block if byte_rate is None else byte_rate
    return struct.pack("<HHIIHH", tag, channels, rate, byte_rate, block, bits) + more


def wav(
    audio: bytes,
    fmt: bytes | None = None,
    before: bytes = b"",
    after: bytes = b"",
    data_size: int | None = None,
    riff_size: int | None = None,
) -> bytes:
    """A WAV file; the sizes override what its headers say."""
    body = b"WAVE" + chunk(b"fmt ", form() if fmt is None else fmt) + before
    body += chunk(b"data", audio, data_size) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff_size is None else riff_size) + body


def pcm(seconds: float, rate: int = 8000) -> bytes:
    """A WAV file of 16-bit samples: a saw tooth, so that no two frames are alike."""
    count = round(seconds * rate)
    return wav(struct.pack(f"<{count}h", *(n * 97 % 20_000 - 10_000 for n in range(count))))


def rf64(audio: bytes, long_size: int | None = None, magic: bytes = b"RF64") -> bytes:
    """A WAV file for more than 4 GiB, whatever it holds."""
    said = len(audio) if long_size is None else long_size
    sizes = struct.pack("<QQQI", 0, said, 0, 0)
    body = b"WAVE" + chunk(b"ds64", sizes) + chunk(b"fmt ", form())
    return magic + struct.pack("<I", PLACEHOLDER) + body + chunk(b"data", audio, PLACEHOLDER)


MPEG1_RATES = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
MPEG2_RATES = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def mp3_frame(bit_rate: int = 32, rate: int = 8000, content: bytes = b"") -> bytes:
    """One mono layer III frame: MPEG 1 at 44.1 kHz, MPEG 2 at 16 kHz, MPEG 2.5 at 8 kHz."""
    version, rate_index, samples, rates = {
        44_100: (3, 0, 1152, MPEG1_RATES),
        16_000: (2, 2, 576, MPEG2_RATES),
        8_000: (0, 2, 576, MPEG2_RATES),
    }[rate]
    header = bytes(
        (0xFF, 0xE3 | version << 3, (rates.index(bit_rate) + 1) << 4 | rate_index << 2, 0xC0)
    )
    size = samples // 8 * bit_rate * 1000 // rate
    return (header + content).ljust(size, b"\x55")


def mp3(frames: int, bit_rate: int = 32, rate: int = 8000) -> bytes:
    """Frames of one bit rate; 576 samples each (1152 at 44.1 kHz)."""
    return mp3_frame(bit_rate, rate) * frames


def mp3_of_changing_rate(frames: int, rate: int = 8000) -> bytes:
    """Silence at first, then speech: the first tenth at 8 kbit/s, the rest at 64."""
    quiet = frames // 10
    return mp3(quiet, 8, rate) + mp3(frames - quiet, 64, rate)


def with_xing(audio: bytes, frames: int, rate: int = 8000, size: int | None = None) -> bytes:
    """Put an index frame before the frames."""
    side = b"\0" * (17 if rate == 44_100 else 9)
    index = mp3_frame(32, rate)
    said = (len(audio) if size is None else size) + len(index)
    return mp3_frame(32, rate, side + b"Xing" + struct.pack(">III", 3, frames, said)) + audio


def with_id3(audio: bytes, length: int = 2000) -> bytes:
    """Put an ID3v2.4 tag with a cover of so many bytes before the frames."""
    sizes = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\x00\x00" + sizes + (b"APIC" + b"\xff\xfb\x90" * length)[:length] + audio
