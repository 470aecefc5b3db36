"""The disk's figures are df's, and each fault is told from the others, on real file systems."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.recordings.disk import DiskStatus, look, missing_mount

NO_FSTAB = Path("/nonexistent/fstab")
MIB = 1024 * 1024


class MountedDisk:
    """A real file system of one MiB and a bit, that a test may fill and freeze."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", str(self.path)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.decode().strip()}")

    def remount_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[MountedDisk]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    path = tmp_path / "disk"
    path.mkdir()
    yield MountedDisk(path)
    if os.path.ismount(path):
        subprocess.run(["umount", "-l", str(path)], check=True)


def fstab(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "fstab"
    path.write_text("# a comment\n\nproc /proc proc defaults 0 0\n" + "\n".join(lines) + "\n")
    return path


def test_a_usual_disk_has_the_figures_that_df_shows(tmp_path: Path) -> None:
    found = look(tmp_path, None, NO_FSTAB)
    df = subprocess.run(
        ["df", "-B1", "--output=pcent,size,avail", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    percent, size, free = df.stdout.splitlines()[1].replace("%", "").split()
    assert (found.status, found.reason) == (DiskStatus.NORMAL, "")
    assert found.size_bytes == int(size)
    assert found.free_bytes == pytest.approx(int(free), rel=0.05)
    assert found.percent == pytest.approx(int(percent), abs=2)


def test_a_disk_without_room_is_full(disk: MountedDisk) -> None:
    disk.mount("size=4m")
    assert look(disk.path, None, NO_FSTAB).status is DiskStatus.NORMAL
    (disk.path / "a.wav").write_bytes(bytes(3 * MIB + 4096))
    found = look(disk.path, None, NO_FSTAB)
    assert found.status is DiskStatus.FULL
    assert 76 <= found.percent <= 77
    assert found.size_bytes == 4 * MIB
    assert str(found.free_bytes) in found.reason


def test_a_disk_without_inodes_is_full_though_it_has_room(disk: MountedDisk) -> None:
    disk.mount("size=4m,nr_inodes=3")
    (disk.path / "1").touch()
    (disk.path / "2").touch()
    found = look(disk.path, None, NO_FSTAB)
    assert (found.status, found.percent) == (DiskStatus.FULL, 0)
    assert "inode" in found.reason


def test_a_disk_that_does_not_count_inodes_is_not_full(disk: MountedDisk) -> None:
    disk.mount("size=4m,nr_inodes=0")
    assert look(disk.path, None, NO_FSTAB).status is DiskStatus.NORMAL


def test_a_read_only_disk_is_not_writable_and_still_measured(disk: MountedDisk) -> None:
    disk.mount("size=4m")
    disk.remount_read_only()
    found = look(disk.path, None, NO_FSTAB)
    assert (found.status, found.size_bytes) == (DiskStatus.NOT_WRITABLE, 4 * MIB)
    assert "read-only" in found.reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_of_someone_else_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    assert look(tmp_path / "locked", None, NO_FSTAB).status is DiskStatus.NOT_WRITABLE


def test_a_missing_directory_is_no_disk(tmp_path: Path) -> None:
    found = look(tmp_path / "missing", None, NO_FSTAB)
    assert (found.status, found.size_bytes) == (DiskStatus.NO_DISK, 0)
    assert "missing does not exist" in found.reason


def test_a_file_in_the_directorys_place_is_no_disk(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert look(tmp_path / "file" / "below", None, NO_FSTAB).status is DiskStatus.NO_DISK
    assert look(tmp_path / "file", None, NO_FSTAB).status is not DiskStatus.NORMAL


def test_a_mount_of_fstab_that_is_not_there_is_not_mounted(tmp_path: Path) -> None:
    table = fstab(tmp_path, f"server:/share {tmp_path} nfs defaults 0 0")
    found = look(tmp_path, None, table)
    assert (found.status, found.size_bytes) == (DiskStatus.NOT_MOUNTED, 0)
    assert str(tmp_path) in found.reason


@pytest.mark.parametrize(
    "device", ["/dev/sdq1", "UUID=1234-ABCD", 'LABEL="recordings"', "PARTUUID=0e1b"]
)
def test_a_mount_whose_device_is_missing_is_no_disk(tmp_path: Path, device: str) -> None:
    devices = tmp_path / "dev"
    for kind in ("uuid", "label", "partuuid"):
        (devices / "disk" / f"by-{kind}").mkdir(parents=True)
    table = fstab(tmp_path, f"{device} {tmp_path} ext4 defaults 0 2")
    assert look(tmp_path, None, table, devices=devices).status is DiskStatus.NO_DISK
    for name in ("sdq1", "disk/by-uuid/1234-ABCD", "disk/by-label/recordings"):
        (devices / name).touch()
    (devices / "disk/by-partuuid/0e1b").touch()
    assert look(tmp_path, None, table, devices=devices).status is DiskStatus.NOT_MOUNTED


def test_the_nearest_mount_point_of_fstab_counts(tmp_path: Path) -> None:
    inner = tmp_path / "with blank" / "recordings"
    inner.mkdir(parents=True)
    escaped = str(tmp_path / "with blank").replace(" ", "\\040")
    table = fstab(
        tmp_path,
        "/dev/mmcblk0p1 / ext4 defaults 0 1",
        f"a:/x {tmp_path} nfs defaults 0 0",
        f"b:/y {escaped} nfs defaults 0 0",
        f"c:/z {tmp_path}/with nfs defaults 0 0",
    )
    assert "with blank" in look(inner, None, table).reason


def test_a_mount_that_is_made_by_hand_may_be_absent(tmp_path: Path) -> None:
    by_hand = f"a:/x {tmp_path} nfs noauto 0 0"
    assert look(tmp_path, None, fstab(tmp_path, by_hand)).status is DiskStatus.NORMAL
    on_demand = f"a:/x {tmp_path} nfs noauto,x-systemd.automount 0 0"
    assert look(tmp_path, None, fstab(tmp_path, on_demand)).status is DiskStatus.NOT_MOUNTED


def test_the_configured_mount_point_counts_more_than_fstab(tmp_path: Path) -> None:
    (tmp_path / "usb").mkdir()
    table = fstab(tmp_path, f"/dev/sdq1 {tmp_path}/usb vfat noauto 0 0")
    found = look(tmp_path, str(tmp_path / "usb"), table, devices=tmp_path)
    assert (found.status, "/dev/sdq1" in found.reason) == (DiskStatus.NO_DISK, True)


def test_a_mount_that_is_there_is_looked_at(disk: MountedDisk, tmp_path: Path) -> None:
    table = fstab(tmp_path, f"none {disk.path} tmpfs defaults 0 0")
    assert look(disk.path, None, table).status is DiskStatus.NOT_MOUNTED
    disk.mount("size=4m")
    found = look(disk.path, None, table)
    assert (found.status, found.size_bytes) == (DiskStatus.NORMAL, 4 * MIB)


def test_a_link_to_the_disk_is_the_disk(disk: MountedDisk, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(disk.path)
    table = fstab(tmp_path, f"none {disk.path} tmpfs defaults 0 0")
    assert look(tmp_path / "link", None, table).status is DiskStatus.NOT_MOUNTED
    disk.mount("size=4m")
    assert look(tmp_path / "link", None, table).size_bytes == 4 * MIB


def test_an_automount_that_nobody_woke_is_not_mounted(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    line = f"30 1 0:26 / {tmp_path} rw,relatime shared:9 - {{}} source rw\n"
    mounts.write_text(line.format("autofs"))
    assert look(tmp_path, str(tmp_path), NO_FSTAB, mounts).status is DiskStatus.NOT_MOUNTED
    mounts.write_text(line.format("autofs") + line.format("ext4"))
    assert look(tmp_path, str(tmp_path), NO_FSTAB, mounts).status is DiskStatus.NORMAL


def test_garbage_in_the_tables_is_passed_over(tmp_path: Path) -> None:
    table = tmp_path / "fstab"
    table.write_bytes(b"\xff\xfe\0 /\n/dev/x\n a b\n" + bytes(range(256)))
    assert look(tmp_path, None, table).status is DiskStatus.NORMAL


def test_a_mount_that_should_be_there_and_is_not_is_told_of_a_directory_not_made_yet(
    tmp_path: Path,
) -> None:
    """So nothing is begun below it that the disk will cover."""
    point = tmp_path / "data"
    table = fstab(tmp_path, f"tmpfs {point} tmpfs defaults 0 0")
    absent = missing_mount(point / "state", None, table)
    assert absent is not None
    assert absent.status is DiskStatus.NOT_MOUNTED
    assert str(point) in absent.reason
    assert missing_mount(tmp_path / "elsewhere", None, table) is None
