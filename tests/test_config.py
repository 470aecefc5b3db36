"""A configuration is read whole, or refused in one line that says where and what."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec.structs import fields

from agent import settings
from agent.commands import check
from agent.config import ConfigError, default_path, load
from agent.settings import Board, Platform, Recordings, Section, Settings

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"
SMALLEST = """\
platform: {url: "http://127.0.0.1:8080/voip"}
boards: [{port: /dev/ttyS1}]
recordings: {directory: "/var/spool/recordings"}
"""
MD5 = "0" * 31 + "7"

Refuse = Callable[..., tuple[str, ...]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture
def refused(path: Path) -> Refuse:
    """The problems that a text has, without the file's name."""

    def lines(text: str | bytes, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        with pytest.raises(ConfigError) as caught:
            load(path, environment or {})
        assert all(line.startswith(f"{path}: ") for line in caught.value.lines)
        return tuple(line.removeprefix(f"{path}: ") for line in caught.value.lines)

    return lines


@pytest.fixture
def accepted(path: Path) -> Callable[..., Settings]:
    def read(text: str, environment: Mapping[str, str] | None = None) -> Settings:
        path.write_text(text, "utf-8")
        return load(path, environment or {})

    return read


Accept = Callable[..., Settings]


def test_the_smallest_file_takes_every_default(accepted: Accept) -> None:
    assert accepted(SMALLEST) == Settings(
        platform=Platform(url="http://127.0.0.1:8080/voip"),
        boards=(Board(port="/dev/ttyS1"),),
        recordings=Recordings(directory="/var/spool/recordings"),
    )


def test_the_example_equals_the_defaults() -> None:
    example = load(EXAMPLE, {})
    assert example == Settings(
        platform=Platform(url=example.platform.url),
        boards=(Board(port=example.boards[0].port),),
        recordings=Recordings(directory=example.recordings.directory),
    )


def sections() -> list[type[Section]]:
    return [
        each
        for each in vars(settings).values()
        if isinstance(each, type) and issubclass(each, Section) and each is not Section
    ]


@pytest.mark.parametrize("section", sections())
def test_the_example_shows_every_key(section: type[Section]) -> None:
    text = EXAMPLE.read_text("utf-8")
    missing = [each.name for each in fields(section) if f"{each.name}:" not in text]
    assert missing == []


def test_every_key_of_the_example_stands_beside_words_that_explain_it() -> None:
    bare = [
        line for line in EXAMPLE.read_text("utf-8").splitlines() if ": " in line and "#" not in line
    ]
    # Explained by the line above, or by the section's own comment.
    names = {line.strip().partition(":")[0] for line in bare}
    assert names == {"pattern", "account", "messages", "calls"}


# What is named in an error.


def test_a_wrong_type_names_line_key_what_stood_there_and_what_is_accepted(refused: Refuse) -> None:
    text = SMALLEST.replace("/dev/ttyS1", "/dev/ttyS1, baudrate: fast")
    assert refused(text) == (
        "line 2: boards[0].baudrate: found 'fast'; accepted: a whole number from 50 to 4000000"
        " or null",
    )


def test_a_value_out_of_range_says_the_range(refused: Refuse) -> None:
    assert refused(SMALLEST + "uploads: {workers: 0}\n") == (
        "line 4: uploads.workers: found '0'; accepted: a whole number from 1 to 16",
    )


def test_an_unknown_key_names_the_nearest_one_of_its_section(refused: Refuse) -> None:
    assert refused(SMALLEST + "retry: {fist: 2}\n") == (
        "line 4: retry.fist: unknown key; did you mean first?",
    )


def test_an_unknown_key_like_no_other_lists_the_known_ones(refused: Refuse) -> None:
    assert refused(SMALLEST + "dial: {x: 2}\n") == (
        "line 4: dial.x: unknown key; known here: expire",
    )


def test_a_missing_required_key_is_named(refused: Refuse) -> None:
    assert refused(SMALLEST.replace('{directory: "/var/spool/recordings"}', "{}")) == (
        "recordings.directory: missing; accepted: the path of the directory in which the recorder"
        " leaves its files",
    )


def test_a_missing_section_is_named(refused: Refuse) -> None:
    (problem,) = refused("boards: [{port: a}]\nrecordings: {directory: b}\n")
    assert problem.startswith("platform: missing; accepted: a section with url, query, ")


def test_all_problems_are_found_at_once_in_the_files_order(refused: Refuse) -> None:
    problems = refused(
        "platform: {url: nowhere}\nboards: [{port: a, channels: 100}]\n"
        "recordings: {directory: ''}\n"
    )
    assert [problem.split(": ")[1] for problem in problems] == [
        "platform.url",
        "boards[0].channels",
        "recordings.directory",
    ]


def test_the_error_itself_is_one_line_and_says_how_many_more(path: Path) -> None:
    path.write_text(SMALLEST + "dial: {expire: 0}\npolls: {calls: -1}\n")
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value) == caught.value.lines[0] + " (1 more: see smarttel-agent check)"


@pytest.mark.parametrize(
    ("added", "problem"),
    [
        ("identity: {satellite: 00:1A:2B}", "line 4: identity.satellite: found '00:1A:2B';"),
        ("uploads: {window: 24:30-06:00}", "line 4: uploads.window: found '24:30-06:00';"),
        ("retry: {first: 1000}", "retry.longest: found its default, 900.0; accepted: at least"),
        ("log: {level: loud}", "line 4: log.level: found 'loud'; accepted: one of debug, info,"),
        ("reports: {interval: nan}", "line 4: reports.interval: found 'nan'; accepted: a number"),
        ("uploads: {rate_limit: inf}", "line 4: uploads.rate_limit: found 'inf'; accepted:"),
        ("functions: {aliases: [a]}", "line 4: functions.aliases: found a list; accepted: a map"),
        (
            "functions: {directory: programs}",
            "line 4: functions.directory: found 'programs'; accepted: an",
        ),
        (
            "functions: {aliases: {a b: c}}",
            "line 4: functions.aliases.a b: found 'c'; accepted: 1 to 64 of",
        ),
        (
            "functions: {aliases: {a: ../c}}",
            "line 4: functions.aliases.a: found '../c'; accepted: the name",
        ),
        (
            "functions: {time_limit: 0}",
            "line 4: functions.time_limit: found '0'; accepted: a number above",
        ),
        (
            "functions: {reboot: maybe}",
            "line 4: functions.reboot: found 'maybe'; accepted: true or false",
        ),
        (
            "functions: {reboot_command: [reboot]}",
            "line 4: functions.reboot_command: found a list; acc",
        ),
        (
            "functions: {reboot_command: []}",
            "line 4: functions.reboot_command: found a list of 0; accepted",
        ),
        ("functions: {aliases: {a: [b]}}", "line 4: functions.aliases.a: found a list;"),
        ("state_directory:", "line 4: state_directory: found nothing; accepted: text"),
        ("log: 5", "line 4: log: found '5'; accepted: a section with level, phones"),
    ],
)
def test_each_kind_of_mistake_is_named_by_its_key(
    refused: Refuse, added: str, problem: str
) -> None:
    (found,) = refused(SMALLEST + added + "\n")
    assert found.startswith(problem)


def test_two_boards_on_one_port_are_refused(refused: Refuse) -> None:
    text = SMALLEST.replace("[{port: /dev/ttyS1}]", "[{port: /dev/a}, {port: /dev/a, serial: 2}]")
    assert refused(text) == (
        "line 2: boards[1].port: found '/dev/a'; accepted: a port of its own; boards[0] has /dev/a"
        " already",
    )


def boards(text: str) -> str:
    return SMALLEST.replace("[{port: /dev/ttyS1}]", f"[{text}]")


def test_a_pool_has_a_device_for_each_port_and_no_port_of_its_own(accepted: Accept) -> None:
    (board,) = accepted(boards("{driver: modem, channels: {3: /dev/b, 1: /dev/a}}")).boards
    assert (board.port, board.numbers) == ("", (1, 3))
    members = board.members()
    assert {number: each.port for number, each in members.items()} == {1: "/dev/a", 3: "/dev/b"}
    assert all(each.channels == 1 and each.driver == "modem" for each in members.values())


PORT = "a device such as /dev/ttyS1, or a URL that pyserial opens, such as socket://HOST:PORT"


@pytest.mark.parametrize(
    ("board", "problem"),
    [
        ("{serial: 1}", f"boards[0].port: missing; accepted: {PORT}"),
        ("{port: ''}", f"line 2: boards[0].port: found ''; accepted: {PORT}"),
        (
            "{port: /dev/x, channels: {1: /dev/a}}",
            "line 2: boards[0].port: found '/dev/x'; accepted: nothing, as `channels` names a"
            " device for each port",
        ),
        (
            "{channels: {1: /dev/a, 2: /dev/a}}",
            "line 2: boards[0].channels.2: found '/dev/a'; accepted: a port of its own; boards[0]"
            " has /dev/a already",
        ),
        (
            "{channels: {1: /dev/a, 100: /dev/b}}",
            "line 2: boards[0].channels.100: found '/dev/b'; accepted: a port's number from 1 to 99"
            " as the key",
        ),
        (
            "{channels: {}}",
            "line 2: boards[0].channels: found a mapping; accepted: a mapping of port numbers to"
            " devices, such as {1: /dev/ttyACM0, 2: /dev/ttyACM1}",
        ),
        (
            "{port: /dev/x, options: {a: 1}}",
            "line 2: boards[0].options.a: unknown option; a native board has none",
        ),
        (
            "{port: /dev/x, driver: modem, options: {ring_cadence: often}}",
            "line 2: boards[0].options.ring_cadence: found 'often'; accepted: a number of seconds"
            " from 1 to 30",
        ),
    ],
)
def test_each_mistake_about_pools_and_options_is_named(
    refused: Refuse, board: str, problem: str
) -> None:
    assert refused(boards(board)) == (problem,)


def test_a_device_of_a_pool_belongs_to_no_other_board(refused: Refuse) -> None:
    (problem,) = refused(boards("{port: /dev/a}, {serial: 2, channels: {1: /dev/a}}"))
    assert problem.startswith("line 2: boards[1].channels.1: found '/dev/a'; accepted: a port of")


def test_options_are_handed_on_as_they_stand(accepted: Accept) -> None:
    text = boards("{port: /dev/x, driver: modem, options: {ring_cadence: 5, handset: yes}}")
    assert accepted(text).boards[0].options == {"ring_cadence": "5", "handset": "yes"}


def test_an_unknown_driver_says_which_are_installed(refused: Refuse) -> None:
    (problem,) = refused(SMALLEST.replace("/dev/ttyS1", "/dev/ttyS1, driver: nativ"))
    assert problem.startswith("line 2: boards[0].driver: no driver 'nativ' is installed; there are")
    assert "native" in problem


def test_a_pattern_with_an_unknown_field_is_refused(refused: Refuse) -> None:
    text = SMALLEST.replace('recordings"}', "recordings\", pattern: ['{channel}', '{chanel}']}")
    (problem,) = refused(text)
    assert problem.startswith("line 3: recordings.pattern[1]: found '{chanel}'; ")


def test_a_time_zone_that_does_not_exist_is_refused(refused: Refuse) -> None:
    (problem,) = refused(SMALLEST.replace('recordings"}', 'recordings", timezone: Mars/Base}'))
    assert problem.startswith("line 3: recordings.timezone: found 'Mars/Base'; accepted: a time")


# YAML that guesses nothing.


@pytest.mark.parametrize("mac", ["11:22:33:44:55:10", "01:02:03:04:05:06", "AA-bb-cc-dd-ee-ff"])
def test_a_mac_address_without_quotes_stays_text(accepted: Accept, mac: str) -> None:
    assert accepted(SMALLEST + f"identity: {{satellite: {mac}}}\n").identity.satellite == mac


def test_a_window_without_quotes_stays_text(accepted: Accept) -> None:
    assert accepted(SMALLEST + "uploads: {window: 22:00-06:00}\n").uploads.window == "22:00-06:00"


def test_a_hash_of_digits_keeps_its_zeros(accepted: Accept) -> None:
    account = accepted(with_account(MD5)).platform.account
    assert account is not None
    assert account.password_md5 == MD5


def test_a_query_parameter_named_no_is_not_false(accepted: Accept) -> None:
    text = SMALLEST.replace('voip"}', 'voip", query: {flag: no, method: upload_record}}')
    assert accepted(text).platform.query == {"flag": "no", "method": "upload_record"}


def test_a_section_whose_keys_are_all_commented_out_takes_its_defaults(accepted: Accept) -> None:
    assert accepted(SMALLEST + "retry:\n  # first: 2\n").retry == settings.Retry()


def test_a_key_that_stands_twice_is_refused_with_both_lines(refused: Refuse) -> None:
    assert refused(SMALLEST + "log: {}\nlog: {}\n") == (
        "line 5: the key log stands here a second time, the first is on line 4; keep one",
    )


def test_an_alias_is_followed(accepted: Accept) -> None:
    text = SMALLEST + "retry: {first: &time 7}\ndial: {expire: *time}\n"
    assert accepted(text).dial.expire == 7


def test_aliases_that_multiply_are_refused(refused: Refuse) -> None:
    levels = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    levels += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 10)}]" for at in range(1, 9)]
    (problem,) = refused("\n".join(levels))
    assert "more than 10000 values" in problem


def test_an_alias_to_itself_is_refused(refused: Refuse) -> None:
    assert refused("a: &a [*a]") == ("line 1: nested deeper than 16 levels",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it is empty; at least platform, boards and recordings must stand in it"),
        ("# nothing\n", "it is empty; at least platform, boards and recordings must stand in it"),
        ("- a\n- b\n", "the whole file: found a list; accepted: a section with platform, boards, "),
        ("a: b: c\n", "line 1, column 5: not YAML: mapping values are not allowed here"),
        ("a: [1\n", "line 2, column 1: not YAML: "),
        (b"a: 1\nb: \xff\n", "line 2: it is not UTF-8 text"),
        (b"a: 1\nb: \x07\n", "line 2, column 4: the control character \\x07 may not stand here"),
        ('a: "\\u001b[2J"\n', "line 1: the text holds the control character \\x1b"),
        ("[" * 5000, "it is nested deeper than 16 levels"),
        ("a: !!python/object:os.system x", "line 1: the tag !!python/object:os.system has no"),
        ("{[a]: b}", "line 1: a key must be a name"),
        (b"#" * 1_100_000, "it is larger than 1024 KiB"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_in_a_sentence(
    refused: Refuse, content: str | bytes, problem: str
) -> None:
    (found,) = refused(content)
    assert found.startswith(problem)


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


def test_a_missing_file_is_named(path: Path) -> None:
    assert refusal(path) == f"{path}: there is no such file"


def test_a_directory_in_the_files_place_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: it is a directory, not a file"


def test_a_pipe_in_the_files_place_does_not_block(path: Path) -> None:
    os.mkfifo(path)
    assert refusal(path) == f"{path}: it is not a regular file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_names_the_user(path: Path) -> None:
    path.write_text(SMALLEST)
    path.chmod(0)
    assert "may not read it" in refusal(path)


# Environment and secrets.


def with_account(password: str) -> str:
    return SMALLEST.replace(
        'voip"}', f'voip", account: {{user: 0100, password_md5: "{password}"}}}}'
    )


def test_the_environments_value_is_put_in(accepted: Accept) -> None:
    text = SMALLEST.replace("/var/spool", "${SPOOL}/of")
    assert accepted(text, {"SPOOL": "/srv"}).recordings.directory == "/srv/of/recordings"


def test_a_number_may_come_from_the_environment(accepted: Accept) -> None:
    assert accepted(SMALLEST + "dial: {expire: '${WAIT}'}\n", {"WAIT": "9"}).dial.expire == 9


def test_two_dollar_signs_stand_for_the_characters_themselves(accepted: Accept) -> None:
    text = SMALLEST.replace("/var/spool", "/a/$${SPOOL}")
    assert accepted(text, {"SPOOL": "x"}).recordings.directory == "/a/${SPOOL}/recordings"


def test_a_value_of_the_environment_is_not_expanded_again(accepted: Accept) -> None:
    text = SMALLEST.replace("/var/spool", "${A}")
    assert accepted(text, {"A": "${B}", "B": "no"}).recordings.directory == "${B}/recordings"


def test_a_variable_that_is_not_set_is_named(refused: Refuse) -> None:
    (problem,) = refused(SMALLEST.replace("/var/spool", "${SPOOL}"))
    assert problem.startswith(
        "line 3: recordings.directory: found ${SPOOL}, but the environment has no SPOOL;"
    )


@pytest.mark.parametrize("text", ["${", "${}", "${A B}", "${A"])
def test_half_a_reference_is_refused(refused: Refuse, text: str) -> None:
    (problem,) = refused(SMALLEST.replace("/var/spool", text), {"A": "x"})
    assert "accepted: ${NAME}, or $${" in problem


def test_a_secret_is_taken_from_a_file_beside_the_configuration(
    accepted: Accept, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"  {MD5}\n")
    account = accepted(with_account("file:secret")).platform.account
    assert account is not None
    assert (account.user, account.password_md5) == ("0100", MD5)


def test_a_secrets_file_that_is_not_there_is_named(refused: Refuse, tmp_path: Path) -> None:
    (problem,) = refused(with_account("file:secret"))
    assert problem == (
        f"line 1: platform.account.password_md5: the secret's file {tmp_path / 'secret'}:"
        " there is no such file"
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "it is empty"), (b"x" * 70_000, "it is larger than 64 KiB"), (b"\xff", "not UTF-8")],
)
def test_an_unusable_secrets_file_says_why(
    refused: Refuse, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "secret").write_bytes(content)
    (problem,) = refused(with_account("file:secret"))
    assert reason in problem


@pytest.mark.parametrize("where", ["in the file", "from the environment", "in a secret's file"])
def test_an_error_never_shows_a_secret(refused: Refuse, tmp_path: Path, where: str) -> None:
    (tmp_path / "secret").write_text("hunter2")
    written = {
        "in the file": "hunter2",
        "from the environment": "${PASSWORD}",
        "in a secret's file": "file:secret",
    }
    (problem,) = refused(with_account(written[where]), {"PASSWORD": "hunter2"})
    assert "password_md5: found a value that is not shown" in problem
    assert "hunter2" not in problem


def test_a_password_in_a_url_is_not_shown(refused: Refuse) -> None:
    (problem,) = refused(SMALLEST.replace("http://", "ftp://user:hunter2@"))
    assert "found 'ftp://…@127.0.0.1:8080/voip'" in problem


def test_a_query_in_a_url_is_not_shown(refused: Refuse) -> None:
    (problem,) = refused(SMALLEST.replace("http://", "ftp://").replace("voip", "v?token=hunter2"))
    assert "found 'ftp://127.0.0.1:8080/v?…'" in problem
    assert "hunter2" not in problem


def test_an_account_written_as_text_is_not_shown(refused: Refuse) -> None:
    (problem,) = refused(SMALLEST.replace('voip"}', 'voip", account: "user:hunter2"}'))
    assert "hunter2" not in problem


def test_a_command_that_only_looks_needs_no_secret(path: Path) -> None:
    path.write_text(with_account("file:/nonexistent/${NOT_SET}"))
    assert load(path, {}, secrets=False).recordings.directory == "/var/spool/recordings"


# Where it is looked for.


def test_the_environment_names_the_configuration() -> None:
    assert default_path({"SMARTTEL_CONFIG": "/a/b.yaml"}) == Path("/a/b.yaml")


@pytest.mark.parametrize("environment", [{}, {"SMARTTEL_CONFIG": ""}])
def test_else_the_installed_file_is_taken(environment: dict[str, str]) -> None:
    assert default_path(environment) == Path("/etc/smarttel-agent/config.yaml")


# Anything at all.

KEYS = sorted({each.name for section in sections() for each in fields(section)})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["${X}", "${", "file:/", "http://h", "auto", "2", "22:00-06:00", "null"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


def assert_settings_or_one_line(path: Path) -> None:
    try:
        assert isinstance(load(path, {"X": "1"}), Settings)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
        assert all(len(line.splitlines()) == 1 for line in error.lines)
        str(error).encode("utf-8")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_data_is_settings_or_one_line(path: Path, data: Any) -> None:
    smallest = yaml.safe_load(SMALLEST)
    path.write_text(yaml.safe_dump({**smallest, **data}, allow_unicode=True), "utf-8", "replace")
    assert_settings_or_one_line(path)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "replace")))
def test_any_bytes_are_settings_or_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert_settings_or_one_line(path)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text(alphabet="[]{}:,&*a!|>-'\"\\%@`#? \n\tuUxe0~<", max_size=60))
def test_any_punctuation_of_yaml_is_settings_or_one_line(path: Path, content: str) -> None:
    path.write_text(SMALLEST + content, "utf-8")
    assert_settings_or_one_line(path)


# In the editor's language.


def test_each_mistake_is_told_in_chinese_where_that_is_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "platform: {url: nowhere, querry: {}}\n"
        "boards: [{port: /dev/a, baudrate: 7}, {port: /dev/a, driver: nune}]\n"
        "recordings: {directory: /r, settle: x}\nlanguage: fr\n"
    )
    assert check.run(path, {"LANG": "zh_CN.UTF-8"}) == 2
    lines = capsys.readouterr().err.splitlines()
    told = [line.partition("config.yaml：")[2] for line in lines]
    assert told == [
        "第 1 行：platform.querry：未知的键；是否应为 query？",
        "第 2 行：boards[0].baudrate：写的是“7”；可接受：50 至 4000000 的整数，或 null",
        "第 3 行：recordings.settle：写的是“x”；可接受：大于 0 且不超过 86400 的数字",
        "第 4 行：language：写的是“fr”；可接受：auto, en, zh, zh_CN 之一",
    ]
