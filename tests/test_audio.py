"""What a file holds is judged by its bytes: how long it is, whether its recorder finished it."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.recordings.audio import Audio, Verdict, inspect
from tests import audio_files as make


def judge(content: bytes, name: str = "recording.wav") -> Audio:
    return inspect(io.BytesIO(content), len(content), name)


def about(seconds: float, abs: float | None = None) -> Any:  # noqa: A002 - as pytest.approx
    return pytest.approx(seconds, abs=abs)


class CountingFile(io.BytesIO):
    """Counts the bytes that are read of it."""

    bytes_read = 0

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        self.bytes_read += len(content)
        return content


IMA_FORMAT = make.form(make.IMA_ADPCM, bits=4, block=256, byte_rate=4055, more=b"\x02\0\xf9\x01")
GSM_FORMAT = make.form(make.GSM, bits=0, block=65, byte_rate=1625, more=b"\x02\0\x40\x01")
EXTENSIBLE_FORMAT = make.form(
    make.EXTENSIBLE, channels=2, more=b"\x16\0\x10\0\x03\0\0\0" + b"\x07\0" + b"\0" * 14
)


@pytest.mark.parametrize(
    ("fmt", "size", "codec", "seconds"),
    [
        (make.form(make.PCM), 16_000, "pcm", 1.0),
        (make.form(make.PCM, channels=2), 32_000, "pcm", 1.0),
        (make.form(make.FLOAT, bits=32), 32_000, "float", 1.0),
        (make.form(make.A_LAW, bits=8), 8000, "a-law", 1.0),
        (make.form(make.MU_LAW, bits=8), 12_000, "mu-law", 1.5),
        (GSM_FORMAT, 65 * 25, "gsm", 1.0),
        (IMA_FORMAT, 256 * 16, "ima adpcm", 16 * 505 / 8000),
        (EXTENSIBLE_FORMAT, 32_000, "mu-law", 1.0),
        (make.form(0x83, byte_rate=1000), 3000, "wav codec 131", 3.0),
    ],
)
def test_a_wav_of_each_codec_has_its_duration(
    fmt: bytes, size: int, codec: str, seconds: float
) -> None:
    audio = judge(make.wav(b"\1" * size, fmt))
    assert audio == Audio(Verdict.GOOD, "wav", codec, about(seconds), "")


def test_chunks_before_and_after_the_audio_are_no_audio() -> None:
    notes = make.chunk(b"LIST", b"INFOISFT\x05\0\0\0sox 1\0")
    audio = judge(make.wav(b"\1" * 16_000, before=notes, after=notes))
    assert (audio.verdict, audio.duration) == (Verdict.GOOD, 1.0)


def test_an_odd_chunk_is_followed_by_a_padding_byte() -> None:
    audio = judge(make.wav(b"\1" * 16_000, before=make.chunk(b"note", b"odd")))
    assert (audio.verdict, audio.duration) == (Verdict.GOOD, 1.0)


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_a_wav_for_large_files_says_its_size_elsewhere(magic: bytes) -> None:
    audio = judge(make.rf64(b"\1" * 32_000, magic=magic))
    assert (audio.verdict, audio.duration) == (Verdict.GOOD, 2.0)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 16_001])
def test_a_recorder_that_was_cut_off_leaves_a_size_that_is_not_the_audios(size: int) -> None:
    audio = judge(make.wav(b"\1" * 16_000, data_size=size, riff_size=size))
    assert (audio.verdict, audio.duration) == (Verdict.CUT_OFF, 1.0)
    assert str(size) in audio.reason
    assert ("placeholder" in audio.reason) == (size in {0, 0xFFFFFFFF})


def test_a_large_wav_that_was_cut_off_is_known_too() -> None:
    audio = judge(make.rf64(b"\1" * 16_000, long_size=0))
    assert (audio.verdict, audio.duration) == (Verdict.CUT_OFF, 1.0)


def test_a_header_that_was_last_renewed_long_before_the_end_means_cut_off() -> None:
    audio = judge(make.wav(b"\x91" * 80_000, data_size=16_000))
    assert (audio.verdict, audio.duration) == (Verdict.CUT_OFF, 5.0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"R",
        b"RIFF\0\0\0\0WA",
        make.wav(b""),
        make.wav(b"", data_size=0xFFFFFFFF),
        make.wav(b"", after=make.chunk(b"LIST", b"INFO")),
        make.wav(b"")[:36],
        make.wav(b"\1" * 100)[:20],
    ],
)
def test_a_file_without_samples_is_empty(content: bytes) -> None:
    audio = judge(content)
    assert (audio.verdict, audio.duration) == (Verdict.EMPTY, None)
    assert audio.reason


def test_a_header_of_zeros_divides_by_nothing() -> None:
    audio = judge(make.wav(b"\1" * 100, make.form(rate=0, channels=0, bits=0)))
    assert (audio.verdict, audio.duration) == (Verdict.GOOD, None)
    assert "no sense of time" in audio.reason


def test_a_call_of_weeks_is_a_wrong_header_and_not_a_duration() -> None:
    audio = judge(make.wav(b"\1" * 4_000_000, make.form(rate=1)))
    assert audio.duration is None


def test_audio_of_an_unsaid_codec_is_foreign() -> None:
    content = b"RIFF\0\0\0\0WAVE" + make.chunk(b"data", b"\1" * 100)
    assert judge(content).verdict is Verdict.FOREIGN


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is a text file\n" * 100,
        b"OggS" + bytes(1000),
        b"RIFF\x24\0\0\0AVI LIST" + bytes(100),
        bytes(5000),
        b"\xff" * 5000,
        b"\xff\xfb\x90\xc0" + bytes(5000),
    ],
)
def test_what_is_no_recording_is_foreign_and_says_why(content: bytes) -> None:
    audio = judge(content)
    assert (audio.verdict, audio.container) == (Verdict.FOREIGN, None)
    assert audio.reason


def test_a_wav_of_a_million_chunks_is_given_up_on_early() -> None:
    file = CountingFile(b"RIFF\0\0\0\0WAVE" + make.chunk(b"junk", b"") * 1_000_000)
    audio = inspect(file, len(file.getvalue()), "x.wav")
    assert audio.verdict is Verdict.FOREIGN
    assert file.bytes_read < 10_000


def test_a_long_recording_is_judged_by_a_few_reads() -> None:
    file = CountingFile(make.wav(b"\1" * 5_000_000))
    inspect(file, len(file.getvalue()), "x.wav")
    assert file.bytes_read < 200


FRAME = 576 / 8000


def test_an_mp3_of_constant_rate_has_its_duration() -> None:
    audio = judge(make.mp3(100), "x.mp3")
    assert audio == Audio(Verdict.GOOD, "mp3", "mp3", about(100 * FRAME), "")


@pytest.mark.parametrize("rate", [44_100, 16_000, 8000])
def test_each_version_of_mpeg_audio_is_known(rate: int) -> None:
    audio = judge(make.mp3(50, rate=rate), "x.mp3")
    assert audio.duration == about(50 * (1152 if rate == 44_100 else 576) / rate)


def test_an_mp3_of_varying_rate_without_an_index_has_its_true_duration() -> None:
    audio = judge(make.mp3_of_changing_rate(500), "x.mp3")
    assert (audio.verdict, audio.duration) == (Verdict.GOOD, about(500 * FRAME))


@pytest.mark.parametrize("rate", [44_100, 8000])
def test_an_mp3_with_an_index_is_not_walked(rate: int) -> None:
    frames = make.mp3_of_changing_rate(2000) if rate == 8000 else make.mp3(2000, rate=rate)
    file = CountingFile(make.with_xing(frames, 2000, rate))
    audio = inspect(file, len(file.getvalue()), "x.mp3")
    samples = 1152 if rate == 44_100 else 576
    assert (audio.verdict, audio.duration) == (
        Verdict.GOOD,
        about(2000 * samples / rate),
    )
    assert file.bytes_read < 20_000


def test_an_mp3_that_ends_before_its_index_says_was_cut_off() -> None:
    whole = make.with_xing(make.mp3(100), 100)
    audio = judge(whole[: len(whole) // 2], "x.mp3")
    assert audio.verdict is Verdict.CUT_OFF
    assert audio.duration == about(50 * FRAME, abs=2 * FRAME)


def test_a_cover_in_a_tag_is_neither_audio_nor_read() -> None:
    file = CountingFile(make.with_id3(make.with_xing(make.mp3(100), 100), 1_000_000))
    audio = inspect(file, len(file.getvalue()), "x.mp3")
    assert (audio.verdict, audio.duration) == (Verdict.GOOD, about(100 * FRAME))
    assert file.bytes_read < 20_000


def test_a_tag_before_frames_without_an_index_changes_nothing() -> None:
    audio = judge(make.with_id3(make.mp3(100)), "x.mp3")
    assert audio.duration == about(100 * FRAME)


def test_a_tag_behind_the_frames_is_no_audio() -> None:
    audio = judge(make.mp3(100) + b"TAG" + b"\0" * 125, "x.mp3")
    assert audio.duration == about(100 * FRAME)


def test_a_recorder_that_joined_in_the_middle_of_a_frame_made_an_mp3() -> None:
    audio = judge(make.mp3_frame()[100:] + make.mp3(100), "x.mp3")
    assert (audio.verdict, audio.duration) == (Verdict.GOOD, about(100 * FRAME))


@pytest.mark.parametrize("content", [make.mp3_frame(), make.mp3_frame()[:50], make.with_id3(b"")])
def test_an_mp3_that_only_begins_is_empty(content: bytes) -> None:
    assert judge(content, "x.mp3").verdict is Verdict.EMPTY


@pytest.mark.parametrize(
    ("content", "name", "container"),
    [(make.pcm(1), "x.mp3", "wav"), (make.mp3(10), "x.WAV", "mp3")],
)
def test_the_content_counts_and_not_the_ending(content: bytes, name: str, container: str) -> None:
    audio = judge(content, name)
    assert (audio.verdict, audio.container) == (Verdict.GOOD, container)
    assert f"is {container}" in audio.reason


def test_the_walk_of_a_file_full_of_near_headers_ends() -> None:
    file = CountingFile(make.mp3(10) + b"\xff\xe3" * 2_000_000)
    audio = inspect(file, len(file.getvalue()), "x.mp3")
    assert audio.duration == about(10 * FRAME)
    assert file.bytes_read < 500_000


starts = st.sampled_from(
    [b"", b"RIFF\0\0\0\0WAVE", make.wav(b"")[:40], b"RF64", make.mp3(3), b"ID3\x04\0\0\0\0\0\x05"]
)


@given(starts, st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything(start: bytes, rest: bytes) -> None:
    content = start + rest
    audio = judge(content, "x")
    assert audio.duration is None or audio.duration >= 0
    assert (audio.verdict in {Verdict.GOOD, Verdict.CUT_OFF}) == bool(audio.codec)


@given(
    st.lists(
        st.tuples(st.sampled_from([b"fmt ", b"data", b"ds64", b"LIST"]), st.binary()), max_size=8
    ),
    st.integers(0, 0xFFFFFFFF),
)
def test_no_order_of_chunks_raises_anything(chunks: list[tuple[bytes, bytes]], size: int) -> None:
    body = b"".join(make.chunk(name, content) for name, content in chunks)
    judge(b"RF64" + struct.pack("<I", size) + b"WAVE" + body + b"data" + struct.pack("<I", size))


def test_an_mp3_file_that_is_emptied_while_it_is_read_harms_nothing() -> None:
    class Emptied(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            if len(found) > 10:
                self.truncate(0)
            return found

    audio = inspect(Emptied(make.mp3(100)), 10**9, "recording.mp3")
    assert audio.verdict is Verdict.EMPTY
