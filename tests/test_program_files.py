"""Which programs may be run: only what nobody but root and the agent's user can change."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from contextlib import chdir, closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.program_files import (
    MOST_LISTED,
    ProgramDirectory,
    ProgramMissing,
    ProgramRefused,
    agents_own,
    is_program_name,
    reopened,
)
from tests.programs import functions_directory, script

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return functions_directory(tmp_path)


def refusal(folder: Path, name: str = "hello") -> str:
    """Why a program may not be run."""
    with pytest.raises(ProgramRefused) as refused, agents_own(folder).opened(name):
        pass
    return str(refused.value)


def test_a_program_of_ones_own_is_opened(folder: Path) -> None:
    path = script(folder, "hello", "echo hello")
    with agents_own(folder).opened("hello") as descriptor:
        assert os.fstat(descriptor).st_ino == path.stat().st_ino
        assert not os.get_inheritable(descriptor)


def test_a_program_that_is_replaced_after_it_was_checked_is_still_the_one_that_was(
    folder: Path,
) -> None:
    script(folder, "hello", "echo hello")
    evil = script(folder, "evil", "echo evil")
    with agents_own(folder).opened("hello") as descriptor:
        evil.replace(folder / "hello")
        assert "echo hello" in Path(reopened(descriptor)).read_text("utf-8")


NAMES_THAT_ARE_NONE = {
    "empty": "",
    "the folder": ".",
    "the folder above": "..",
    "a way up": "../hello",
    "a way down": "sub/hello",
    "an absolute path": "/bin/sh",
    "hidden": ".hello",
    "an option": "-hello",
    "a NUL": "hello\0",
    "a line feed": "hello\n",
    "a space": "hello you",
    "a mebibyte": "h" * 2**20,
    "65 characters": "h" * 65,
    "a look-alike of another alphabet": "hеllo",
    "full width": "ｈello",
    "a digit of another alphabet": "hell٠",
    "a surrogate": "hello\udc80",
    "a shell's words": "hello;reboot",
}


@pytest.mark.parametrize("name", NAMES_THAT_ARE_NONE.values(), ids=list(NAMES_THAT_ARE_NONE))
def test_a_name_that_is_no_plain_name_is_no_program(folder: Path, name: str) -> None:
    script(folder, "hello", "")
    script(folder, ".hello", "")
    assert not is_program_name(name)
    assert refusal(folder, name) == "no function has such a name"


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=80))
def test_whatever_a_message_says_is_a_plain_name_in_the_directory_or_none(name: str) -> None:
    if is_program_name(name):
        assert name.isascii()
        assert Path("/x", name).parent == Path("/x")
        assert Path(name).name == name
        assert name[0] not in ".-"


def test_a_program_that_is_not_there_is_missing(folder: Path) -> None:
    with pytest.raises(ProgramMissing), agents_own(folder).opened("hello"):
        pass


def test_no_ending_is_guessed(folder: Path) -> None:
    script(folder, "hello.sh", "")
    assert "no program has this name" in refusal(folder)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o722])
def test_a_program_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    script(folder, "hello", "").chmod(mode)
    assert refusal(folder) == "hello can be written by others than its owner"


def test_a_program_without_the_executable_bit_is_refused(folder: Path) -> None:
    script(folder, "hello", "").chmod(0o644)
    assert refusal(folder) == "hello is not executable"


@as_root
def test_a_program_of_another_user_is_refused(folder: Path) -> None:
    os.chown(script(folder, "hello", ""), NOBODY, NOBODY)
    assert refusal(folder) == "hello belongs neither to root nor to the agent's user"


@as_root
def test_a_program_of_the_agents_user_is_opened(folder: Path) -> None:
    os.chown(script(folder, "hello", ""), NOBODY, NOBODY)
    with ProgramDirectory(folder, frozenset({0, NOBODY})).opened("hello"):
        pass


def a_socket(path: Path) -> None:
    with chdir(path.parent), closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(path.name)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a link": lambda path: path.symlink_to("/bin/true"),
    "a link that leads nowhere": lambda path: path.symlink_to("/nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a socket": a_socket,
}


@pytest.mark.parametrize("make", NO_FILES.values(), ids=list(NO_FILES))
def test_what_is_no_plain_file_is_refused_without_touching_it(
    folder: Path, make: Callable[[Path], object]
) -> None:
    make(folder / "hello")
    assert refusal(folder) in {"hello is a link", "hello is not a file"}


@as_root
def test_a_device_is_refused(folder: Path) -> None:
    os.mknod(folder / "hello", stat.S_IFCHR | 0o755, os.makedev(1, 3))
    assert refusal(folder) == "hello is not a file"


# The way to the directory.


def test_a_directory_that_others_may_write_is_refused_even_where_it_is_sticky(
    folder: Path,
) -> None:
    script(folder, "hello", "")
    for mode in (0o775, 0o757, 0o1777):
        folder.chmod(mode)
        assert refusal(folder) == f"{folder} can be written by others than its owner"


def test_a_folder_above_that_others_may_write_is_refused(folder: Path) -> None:
    script(folder, "hello", "")
    folder.parent.chmod(0o777)
    assert refusal(folder) == f"{folder.parent} can be written by others than its owner"


def test_a_sticky_folder_above_is_no_danger(folder: Path) -> None:
    script(folder, "hello", "")
    folder.parent.chmod(0o1777)
    with agents_own(folder).opened("hello"):
        pass


@as_root
@pytest.mark.parametrize("whose", ["the directory", "the folder above"])
def test_a_way_that_belongs_to_another_user_is_refused(folder: Path, whose: str) -> None:
    script(folder, "hello", "")
    path = folder if whose == "the directory" else folder.parent
    os.chown(path, NOBODY, NOBODY)
    assert refusal(folder) == f"{path} belongs neither to root nor to the agent's user"


def test_a_link_on_the_way_is_refused_wherever_it_leads(folder: Path, tmp_path: Path) -> None:
    script(folder, "hello", "")
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "above").symlink_to(tmp_path)
    assert refusal(tmp_path / "link").startswith(f"{tmp_path / 'link'} is a link")
    assert refusal(tmp_path / "above" / "functions").startswith(f"{tmp_path / 'above'} is a link")


def test_a_directory_that_vanished_is_refused_and_says_so(folder: Path) -> None:
    folder.rmdir()
    assert refusal(folder) == f"{folder}: No such file or directory"


def test_a_file_in_the_directorys_place_is_refused(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("")
    assert refusal(folder) == f"{folder} is not a directory"


def test_the_names_in_the_directory_are_listed_in_order_and_hidden_ones_are_not(
    folder: Path,
) -> None:
    for name in ("b", "a", ".hidden"):
        script(folder, name, "")
    assert agents_own(folder).names() == ["a", "b"]


def test_of_a_full_directory_only_so_many_names_are_listed(folder: Path) -> None:
    for number in range(MOST_LISTED + 5):
        (folder / f"{number}").touch()
    assert len(agents_own(folder).names()) == MOST_LISTED


def test_no_descriptor_is_left_behind(folder: Path) -> None:
    script(folder, "hello", "")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with agents_own(folder).opened("hello"):
        pass
    refusal(folder, "missing")
    refusal(folder / "missing")
    agents_own(folder).names()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
