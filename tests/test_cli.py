"""The command line never shows a traceback, and its exit statuses can be relied on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent import __version__, cli
from agent.cli import main

SMALLEST = """\
platform: {url: "http://127.0.0.1:1/"}
boards: [{port: /dev/ttyS1}]
recordings: {directory: /nonexistent}
status_file: /nonexistent/status.json
"""

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(SMALLEST)
    return path


def test_the_version_is_told(capsys: Captured) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"smarttel-agent {__version__}\n"


@pytest.mark.parametrize("command", ["run", "check", "status"])
def test_a_bad_configuration_is_exit_status_2_and_one_line(
    command: str, config: Path, capsys: Captured
) -> None:
    config.write_text(SMALLEST + "dail: {expire: 60}\n")
    assert main([command, "--config", str(config)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"smarttel-agent: {config}: line 5: dail: unknown key; did you mean dial?\n"
    )


def test_a_missing_configuration_is_exit_status_2(tmp_path: Path, capsys: Captured) -> None:
    assert main(["run", "--config", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.endswith("there is no such file\n")


@pytest.mark.parametrize("before", [True, False])
def test_the_configuration_may_stand_before_or_after_the_command(
    before: bool, config: Path, capsys: Captured
) -> None:
    named = ["--config", str(config)]
    assert main([*named, "status"] if before else ["status", *named]) == 3
    assert "/nonexistent/status.json" in capsys.readouterr().err


def test_else_the_environment_names_the_configuration(
    config: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMARTTEL_CONFIG", str(config))
    assert main(["status"]) == 3
    assert "/nonexistent/status.json" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["frobnicate"], ["status", "--loud"], ["simulate"]])
def test_a_command_that_does_not_exist_is_exit_status_2(
    command: list[str], capsys: Captured
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_each_simulated_part_explains_its_options(capsys: Captured) -> None:
    for part in ("platform", "board", "recorder"):
        with pytest.raises(SystemExit) as ended:
            main(["simulate", part, "--help"])
        assert ended.value.code == 0
        assert "--journal" in capsys.readouterr().out or part == "platform"


@pytest.mark.parametrize(
    ("debug", "tracebacks"), [([], 0), (["--debug"], 1)], ids=["plain", "with --debug"]
)
def test_an_unexpected_error_is_exit_status_70_and_one_line(
    debug: list[str],
    tracebacks: int,
    config: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(path: Path, environment: object) -> int:
        raise RuntimeError("boom\nboom")

    monkeypatch.setattr("agent.commands.check.run", fails)
    assert main([*debug, "check", "--config", str(config)]) == 70
    error = capsys.readouterr().err
    assert error.count("Traceback") == tracebacks
    assert error.splitlines()[-1] == (
        "smarttel-agent: check ended by an unexpected RuntimeError: boom\\x0aboom; with --debug"
        " after smarttel-agent it says where"
    )


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent", *arguments]


def test_ctrl_c_ends_a_command_quietly() -> None:
    script = (
        "import agent.commands.check as check, os, signal\n"
        "check.run = lambda path, environment: os.kill(os.getpid(), signal.SIGINT)\n"
        "from agent.cli import main\n"
        "raise SystemExit(main(['check']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_a_reader_that_goes_away_ends_a_command_quietly(tmp_path: Path, config: Path) -> None:
    status = tmp_path / "status.json"
    status.write_text('{"updated": 1, "pid": 1, "health": "ok"}')
    config.write_text(SMALLEST.replace("/nonexistent/status.json", str(status)))
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command("status", "--json", "--config", str(config)),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.parametrize("word", ["run", "status"])
def test_a_commands_options_bring_in_neither_simulation_nor_tables(word: str) -> None:
    script = (
        "import sys\n"
        "from agent.cli import build_parser\n"
        f"build_parser().parse_args(['{word}'])\n"
        "unwanted = ('rich', 'babel', 'agent.simulation')\n"
        "print([name for name in sys.modules if name.startswith(unwanted)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_every_command_of_the_table_has_a_summary() -> None:
    names = [each.name for each in cli.COMMANDS]
    assert names == ["run", "check", "status", "queue", "monitor", "report", "simulate"]
    assert all(each.summary and each.details for each in (*cli.COMMANDS, *cli.SIMULATIONS))


def test_whoever_reads_chinese_reads_help_in_chinese(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    for words, told in (
        (["--help"], "电话录音网关的代理程序"),
        (["--help"], "等待上传的数据及原因"),
        (["status", "--help"], "每 2 秒刷新一次"),
        (["queue", "retry", "--help"], "所有等待的项目"),
        (["check", "--help"], "检验配置"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert told in capsys.readouterr().out.replace("\n", "").replace(" " * 24, "")
