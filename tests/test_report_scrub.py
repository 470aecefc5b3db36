"""What a support bundle's scrubber takes out, and what of a configuration it shows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.commands.report_config import ShownConfiguration
from agent.commands.report_scrub import REMOVED, Scrubber
from agent.config_text import parse


@given(secret=st.text(min_size=4, max_size=60), before=st.text(), after=st.text())
def test_no_secret_passes_whatever_it_is_and_wherever_it_stands(
    secret: str, before: str, after: str
) -> None:
    secret = secret.strip()
    if len(secret) < 4 or secret.casefold() in f"{REMOVED} ****":
        return
    scrubber = Scrubber([secret])
    for spelt in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], secret.upper()):
        # Some letters have more than one capital, or none: a wire writes none of these.
        if spelt != secret.upper() or secret.isascii():
            found = scrubber.text(f"{before}\n{spelt}\n{after}")
            assert spelt not in found.replace(REMOVED, "")
    assert scrubber.data({"a": [secret]}) != {"a": [secret]}


@given(st.from_regex(r"\+?[0-9]{7,20}", fullmatch=True), st.text(), st.text())
def test_no_whole_number_passes(phone: str, before: str, after: str) -> None:
    found = Scrubber(()).text(f"{before} {phone} {after}")
    assert phone not in found


def test_a_secret_that_a_line_cuts_short_is_known_by_its_beginning() -> None:
    secret = hashlib.sha256(b"token").hexdigest()[:60]
    found = Scrubber([secret]).text(f"who is {secret[:35]}…, he asks")
    assert secret[:8] not in found
    assert found.startswith("who is [removed]")


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("http://u:p@h/a?sa_user=x&b=c d", f"http://{REMOVED}@h/a?{REMOVED} d"),
        ("sa_password=abc, done", f"sa_password={REMOVED}, done"),
        ('{"token": "abc", "n": 1}', f'{{"token": "{REMOVED}", "n": 1}}'),
        ("Authorization: Basic dTpw now", f"Authorization: {REMOVED} now"),
        ("md5 0123456789abcdef0123456789ABCDEF.", f"md5 {REMOVED}."),
        ("02:00:00:00:00:01 on 2026-11-25 01:18:33", "02:00:00:00:00:01 on 2026-11-25 01:18:33"),
        ("dialled *21*4711#, then", "dialled *****711#, then"),
        ("\x1b[2J\u202e", "\\x1b[2J\\u202e"),
    ],
)
def test_what_is_known_to_be_secret_goes_whatever_the_configuration_says(
    text: str, scrubbed: str
) -> None:
    assert Scrubber(()).text(text) == scrubbed


def test_a_figure_that_is_a_secret_goes_and_others_stay() -> None:
    assert Scrubber(["100008800"]).data({"user": 100008800, "time": 1790000000.5, "up": True}) == {
        "user": REMOVED,
        "time": 1790000000.5,
        "up": True,
    }


@given(
    st.recursive(
        st.text() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_shape_of_a_configuration_is_shown_or_removed(data: Any) -> None:
    shown = ShownConfiguration({}, Path("/nowhere"))
    json.dumps(shown.shown(data))
    Scrubber(shown.secrets).text("text")


def test_every_key_of_the_example_is_shown_and_nothing_is_a_secret() -> None:
    example = (Path(__file__).parents[1] / "config.example.yaml").read_bytes()
    shown = ShownConfiguration({}, Path("/nowhere"))
    assert shown.shown(parse(example).data) == parse(example).data
    assert {secret for secret in shown.secrets if secret} == set()
