"""Request bodies: forms, and files that go straight to the disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from urllib.parse import parse_qsl

from msgspec import Struct, field

from agent.simulation.booking import UploadedFile
from agent.simulation.fields import BAD_PARAMETER, Refusal, check_audio, check_file_name
from agent.simulation.multipart import BadMultipart, MultipartReader, Part

MOST_FORM_BYTES = 1024 * 1024
"""A report on 32 boxes of 99 ports stays under half of this."""
MOST_FIELDS = 64
MOST_VALUE_BYTES = 4096
"""Of a field beside the file."""
BEGINNING = 16
"""Bytes of a file by which its kind is told."""


class Upload(Struct):
    """A multipart body, read to its end."""

    form: dict[str, str] = field(default_factory=dict)
    file: UploadedFile | None = None
    beginning: bytes = b""


def media_type(header: str) -> tuple[str, str]:
    """Return the media type and its boundary or charset, lower case where case means nothing."""
    message = Message()
    message["Content-Type"] = header
    kind = message.get_content_type() if header else ""
    parameter = message.get_param("boundary" if kind.startswith("multipart/") else "charset", "")
    return kind, parameter if isinstance(parameter, str) else ""


def parse_form(body: bytes, charset: str) -> dict[str, str]:
    """Take a form apart; a field that comes twice is refused. Raises Refusal."""
    if charset.lower() not in ("", "utf-8", "utf8"):
        raise Refusal(BAD_PARAMETER, f"charset {charset} where UTF-8 is expected")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError as error:
        raise Refusal(BAD_PARAMETER, f"the form is not URL-encoded UTF-8: {error}") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise Refusal(BAD_PARAMETER, "a field of the form comes twice")
    return form


def receive_upload(
    read: Callable[[int], bytes], length: int, boundary: str, directory: Path
) -> Upload:
    """Read a multipart body to its end, its file into a new file in `directory`.

    Raises Refusal for a body that breaks the rules, CutOff where it does not come whole; in both
    cases nothing stays on the disk.
    """
    upload = Upload()
    try:
        reader = MultipartReader(read, length, boundary)
        try:
            for part in reader.parts():
                _take_part(upload, part, directory)
        except Refusal:
            # Answering in the middle of a body would reach most senders as a broken connection.
            reader.drain()
            raise
        except (BadMultipart, UnicodeError) as error:
            reader.drain()
            raise Refusal(BAD_PARAMETER, f"the multipart body is damaged: {error}") from None
        if upload.file is None:
            raise Refusal(BAD_PARAMETER, "file is missing")
        check_audio(upload.file.name, upload.beginning)
    except BaseException:
        discard(upload)
        raise
    return upload


def discard(upload: Upload) -> None:
    """Remove the file if it still lies where it was received."""
    if upload.file is not None:
        upload.file.path.unlink(missing_ok=True)


def _take_part(upload: Upload, part: Part, directory: Path) -> None:
    if part.name in upload.form or (part.name == "file" and upload.file is not None):
        raise Refusal(BAD_PARAMETER, f"{part.name!a} comes twice")
    if part.name == "file":
        _store(upload, part, directory)
        return
    if part.filename is not None:
        raise Refusal(BAD_PARAMETER, f"{part.name!a} is a file; the file's field is called file")
    value = b""
    for block in part.body:
        value += block
        if len(value) > MOST_VALUE_BYTES:
            raise Refusal(BAD_PARAMETER, f"{part.name!a} is longer than {MOST_VALUE_BYTES} bytes")
    upload.form[part.name] = value.decode("utf-8")


def _store(upload: Upload, part: Part, directory: Path) -> None:
    name = check_file_name(part.filename)
    digest = hashlib.sha256()
    size = 0
    descriptor, path = tempfile.mkstemp(prefix="incoming-", suffix=".part", dir=directory)
    with os.fdopen(descriptor, "wb") as file:
        # Known from here on, so that it is removed should the body break off.
        upload.file = UploadedFile(Path(path), name, 0, "")
        for block in part.body:
            if len(upload.beginning) < BEGINNING:
                upload.beginning += block[: BEGINNING - len(upload.beginning)]
            digest.update(block)
            size += len(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    upload.file = UploadedFile(Path(path), name, size, digest.hexdigest())
