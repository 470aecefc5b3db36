"""The proofs of `scripts/test-device`, in their order: each a function that raises Failed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tests.device_container import Container, Failed, wait_until
from tests.device_outside import PASSWORD_MD5
from tests.device_scene import CONFIGURATION, RECORDINGS, SECRET, SOON, Scene

LEDGER = "/var/lib/smarttel-agent/ledger.sqlite"
PROJECT = "/root/project"
HUNG_PORT = "/srv/hang/ttyUSB7"
WATCHDOG = 45
"""Seconds of the watchdog in these proofs, longer than the agent takes from feeding to feeding; the
unit's own are 180."""
DROP_IN = f"""[Service]
# The simulated board is a pseudo-terminal.
DeviceAllow=char-pts rw
WatchdogSec={WATCHDOG}
"""
MOST_EXPOSURE = 1.2
"""What `systemd-analyze security` may say; 10 is a service with no confinement at all."""
HANGS_FOR = 240.0
"""Seconds until a part that hangs is killed: the agent gives opening a port a minute."""


def installs(scene: Scene) -> str:
    machine = scene.machine
    machine.run("dpkg", "-i", scene.packages[0])
    _confine_for_the_test(machine)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "smarttel-agent")
    machine.run("useradd", "--system", "-G", "smarttel-recordings", "recorder")
    if machine.run("systemctl", "is-enabled", "smarttel-agent").strip() != "enabled":
        raise Failed("the unit is not enabled")
    told = machine.run("id", "-nG", "smarttel").split()
    if not {"dialout", "smarttel-recordings"} <= set(told):
        raise Failed(f"the user smarttel is in {told}")
    return "the package installs, its unit is enabled, its user may use serial ports"


def asks_for_what_it_cannot_guess(scene: Scene) -> str:
    machine = scene.machine
    told = machine.run("systemctl", "status", "--no-pager", "smarttel-agent")
    if "platform.url: found 'FILL-IN'" not in told or machine.show("NRestarts") != "0":
        raise Failed(f"an unfilled configuration is not asked for in `systemctl status`:\n{told}")
    return "unfilled, it says in `systemctl status` what to fill in, and is not started again"


def becomes_ready(scene: Scene) -> str:
    machine = scene.machine
    machine.run("tee", SECRET, text=PASSWORD_MD5 + "\n")
    machine.run("chgrp", "smarttel", SECRET)
    machine.run("chmod", "640", SECRET)
    scene.configure()
    scene.wait_until_well()
    machine.run("systemctl", "is-active", "smarttel-agent")
    wait_until(
        lambda: machine.attempt("smarttel-agent", "status").returncode == 0,
        "`smarttel-agent status` is green",
        SOON,
    )
    return "filled in, it is READY by itself, hears its board, and `status` is green"


def is_confined(scene: Scene) -> str:
    machine = scene.machine
    lines = machine.run("cat", f"/proc/{machine.pid}/status").splitlines()
    facts = dict(line.split(":", 1) for line in lines)
    found = {name: facts[name].split()[0] for name in ("NoNewPrivs", "Seccomp", "CapEff")}
    if found != {"NoNewPrivs": "1", "Seccomp": "2", "CapEff": "0" * 16}:
        raise Failed(f"the process is not confined: {found}")
    if facts["Uid"].split()[0] != machine.run("id", "-u", "smarttel").strip():
        raise Failed("the process is not smarttel's")
    resident = int(facts["VmRSS"].split()[0]) / 1024
    judged = machine.run("systemd-analyze", "security", "--no-pager", "smarttel-agent")
    score = re.search(r"exposure level .*: ([0-9.]+)", judged)
    if score is None or float(score[1]) > MOST_EXPOSURE:
        raise Failed(f"systemd-analyze security says:\n{judged[-200:]}")
    return (
        f"it runs confined as smarttel, no capability, {resident:.0f} MiB resident:"
        f" {score[1]} by systemd-analyze"
    )


def delivers_a_call(scene: Scene) -> str:
    scene.whole_call(1)
    scene.wait_for_all()
    left = f"find {RECORDINGS} -name '*.wav' | wc -l"
    wait_until(
        lambda: scene.machine.run("sh", "-c", left).strip() == "0",
        "the delivered recording of another user was removed",
        SOON,
    )
    return "a call and its recording are delivered; the file, another user's, is removed after"


def reloads(scene: Scene) -> str:
    machine, pid = scene.machine, scene.machine.pid
    scene.configure(reports={"interval": 3})
    machine.run("systemctl", "reload", "smarttel-agent")
    wait_until(
        lambda: "the configuration was read anew" in machine.journal(), "it read it anew", SOON
    )
    scene.configure(boards=[{"port": "/dev/ttyRJ11", "chanels": 8}])
    machine.run("systemctl", "reload", "smarttel-agent")
    wait_until(
        lambda: "the new configuration is not used" in machine.journal(), "it refused it", SOON
    )
    scene.configure()
    machine.run("systemctl", "reload", "smarttel-agent")
    if machine.pid != pid or not scene.is_well():
        raise Failed("a reload did not leave the agent as it was")
    return "reload: a new configuration is taken, a bad one refused and the old one kept"


def survives_a_kill(scene: Scene) -> str:
    pid = scene.machine.pid
    phone = scene.begin_call(2)
    scene.machine.run("sh", "-c", f"kill -KILL {pid}")
    scene.wait_for_pid_other_than(pid)
    scene.end_call(2, phone)
    scene.wait_for_all()
    return "killed with SIGKILL in the middle of a call it is started anew; the call is booked once"


def outlives_a_hang(scene: Scene) -> str:
    machine, pid = scene.machine, scene.machine.pid
    scene.disk.fall_silent()
    began = time.monotonic()
    scene.configure(boards=[{"port": "/dev/ttyRJ11"}, {"serial": 2, "port": HUNG_PORT}])
    machine.run("systemctl", "reload", "smarttel-agent")
    timeout = f"Watchdog timeout (limit {WATCHDOG}s)"
    told: set[str] = set()

    def killed() -> bool:
        told.update(each["code"] for each in machine.status().get("problems", []))
        return timeout in machine.journal()

    wait_until(killed, "the watchdog kills an agent of which a part hangs", HANGS_FOR)
    passed = time.monotonic() - began
    scene.disk.close()
    scene.configure()
    scene.wait_for_pid_other_than(pid)
    if "part-failed" not in told:
        raise Failed(f"the status did not show that a part hangs, but {sorted(told)}")
    scene.whole_call(3)
    scene.wait_for_all()
    return (
        f"a port whose opening never ends: shown as part-failed, killed by the watchdog after"
        f" {passed:.0f} s, well after the next start"
    )


def reboots_with_a_backlog(scene: Scene) -> str:
    scene.outside.platform.stop()
    for channel in (1, 2, 3):
        scene.whole_call(channel)
    wait_until(lambda: scene.waiting() == 3, "three records wait", SOON)
    scene.machine.reboot()
    scene.wait_until_well()
    if scene.waiting() != 3:
        raise Failed(f"after the reboot {scene.waiting()} records wait, not 3")
    scene.outside.platform.start()
    scene.wait_for_all()
    return "rebooted with three calls and recordings waiting: all arrive, each once"


def upgrades_with_a_backlog(scene: Scene) -> str:
    machine, pid = scene.machine, scene.machine.pid
    scene.outside.platform.stop()
    scene.whole_call(1)
    wait_until(lambda: scene.waiting() == 1, "a record waits", SOON)
    phone = scene.begin_call(2)
    edited = machine.run("cat", CONFIGURATION)
    machine.run("dpkg", "-i", scene.packages[1])
    scene.wait_for_pid_other_than(pid)
    if machine.run("cat", CONFIGURATION) != edited:
        raise Failed("the upgrade changed the configuration")
    scene.end_call(2, phone)
    scene.outside.platform.start()
    scene.wait_for_all()
    return "upgraded with a backlog and a call in progress: the call ends after it, booked once"


def downgrades_or_refuses(scene: Scene) -> str:
    machine, pid = scene.machine, scene.machine.pid
    later = machine.run("dpkg-query", "-W", "-f", "${Version}", "smarttel-agent")
    machine.run("dpkg", "-i", scene.packages[0])
    scene.wait_for_pid_other_than(pid)
    machine.run("dpkg", "-i", scene.packages[1])
    machine.run("systemctl", "stop", "smarttel-agent")
    known = _set_format(machine, 999)
    refused = machine.attempt("dpkg", "-i", scene.packages[0])
    version = machine.run("dpkg-query", "-W", "-f", "${Version} ${Status}", "smarttel-agent")
    if not refused.returncode or "has format 999" not in refused.stdout:
        raise Failed(f"a downgrade below the ledger's format was not refused:\n{refused.stdout}")
    if version != f"{later} install ok installed":
        raise Failed(f"the refused downgrade left {version}")
    machine.run("systemctl", "start", "--no-block", "smarttel-agent")
    wait_until(
        lambda: "has format 999" in machine.show("StatusText"),
        "the agent says in `systemctl status` that the ledger is a newer agent's",
        SOON,
    )
    machine.run("systemctl", "stop", "smarttel-agent")
    _set_format(machine, known)
    machine.run("systemctl", "start", "smarttel-agent")
    scene.wait_until_well()
    return "downgrade: taken where the ledger's format is the same, else refused with the reason"


def keeps_secrets(scene: Scene) -> str:
    journal = scene.machine.run("journalctl", "--no-pager", "-q", "-o", "export").lower()
    for what in (*scene.outside.phones, PASSWORD_MD5.lower()):
        if what in journal:
            line = next(line for line in journal.splitlines() if what in line)
            raise Failed(f"the journal shows {what}: {line[:200]}")
    masked = scene.outside.phones[0][:3] + "****" + scene.outside.phones[0][-4:]
    if masked not in journal:
        raise Failed("the journal does not speak of the calls at all")
    count = len(scene.outside.phones)
    return (
        f"the whole journal, {len(journal.splitlines())} lines: none of {count} numbers, no secret"
    )


def leaves_recordings(scene: Scene) -> str:
    machine = scene.machine
    kept = f"{RECORDINGS}/kept.txt"
    machine.run("tee", kept, text="kept\n")
    machine.run("dpkg", "--purge", "smarttel-agent")
    machine.run("cat", kept)
    machine.run("rm", kept)
    for path in ("/etc/smarttel-agent", "/var/lib/smarttel-agent", "/usr/lib/smarttel-agent"):
        if machine.attempt("ls", path).returncode == 0:
            raise Failed(f"a purge leaves {path}")
    if machine.run("systemctl", "--failed", "--no-legend", "--no-pager").strip():
        raise Failed("a purge leaves a failed unit")
    return "purged: state and configuration are gone, the recordings are left alone"


def installs_without_dpkg(scene: Scene) -> str:
    machine = scene.machine
    _confine_for_the_test(machine)
    offline = ("env", "PIP_NO_INDEX=1", "PIP_FIND_LINKS=/root/wheels")
    machine.run(*offline, f"{PROJECT}/scripts/install")
    becomes_ready(scene)
    pid = machine.pid
    phone = scene.begin_call(4)
    machine.run(*offline, f"{PROJECT}/scripts/install")
    scene.wait_for_pid_other_than(pid)
    scene.end_call(4, phone)
    scene.wait_for_all()
    machine.run(f"{PROJECT}/scripts/install", "--uninstall")
    machine.run("ls", LEDGER, CONFIGURATION)
    if machine.attempt("ls", "/usr/bin/smarttel-agent").returncode == 0:
        raise Failed("`scripts/install --uninstall` leaves the command")
    machine.run(f"{PROJECT}/scripts/install", "--uninstall", "--purge")
    machine.run("ls", RECORDINGS)
    if machine.attempt("ls", LEDGER).returncode == 0:
        raise Failed("`scripts/install --uninstall --purge` leaves the ledger")
    return "scripts/install: installs, upgrades in the middle of a call, and takes itself away"


def _confine_for_the_test(machine: Container) -> None:
    machine.run("mkdir", "-p", "/etc/systemd/system/smarttel-agent.service.d")
    machine.run("tee", "/etc/systemd/system/smarttel-agent.service.d/test.conf", text=DROP_IN)


def _set_format(machine: Container, version: int) -> int:
    """Write the format into the ledger; return what it was."""
    code = (
        f"import sqlite3; d = sqlite3.connect('{LEDGER}');"
        " print(d.execute('PRAGMA user_version').fetchone()[0]);"
        f" d.execute('PRAGMA user_version = {version}')"
    )
    return int(machine.run("runuser", "-u", "smarttel", "--", "python3", "-c", code))


PROOFS: tuple[Callable[[Scene], str], ...] = (
    installs,
    asks_for_what_it_cannot_guess,
    becomes_ready,
    is_confined,
    delivers_a_call,
    reloads,
    survives_a_kill,
    outlives_a_hang,
    reboots_with_a_backlog,
    upgrades_with_a_backlog,
    downgrades_or_refuses,
    keeps_secrets,
    leaves_recordings,
    installs_without_dpkg,
)
