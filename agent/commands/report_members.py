"""What goes into a support bundle: a table of members, each made for itself, each scrubbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import yaml
from msgspec import Struct

from agent.clock import Clock
from agent.commands import check, report_system
from agent.commands.report_bundle import CUT_BEGINNING, MOST_MEMBER, Member
from agent.commands.report_config import ShownConfiguration, references
from agent.commands.report_log import NoLog, journal
from agent.commands.report_scrub import Scrubber
from agent.config import ConfigError, load
from agent.config_text import MOST_BYTES, Document, Unreadable, parse, read_bounded
from agent.instance import holder
from agent.language import marked, said, text_of
from agent.ledger import FILE_NAME, LedgerError, damaged_ledgers
from agent.ledger.census import census
from agent.settings import Settings
from agent.status import words_beside
from agent.system_words import system_words

AS_ROOT = marked("made as root (sudo smarttel-agent report) it is included")
WHILE_IT_RUNS = marked("the agent writes it while it runs")
NOT_RUN_YET = marked("the agent has not run on this state directory yet")
STATE_DIRECTORY = "/var/lib/smarttel-agent"
STATUS_FILE = "/run/smarttel-agent/status.json"
RECORDINGS = "/var/spool/smarttel/recordings"
"""Where things are looked for while the configuration does not say."""


MOST_LOG = MOST_MEMBER // 2
"""Characters of the log: with what takes more than a byte it is still one member's size."""


class Missing(Exception):
    """A member can't be made; the message says why and what helps."""


class Gateway(Struct, frozen=True):
    """What the bundle is about, as far as the configuration tells."""

    path: Path
    """The configuration."""
    own_environment: Mapping[str, str]
    environment: Mapping[str, str]
    """With the values that only the daemon's own environment has."""
    settings: Settings | None
    trouble: str
    """Why there are no settings; empty: there are."""
    text: str
    document: Document | None
    state_directory: Path
    status_file: Path
    recordings: Path
    daemon: int | None
    """The agent's process; None: none runs, or it can't be told."""
    clock: Clock


def gateway(path: Path, environment: Mapping[str, str], clock: Clock) -> Gateway:
    """Find out what can be found out; no configuration is too bad for that."""
    text, document, trouble = "", None, ""
    try:
        content = read_bounded(path, MOST_BYTES)
        text = content.decode("utf-8", "replace")
        document = parse(content)
    except Unreadable as error:
        trouble = f"{path}: {error}"
    state = Path(_said(document, "state_directory") or STATE_DIRECTORY)
    held = holder(state)
    daemon = held.pid if held else None
    complete = {**environment, **_of_daemon(daemon, references(text))}
    settings = None
    if document is not None:
        try:
            settings = load(path, complete, secrets=False)
            load(path, complete)
        except ConfigError as error:
            trouble = "\n".join(error.lines)
    return Gateway(
        path,
        environment,
        complete,
        settings,
        trouble,
        text,
        document,
        Path(settings.state_directory) if settings else state,
        Path(settings.status_file if settings else _said(document, "status_file") or STATUS_FILE),
        Path(settings.recordings.directory if settings else RECORDINGS),
        daemon,
        clock,
    )


def members(found: Gateway) -> tuple[list[Member], Scrubber]:
    """Make every member, scrubbed; and the scrubber, for what else goes into the bundle."""
    shown = ShownConfiguration(found.environment, found.path.parent)
    document = None
    if found.document is not None:
        document = shown.shown(found.document.data)
    else:
        shown.collect(found.text)
    for name in references(found.text):
        # The daemon's value is known already; this one may be of yesterday.
        shown.secrets.add(found.own_environment.get(name, ""))
    scrubber = Scrubber(shown.secrets)

    def configuration(_: Gateway) -> str:
        begins = "".join(f"# refused: {line}\n" for line in found.trouble.splitlines())
        if document is None:
            return f"{begins}# It can't be read, so nothing of it is shown.\n"
        return begins + yaml.safe_dump(document, allow_unicode=True, sort_keys=False)

    makers: Mapping[str, Callable[[Gateway], object]] = {
        "status.json": _status,
        "status.txt": _status_words,
        "check.txt": _check,
        "versions.json": lambda _: report_system.versions(),
        "config.yaml": configuration,
        "ledger.json": _ledger,
        "system.json": _system,
        "log.txt": lambda found: _log(found.environment),
    }
    return [_member(name, make, found, scrubber) for name, make in makers.items()], scrubber


def _member(
    name: str, make: Callable[[Gateway], object], found: Gateway, scrubber: Scrubber
) -> Member:
    try:
        made = make(found)
    except Missing as missing:
        return Member(name, "", text_of(missing))
    except PermissionError as error:
        return Member(name, "", _reason(error.filename, system_words(error), AS_ROOT))
    except Exception as error:  # one that fails must not cost the others
        return Member(name, "", f"{type(error).__name__}: {error}")
    if isinstance(made, str):
        return Member(name, scrubber.text(made))
    scrubbed = json.dumps(scrubber.data(made), ensure_ascii=False, indent=1)
    return Member(name, f"{scrubbed}\n")


def _status(found: Gateway) -> object:
    content = _read(found.status_file)
    try:
        told: object = json.loads(content)
    except (ValueError, RecursionError):
        # As text, then: what is wrong with it may be the very fault.
        return content
    return told


def _status_words(found: Gateway) -> str:
    return _read(words_beside(found.status_file))


def _read(path: Path) -> str:
    try:
        return read_bounded(path, 4 * MOST_MEMBER).decode("utf-8", "replace")
    except Unreadable as error:
        helps = AS_ROOT if "may not read" in str(error) else WHILE_IT_RUNS
        raise Missing(_reason(path, text_of(error), helps)) from None


def _reason(path: object, why: str, helps: str) -> str:
    return said("{path}: {why}; {helps}", path=str(path), why=why, helps=said(helps))


def _check(found: Gateway) -> str:
    try:
        settings = load(found.path, found.environment)
    except ConfigError as error:
        return "".join(f"{line}\n" for line in error.lines)
    device = check.looked_at(settings, found.clock)
    return "".join(f"{each.line()}\n" for each in check.findings(device, check.CHECKS))


def _ledger(found: Gateway) -> object:
    path = found.state_directory / FILE_NAME
    if not path.exists():
        raise Missing(_reason(path, said("there is no ledger"), NOT_RUN_YET))
    try:
        figures: object = census(path, found.clock.wall(), found.clock.monotonic)
    except LedgerError as error:
        figures = f"can't be read: {error}; {AS_ROOT}, where that is the reason"
    files = [path, *(path.with_name(f"{path.name}{end}") for end in ("-wal", "-shm"))]
    return {
        "ledger": figures,
        "files": {each.name: each.stat().st_size for each in files if each.exists()},
        "set aside as damaged": {
            each.name: each.stat().st_size for each in damaged_ledgers(found.state_directory)
        },
    }


def _system(found: Gateway) -> object:
    directories = {
        "recordings.directory": found.recordings,
        "state_directory": found.state_directory,
        "status_file": found.status_file.parent,
    }
    return report_system.machine(directories, found.daemon)


def _log(environment: Mapping[str, str]) -> str:
    try:
        text = journal(environment)
    except NoLog as reason:
        raise Missing(text_of(reason)) from None
    if len(text) <= MOST_LOG:
        return text
    # By whole lines: half a secret at the beginning would not be known again.
    return CUT_BEGINNING + text[-MOST_LOG:].partition("\n")[2]


def _said(document: Document | None, key: str) -> str:
    """What the file says at a key of its first level, where that is plain text."""
    data = document.data if document else None
    value = data.get(key) if isinstance(data, dict) else None
    return value if isinstance(value, str) and "${" not in value else ""


def _of_daemon(pid: int | None, names: set[str]) -> dict[str, str]:
    """Values of variables in the running agent's environment, where that may be read."""
    if pid is None or not names:
        return {}
    try:
        environment = psutil.Process(pid).environ()
    except (psutil.Error, OSError):
        return {}
    return {name: environment[name] for name in names if name in environment}
