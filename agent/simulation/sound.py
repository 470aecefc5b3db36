"""Audio that can be told apart by ear and by digest: a tone for each call, with noise in it."""

from __future__ import annotations

import array
import math
import random
import struct
import sys
from abc import ABC, abstractmethod
from pathlib import Path

SAMPLE_RATE = 8000
"""Samples a second, as the telephone network has them."""
TONE = 8000
"""Peak of the tone, of 32767."""
HISS = 600
"""Peak of the noise: enough to differ after mu-law has thrown away the lower bits."""
PLACEHOLDER = 0xFFFFFFFF
"""What a recorder writes as size while it does not know better."""


class Voice:
    """Endless 16-bit samples: a pitch and a hiss, both from the seed."""

    def __init__(self, seed: int | str) -> None:
        self._random = random.Random(seed)
        # A whole number of hertz repeats each second, so one second of it is enough.
        hertz = self._random.randrange(250, 1000)
        self._second = [
            int(TONE * math.sin(2 * math.pi * hertz * at / SAMPLE_RATE))
            for at in range(SAMPLE_RATE)
        ]
        self._at = 0

    def samples(self, count: int) -> list[int]:
        """Return the next so many samples."""
        hiss = self._random.randbytes(count)
        at, self._at = self._at, (self._at + count) % SAMPLE_RATE
        return [
            self._second[(at + index) % SAMPLE_RATE] + (noise - 128) * HISS // 128
            for index, noise in enumerate(hiss)
        ]

    def bytes(self, count: int) -> bytes:
        """Return so many bytes that are no sound but as unique."""
        return bytes(byte & 0x7F for byte in self._random.randbytes(count))


class Format(ABC):
    """How audio lies in a file."""

    ending = ".wav"
    bytes_a_second = 16_000

    @abstractmethod
    def header(self, data_bytes: int | None) -> bytes:
        """Return the file's beginning; None: the size is not known yet."""

    @abstractmethod
    def block(self, voice: Voice, seconds: float) -> bytes:
        """Return whole blocks of about so many seconds."""


class Wav(Format):
    """RIFF with 16-bit PCM, mu-law or GSM 6.10."""

    def __init__(self, name: str) -> None:
        self._code, self._bits, self._block, self.bytes_a_second = {
            "wav": (1, 16, 2, 16_000),
            "mulaw": (7, 8, 1, 8_000),
            "gsm": (49, 0, 65, 1_625),
        }[name]

    def header(self, data_bytes: int | None) -> bytes:
        """RIFF, `fmt `, and for what is not PCM `fact`, then `data`."""
        extra = struct.pack("<HH", 2, 320) if self._code == 49 else b""
        if self._code == 7:
            extra = struct.pack("<H", 0)
        form = struct.pack(
            "<HHIIHH", self._code, 1, SAMPLE_RATE, self.bytes_a_second, self._block, self._bits
        )
        chunks = b"fmt " + struct.pack("<I", len(form + extra)) + form + extra
        if self._code != 1:
            blocks = 0 if data_bytes is None else data_bytes // self._block
            samples = blocks * (320 if self._code == 49 else 1)
            chunks += b"fact" + struct.pack("<II", 4, samples)
        padding = 0 if data_bytes is None else data_bytes % 2
        riff = PLACEHOLDER if data_bytes is None else 4 + len(chunks) + 8 + data_bytes + padding
        size = PLACEHOLDER if data_bytes is None else data_bytes
        return (
            b"RIFF" + struct.pack("<I", riff) + b"WAVE" + chunks + b"data" + struct.pack("<I", size)
        )

    def block(self, voice: Voice, seconds: float) -> bytes:
        """Samples, or bytes in the shape of GSM frames."""
        blocks = int(seconds * self.bytes_a_second / self._block)
        if self._code == 49:
            return voice.bytes(blocks * self._block)
        samples = voice.samples(blocks)
        if self._code == 7:
            return bytes(_mulaw(sample) for sample in samples)
        packed = array.array("h", samples)
        if sys.byteorder == "big":
            packed.byteswap()
        return packed.tobytes()


class Mp3(Format):
    """MPEG-2 layer III, 16 kHz mono 16 kbit/s: silence that carries unique ancillary data."""

    ending = ".mp3"
    bytes_a_second = 2_000
    _FRAME = b"\xff\xf3\x28\xc0" + bytes(9)
    _FRAME_BYTES = 72

    def header(self, data_bytes: int | None) -> bytes:
        """Nothing: frames follow each other from the first byte."""
        return b""

    def block(self, voice: Voice, seconds: float) -> bytes:
        """Whole frames."""
        rest = self._FRAME_BYTES - len(self._FRAME)
        return b"".join(
            self._FRAME + voice.bytes(rest)
            for _ in range(int(seconds * self.bytes_a_second / self._FRAME_BYTES))
        )


FORMATS = ("wav", "mulaw", "gsm", "mp3")


def find_format(name: str) -> Format:
    """Return the format of this name, one of FORMATS."""
    return Mp3() if name == "mp3" else Wav(name)


def write_wav(path: Path, seconds: float, seed: int | str, name: str = "wav") -> bytes:
    """Write a finished recording, return its bytes."""
    form = find_format(name)
    audio = form.block(Voice(seed), seconds)
    data = form.header(len(audio)) + audio + b"\0" * (len(audio) % 2 if name != "mp3" else 0)
    path.write_bytes(data)
    return data


def _mulaw(sample: int) -> int:
    """G.711 mu-law of a 16-bit sample."""
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), 32635) + 132
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> (exponent + 3)) & 0x0F) & 0xFF
