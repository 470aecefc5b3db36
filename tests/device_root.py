"""A Debian root for `scripts/test-device`: made once with debootstrap, kept, copied for each run.

Where packages come from is this machine's own apt configuration; nothing is named here.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parent.parent
CONTROL = PROJECT / "systemd" / "debian" / "control"
TOOLS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nsenter": "util-linux",
    "dpkg-deb": "dpkg",
}
"""Commands that it takes, and Debian's packages that have them."""
BOOTS_WITH = ("systemd", "systemd-sysv", "dbus", "acl", "python3-venv")


class NotHere(Exception):
    """Why it can't be done on this machine, in words."""


def require_tools() -> None:
    """Install what is missing, where apt-get can. Raises NotHere."""
    if os.geteuid() != 0:
        raise NotHere("booting a container takes root")
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NotHere(f"missing, and there is no apt-get: {', '.join(sorted(missing))}")
    _run("apt-get", "update", "-qq")
    _run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *sorted(missing))


def require_containers(root: Path) -> None:
    """Start a container that does nothing. Raises NotHere where this machine refuses it."""
    tried = _nspawn_true(root)
    if tried.returncode:
        words = (tried.stderr or tried.stdout).strip().splitlines() or ["no reason given"]
        raise NotHere(f"systemd-nspawn is refused here: {words[-1]}")


def debian_root(suite: str) -> Path:
    """Return the kept root of a suite, with what the package depends on; make it if need be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = cache / "smarttel-agent" / f"device-root-{suite}"
    depends = _depends()
    wanted = "\n".join((*BOOTS_WITH, *depends))
    stamp = root / "root" / "packages"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return root
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    mirrors = _mirrors()
    _run("debootstrap", "--variant=minbase", suite, str(root), mirrors[0])
    lines = [f"deb {mirrors[0]} {suite} main"]
    # A machine of another release has the same mirrors, below the same names.
    lines += [f"deb {each} {suite}-security main" for each in mirrors[1:] if "security" in each]
    (root / "etc/apt/sources.list").write_text("\n".join(lines) + "\n", "utf-8")
    (root / "etc/apt/apt.conf.d/90host").write_text(_acquire_options(), "utf-8")
    _inside(root, "apt-get", "update", "-qq")
    _inside(root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted.split())
    _inside(root, "apt-get", "clean")
    # Each copy is a machine of its own, whose log outlives a reboot.
    (root / "etc/machine-id").write_text("", "utf-8")
    (root / "var/log/journal").mkdir(exist_ok=True)
    (root / "etc/hostname").write_text("gateway\n", "utf-8")
    stamp.write_text(wanted, "utf-8")
    return root


def _depends() -> list[str]:
    """Names of the packages that the control file names, without their versions."""
    text = CONTROL.read_text("utf-8").split("Depends:", 1)[1].split("Recommends:", 1)[0]
    names = re.findall(r"^\s*([a-z0-9.+-]+)(?: \(.*\))?,?$", text, re.MULTILINE)
    return ["python3", *names]


def _mirrors() -> list[str]:
    """This machine's Debian mirrors, the main one first. Raises NotHere."""
    told = _run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages")
    sites = [line.split()[0] for line in told.splitlines() if " " in line]
    debian = list(dict.fromkeys(site for site in sites if "debian" in site))
    if not debian:
        raise NotHere("apt knows no Debian mirror on this machine")
    return sorted(debian, key=lambda site: "security" in site)


def _acquire_options() -> str:
    """How this machine's apt downloads: proxies, certificates, what it insists on."""
    told = _run("apt-config", "dump")
    kept = [line for line in told.splitlines() if re.match(r"Acquire::(http|https|Check)", line)]
    return "\n".join(kept) + "\n"


def _inside(root: Path, *command: str) -> None:
    _run(
        *("systemd-nspawn", "-q", "--register=no", "--keep-unit", "--pipe", "-D", str(root)),
        *("--setenv=DEBIAN_FRONTEND=noninteractive", "--resolv-conf=replace-host"),
        *command,
    )


def _nspawn_true(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-nspawn", "-q", "--register=no", "--keep-unit", "-D", str(root), "/bin/true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _run(*command: str) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise NotHere(f"{' '.join(command[:3])} failed with {done.returncode}:\n{said}")
    return done.stdout
