"""The command line: `smarttel-agent COMMAND`, also `python -m agent COMMAND`.

Each command's code is imported when the command is asked for, so that the daemon carries neither
the simulation nor what draws tables.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from msgspec import Struct

from agent import __version__
from agent.config import INSTALLED_PATH, PATH_VARIABLE, ConfigError, default_path, load
from agent.language import AUTO, ENGLISH, Language, marked, text_of
from agent.language import language as language_for
from agent.text import printable

EXIT_BAD_CONFIGURATION = 2
EXIT_UNEXPECTED = 70
"""EX_SOFTWARE of sysexits.h: the agent's own fault."""
EXIT_INTERRUPTED = 130
"""What a shell says of a command that Ctrl-C ended."""
EXIT_PIPE_CLOSED = 141
"""What a shell says of a command whose reader went away, such as `| head`."""

MOST_ERROR = 2000
"""Characters of an error's line; a key's path, a file's name and a sentence fit."""

Run = Callable[[argparse.Namespace], int]
Fill = Callable[[argparse.ArgumentParser], None]


class Command(Struct, frozen=True):
    """One row of the table of commands."""

    name: str
    summary: str
    details: str
    run: Run | None
    """None: the command has commands of its own."""
    fill: Fill
    """Adds the options; called when the command is asked for."""


class LateParser(argparse.ArgumentParser):
    """A command's parser that learns its options when it is used."""

    fill: Fill | None = None

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Fill in the options, then parse as ever."""
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        return super().parse_known_args(args, namespace)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = build_parser(_environment_language()).parse_args(argv)
    run: Run = arguments.run_command
    try:
        status = run(arguments)
        # What is still buffered may meet a closed pipe; here that is caught, at exit it is not.
        sys.stdout.flush()
    except ConfigError as error:
        _complain(_environment_language().tell(text_of(error)))
        return EXIT_BAD_CONFIGURATION
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED
    except Exception as error:
        if getattr(arguments, "debug", False):
            traceback.print_exc()
        _complain(
            f"{arguments.command} ended by an unexpected {type(error).__name__}: {error};"
            " with --debug after smarttel-agent it says where"
        )
        return EXIT_UNEXPECTED
    return status


def build_parser(language: Language = ENGLISH) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; the commands' own options come late.

    Argparse's own words, such as "usage", are English.
    """
    say = language.say
    parser = argparse.ArgumentParser(
        prog="smarttel-agent",
        description=say(
            "The agent of a call-recording gateway: it watches the telephone lines, books every"
            " call with the SmartTel platform and delivers its recording."
        ),
        epilog=say("smarttel-agent COMMAND --help explains a command."),
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--debug",
        action="store_true",
        help=say("on an unexpected error, show where it happened"),
    )
    _add_config(parser, language)
    _add_commands(parser, COMMANDS, "command", language)
    return parser


def _add_commands(
    parser: argparse.ArgumentParser,
    commands: Sequence[Command],
    destination: str,
    language: Language = ENGLISH,
) -> None:
    children = parser.add_subparsers(
        dest=destination, metavar=destination.upper(), required=True, parser_class=LateParser
    )
    for command in commands:
        child = children.add_parser(
            command.name,
            help=language.say(command.summary),
            description=language.say(command.details),
        )
        child.fill = command.fill
        if command.run is not None:
            child.set_defaults(run_command=command.run)


def _add_config(parser: argparse.ArgumentParser, language: Language | None = None) -> None:
    say = (language or _environment_language()).say
    # SUPPRESS: given before the command, it is not undone by the command's own default.
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=argparse.SUPPRESS,
        help=say(
            "the configuration (else ${variable}, else {path})",
            variable=PATH_VARIABLE,
            path=INSTALLED_PATH,
        ),
    )


def _environment_language() -> Language:
    """The language of whoever types, before there is a configuration."""
    return language_for(AUTO, os.environ)


def _config_path(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Path:
    named: Path | None = getattr(arguments, "config", None)
    return default_path(environment) if named is None else named


def _run(arguments: argparse.Namespace) -> int:
    from agent import daemon, waiting  # noqa: PLC0415 - see the module's docstring

    path = _config_path(arguments, os.environ)
    if arguments.wait:
        return daemon.run(path, waiting.wait_for_settings(path, os.environ), patient=True)
    return daemon.run(path, load(path, os.environ))


def _fill_run(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument(
        "--wait",
        action="store_true",
        help="wait until the configuration can be used, instead of ending with 2: for a service",
    )


def _check(arguments: argparse.Namespace) -> int:
    from agent.commands import check  # noqa: PLC0415

    return check.run(_config_path(arguments, os.environ), os.environ)


def _status(arguments: argparse.Namespace) -> int:
    settings = load(_config_path(arguments, os.environ), os.environ, secrets=False)
    from agent.commands import status  # noqa: PLC0415

    return status.run(arguments, settings, language_for(settings.language, os.environ))


def _queue(arguments: argparse.Namespace) -> int:
    settings = load(_config_path(arguments, os.environ), os.environ, secrets=False)
    from agent.commands import queue  # noqa: PLC0415

    return queue.run(arguments, settings, language_for(settings.language, os.environ))


def _monitor(arguments: argparse.Namespace) -> int:
    settings = load(_config_path(arguments, os.environ), os.environ, secrets=False)
    from agent.commands import monitor  # noqa: PLC0415

    return monitor.run(arguments, settings)


def _report(arguments: argparse.Namespace) -> int:
    from agent.commands import report  # noqa: PLC0415

    return report.run(arguments, _config_path(arguments, os.environ), os.environ)


def _fill_report(parser: argparse.ArgumentParser) -> None:
    from agent.commands import report  # noqa: PLC0415

    _add_config(parser)
    report.add_arguments(parser, _environment_language())


def _fill_monitor(parser: argparse.ArgumentParser) -> None:
    from agent.commands import monitor  # noqa: PLC0415

    _add_config(parser)
    monitor.add_arguments(parser)


def _fill_status(parser: argparse.ArgumentParser) -> None:
    from agent.commands import status  # noqa: PLC0415

    _add_config(parser)
    status.add_arguments(parser, _environment_language())


def _fill_queue(parser: argparse.ArgumentParser) -> None:
    from agent.commands import queue  # noqa: PLC0415

    _add_config(parser)
    queue.add_arguments(parser, _environment_language())


def _simulation(name: str, summary: str, details: str) -> Command:
    module = f"agent.simulation.{name}"

    def fill(parser: argparse.ArgumentParser) -> None:
        import_module(module).add_arguments(parser)

    def run(arguments: argparse.Namespace) -> int:
        status: int = import_module(module).run(arguments)
        return status

    return Command(name, summary, details, run, fill)


SIMULATIONS = (
    _simulation(
        "platform",
        "a SmartTel platform on this machine",
        "A platform that answers as the real one does, checks every field, keeps what it gets and"
        " can be told to fail.",
    ),
    _simulation(
        "board",
        "an RJ11 board on a pseudo-terminal",
        "A board that rings, takes and ends calls on a pseudo-terminal, and obeys orders to dial.",
    ),
    _simulation(
        "recorder",
        "a recorder that writes audio files",
        "A recorder that writes a real audio file for each call, while the call goes on.",
    ),
    _simulation(
        "fleet",
        "ten thousand gateways in simulated time",
        "A fleet of gateways on one platform, by the agent's own timing and a simulated clock: how"
        " many requests a second an outage, or a common start, makes of it, and when all is sent."
        " Exit status: 0 no storm and soon caught up, 1 not so.",
    ),
)

COMMANDS = (
    Command(
        "run",
        marked("the agent itself, in the foreground"),
        marked(
            "Runs the agent in the foreground. SIGTERM ends it within 5 seconds and loses nothing;"
            " SIGHUP makes it read the configuration anew, where a bad file is reported and the old"
            " configuration stays."
        ),
        _run,
        _fill_run,
    ),
    Command(
        "check",
        marked("validate the configuration, then look at the device"),
        marked(
            "Validates the configuration, then looks at ports, directories, disk, identity, clock"
            " and platform. One line a finding, with what to do. Exit status: 0 all well, 1"
            " something to do, 2 bad configuration."
        ),
        _check,
        _add_config,
    ),
    Command(
        "status",
        marked("what the running agent says of itself"),
        marked(
            "Shows the status file as a table, problems first. Exit status: 0 all well, 1 problems,"
            " 2 bad configuration, 3 no agent runs."
        ),
        _status,
        _fill_status,
    ),
    Command(
        "queue",
        marked("what waits for delivery, and why"),
        marked(
            "Shows calls and recordings that wait for the platform, and makes them try again at"
            " once."
        ),
        _queue,
        _fill_queue,
    ),
    Command(
        "monitor",
        marked("a board's line as it lives, decoded"),
        marked(
            "Listens to a board's serial line and shows what it says, damaged bytes too; sends"
            " nothing. The agent must not be running: a line has one listener. Ctrl-C ends it."
        ),
        _monitor,
        _fill_monitor,
    ),
    Command(
        "report",
        marked("a file for those who help: status, check, log, figures; no secrets"),
        marked(
            "Gathers what tells how this gateway is into one .tar.gz: status, check, versions, the"
            " configuration without secrets, figures of the ledger and the machine, the log's last"
            " lines. Telephone numbers are masked. The agent may run or not; as root (sudo) more"
            " can be read. Exit status: 0 written, 1 not written, 2 written with a bad"
            " configuration."
        ),
        _report,
        _fill_report,
    ),
    Command(
        "simulate",
        marked("simulated parts, each on its own, for integrators"),
        marked("Runs one simulated part in the foreground, until Ctrl-C."),
        None,
        lambda parser: _add_commands(parser, SIMULATIONS, "part"),
    ),
)


def _complain(line: str) -> None:
    print(f"smarttel-agent: {printable(line, MOST_ERROR)}", file=sys.stderr)
