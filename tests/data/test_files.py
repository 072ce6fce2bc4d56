"""Files that are written: through links, to pipes and terminals, whole, and with what they were."""

import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mcmargin.data import files
from mcmargin.data.files import check_destination, write_atomically, write_text, write_together
from mcmargin.errors import DataError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes of Unix")


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# Links ------------------------------------------------------------------------------------------


def test_a_link_stays_and_what_it_leads_to_is_renewed(tmp_path):
    (tmp_path / "days").mkdir()
    dated, latest = tmp_path / "days" / "dated.json", tmp_path / "latest.json"
    dated.write_bytes(b"old")
    latest.symlink_to(Path("days", "dated.json"))
    (tmp_path / "second.json").symlink_to("latest.json")
    write_atomically(tmp_path / "second.json", b"new")
    assert dated.read_bytes() == b"new"
    assert os.readlink(latest) == "days/dated.json"
    assert os.readlink(tmp_path / "second.json") == "latest.json"
    assert names(tmp_path / "days") == ["dated.json"]


def test_a_link_to_no_file_yet_makes_the_file(tmp_path):
    (tmp_path / "latest").symlink_to("dated")
    write_atomically(tmp_path / "latest", b"new")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "dated").read_bytes() == b"new"


def test_links_that_lead_nowhere_are_refused_and_stay(tmp_path):
    (tmp_path / "round").symlink_to("round")
    (tmp_path / "away").symlink_to("no/such/folder")
    with pytest.raises(DataError, match=r"round: cannot be written .Too many levels of symbolic"):
        write_atomically(tmp_path / "round", b"new")
    with pytest.raises(DataError, match=r"away: cannot be written .no folder .*no/such; make it"):
        check_destination(tmp_path / "away")
    assert names(tmp_path) == ["away", "round"]


def test_a_link_to_an_input_is_that_input(tmp_path):
    (tmp_path / "prices").write_bytes(b"1")
    (tmp_path / "link").symlink_to("prices")
    with pytest.raises(DataError, match="link: is read, too, and would be overwritten"):
        check_destination(tmp_path / "link", inputs=(tmp_path / "prices",))


# What is no file --------------------------------------------------------------------------------


def written_by_another(path, content, **options):
    """Write in a process of its own, whose open files are its own."""
    code = "import sys; from pathlib import Path; from mcmargin.data.files import write_atomically;"
    code += "print('before'); write_atomically(Path(sys.argv[1]), sys.argv[2].encode())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), content], check=False, timeout=30, **options
    )
    return done.returncode


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="the files of Linux")
@pytest.mark.parametrize("mode", ["w", "a"])
def test_an_open_file_is_written_to_after_what_it_holds(tmp_path, mode):
    """As `-o /dev/stdout > log` and `>> log`; the link is our own, so that no root loses one."""
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")
    log = tmp_path / "log"
    log.write_text("earlier\n")
    with open(log, mode) as file:
        assert written_by_another(tmp_path / "stdout", "report\n", stdout=file) == 0
        subprocess.run(["echo", "after"], stdout=file, check=True)
    earlier = "earlier\n" if mode == "a" else ""
    assert log.read_text() == f"{earlier}before\nreport\nafter\n"
    assert (tmp_path / "stdout").is_symlink()
    assert names(tmp_path) == ["log", "stdout"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="the files of Linux")
def test_the_open_file_of_another_process_gets_it_at_its_end(tmp_path):
    """As a job in a container writes to /proc/1/fd/1."""
    log = tmp_path / "log"
    log.write_text("earlier\n")
    with log.open("a") as file, subprocess.Popen(["sleep", "30"], stdout=file) as other:
        write_atomically(Path(f"/proc/{other.pid}/fd/1"), b"report\n")
        other.kill()
    assert log.read_text() == "earlier\nreport\n"


def test_a_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    content = bytes(range(256)) * 2000  # more than a pipe holds
    write_atomically(pipe, content)
    reader.join(10)
    assert read == [content]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_whose_reader_has_gone(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError):
            write_atomically(Path(f"/dev/fd/{writing}"), b"x")
    finally:
        os.close(writing)


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="the files of Linux")
def test_a_file_that_is_open_for_reading_is_refused_before_the_work(tmp_path):
    (tmp_path / "read").write_bytes(b"old")
    with open(tmp_path / "read", "rb") as file:
        for folder in ("/dev/fd", "/proc/self/fd"):
            with pytest.raises(DataError, match="open for reading only"):
                check_destination(f"{folder}/{file.fileno()}")
    assert (tmp_path / "read").read_bytes() == b"old"


def test_a_device_takes_anything_and_stays(tmp_path):
    """A null device of our own where root runs this: a fault must cost no machine its /dev/null."""
    null = tmp_path / "null"
    if os.geteuid() == 0:
        try:
            os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))
            null.read_bytes()
        except OSError:
            pytest.skip("no device can be made here")
    else:
        null = Path(os.devnull)
    (tmp_path / "link").symlink_to(null)
    write_atomically(tmp_path / "link", b"anything")
    assert (tmp_path / "link").is_symlink()
    assert stat.S_ISCHR(null.stat().st_mode)


def test_folders_and_sockets_are_refused(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        for name in ("folder", "socket"):
            with pytest.raises(DataError, match=f"{name}: .*exists and is not a file"):
                check_destination(name)


# Permissions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
def test_a_renewed_file_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "model.npz"
    path.write_bytes(b"old")
    path.chmod(mode)
    write_atomically(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_follows_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "model.npz", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.npz").stat().st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_renewed_file_keeps_its_owner(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(b"old")
    os.chown(path, 12345, 54321)
    path.chmod(0o640)
    write_atomically(path, b"new")
    now = path.stat()
    assert (now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)) == (12345, 54321, 0o640)


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="the attributes of Linux")
def test_a_renewed_file_keeps_its_attributes(tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.source", b"exchange")
    except OSError:
        pytest.skip("this file system has no attributes")
    write_atomically(path, b"new")
    assert os.getxattr(path, "user.source") == b"exchange"


# Whole or not at all, and nothing left ----------------------------------------------------------


def test_the_folder_is_synced_after_the_rename(tmp_path, monkeypatch):
    """Without it the new name may be lost with the power, though the file was synced."""
    done = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor):
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real_sync(descriptor)

    def replace(source, target):
        done.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomically(tmp_path / "m", b"new")
    assert done == ["file", "rename", "folder"]


def test_of_several_files_all_are_renewed_or_none(tmp_path, monkeypatch):
    """A disk that is full at the second leaves the first as it was, too."""
    before = {tmp_path / name: b"old" for name in "abc"}
    for path, content in before.items():
        path.write_bytes(content)
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DataError, match=r"b: cannot be written .No space left"):
            write_together(dict.fromkeys(before, b"new"))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_together(dict.fromkeys(before, b"new"))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(before, b"new")


WRITER = """
import os, sys
from pathlib import Path
from mcmargin.data.files import write_atomically

def stopped(*_):
    print("here", flush=True)
    sys.stdin.read()

os.fsync = stopped
write_atomically(Path(sys.argv[1]), b"unfinished")
"""


@pytest.fixture
def writer(tmp_path):
    """Another process in the middle of writing a file."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "theirs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout.readline() == b"here\n"
        yield process
        process.kill()


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path, writer):
    (tmp_path / ".mcmargin-00000000-1-cafe.tmp").write_bytes(b"of another machine")
    (tmp_path / ".mcmargin-notes.tmp").write_bytes(b"of somebody else")
    others = names(tmp_path)
    assert len(others) == 3
    write_atomically(tmp_path / "ours", b"new")
    assert names(tmp_path) == sorted([*others, "ours"])
    writer.kill()
    writer.wait()
    write_atomically(tmp_path / "ours", b"newer")
    assert names(tmp_path) == [".mcmargin-00000000-1-cafe.tmp", ".mcmargin-notes.tmp", "ours"]


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    real, first = files._lock, []

    def robbed(descriptor, *, wait):
        if not first:
            first.extend(tmp_path.glob(".mcmargin-*"))
            first[0].unlink()
        return real(descriptor, wait=wait)

    monkeypatch.setattr(files, "_lock", robbed)
    write_atomically(tmp_path / "m", b"new")
    assert first
    assert (tmp_path / "m").read_bytes() == b"new"
    assert names(tmp_path) == ["m"]


def test_half_a_surrogate_pair_is_written_as_its_code(tmp_path):
    write_text(tmp_path / "m", "日\ud800")
    assert (tmp_path / "m").read_text(encoding="utf-8") == "日\\ud800"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_told_to_end_removes_what_it_began(tmp_path, sent):
    """While `policy init` syncs its file."""
    code = """
import os, sys, time
from mcmargin.cli import main

def stopped(*_):
    print("here", flush=True)
    time.sleep(30)

os.fsync = stopped
main()
"""
    (tmp_path / "policy.toml").symlink_to("new.toml")
    with subprocess.Popen(
        [sys.executable, "-c", code, "policy", "init", "-o", "policy.toml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout.readline() == b"here\n"
        assert len(names(tmp_path)) == 2
        time.sleep(0.05)
        process.send_signal(sent)
        _, message = process.communicate(timeout=20)
    assert process.returncode == 128 + sent
    assert message.count(b"\n") == 1
    assert names(tmp_path) == ["policy.toml"]


@pytest.mark.skipif(not shutil.which("nohup"), reason="nohup is not here")
def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    code = "import signal\nfrom mcmargin.cli.printing import ending_in_order\n"
    code += "with ending_in_order(): print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    done = subprocess.run(
        ["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
