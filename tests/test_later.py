"""What requests hardly ever needs stays out of memory until it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str, imports: str = "agent.platform.client, requests") -> str:
    """Run Python code in a fresh interpreter, after these modules were imported."""
    words = [sys.executable, "-c", f"import sys, {imports}\n{code}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_the_daemon_loads_neither_the_guesser_of_encodings_nor_the_speller_of_host_names() -> None:
    loaded = run("import agent.daemon; print(*sys.modules)").split()
    assert not {"charset_normalizer.api", "idna.core", "chardet.universaldetector"} & set(loaded)


def test_the_daemon_loads_what_speaks_http_with_its_first_command_only() -> None:
    loaded = run("print(*sys.modules)", imports="agent.daemon").split()
    assert not {"requests", "urllib3", "http.client", "ssl"} & set(loaded)


def test_a_host_name_in_another_script_is_spelt_all_the_same() -> None:
    code = "print(requests.Request('GET', 'http://bücher.example/').prepare().url)"
    assert run(code) == "http://xn--bcher-kva.example/"


def test_an_encoding_is_guessed_all_the_same() -> None:
    code = "r = requests.Response(); r._content = 'Grüße'.encode() * 9; print(r.apparent_encoding)"
    assert run(code) == "utf-8"


@pytest.mark.parametrize("part", ["idna.core", "charset_normalizer.md"])
def test_a_part_of_a_library_that_is_not_loaded_yet_can_be_imported(part: str) -> None:
    name = part.partition(".")[0]
    code = f"import {part}, {name}; print({name}.__name__, {part}.__name__)"
    assert run(code) == f"{name} {part}"


def test_a_library_that_is_loaded_already_is_left_alone() -> None:
    code = "print(hasattr(sys.modules['idna'], 'encode'))"
    assert run(code, imports="idna, agent.platform.later") == "True"
