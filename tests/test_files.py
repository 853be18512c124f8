"""Files appear whole or not at all, whatever stands in their place and however little room there is."""

import errno
import io
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import room_for

from snn_codec import files
from snn_codec.errors import UserError
from snn_codec.files import (
    NewFile,
    below,
    cannot_write,
    check_writable,
    exclusive,
    make_folder,
    new_folder,
    replacing,
    script_json,
)


def put(path, content=b"new", **options):
    with replacing(path, **options) as temporary:
        temporary.write_bytes(content)


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path and temporary.suffix == ".bin" and not path.exists()
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files as Linux lists them")
def test_no_file_stays_open(tmp_path):
    before = os.listdir("/proc/self/fd")
    for number in range(5):
        put(tmp_path / f"{number}.bin")
    assert len(os.listdir("/proc/self/fd")) == len(before)


@pytest.mark.parametrize("links", [True, False])
def test_what_has_come_meanwhile_is_not_replaced(tmp_path, monkeypatch, links):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    target = tmp_path / "a.txt"
    with pytest.raises(UserError, match=r"a\.txt: exists .*--force"), replacing(target) as temporary:
        temporary.write_text("ours")
        target.write_text("theirs")
    assert target.read_text() == "theirs" and os.listdir(tmp_path) == ["a.txt"]
    with replacing(tmp_path / "b.txt") as temporary:
        temporary.write_text("ours")
    assert (tmp_path / "b.txt").read_text() == "ours" and sorted(os.listdir(tmp_path)) == ["a.txt", "b.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path, force=True) as temporary:
        temporary.write_bytes(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_what_exists_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(UserError, match="a.bin: exists already; use --force"):
        put(path)
    put(path, force=True)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "is a folder; give a file name"),
        ("none/a.bin", "its folder does not exist"),
        ("file/a.bin", "its folder does not exist"),
        ("x" * 300, "cannot be written"),
        ("circle", "cannot be written"),
        ("nowhere", "its folder does not exist"),
        ("a\0b", "cannot be written"),
    ],
)
def test_impossible_places_are_refused_in_one_sentence(tmp_path, name, words):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none" / "b.bin")
    with pytest.raises(UserError, match=words):
        check_writable(tmp_path / name)


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "deep").mkdir()
    target, link = tmp_path / "deep" / "target.bin", tmp_path / "link.bin"
    link.symlink_to(target)
    put(link)  # nothing is there yet
    with pytest.raises(UserError, match="link.bin: exists already"):
        put(link)
    put(link, b"newer", force=True)
    assert link.is_symlink() and target.read_bytes() == b"newer"
    assert list((tmp_path / "deep").iterdir()) == [target]


@pytest.mark.parametrize("force", [False, True])
def test_a_pipe_is_written_to(tmp_path, force):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    listener = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    listener.start()
    put(pipe, b"sound", force=force)
    listener.join(20)
    assert got == [b"sound"] and stat.S_ISFIFO(pipe.stat().st_mode) and list(tmp_path.iterdir()) == [pipe]


def test_devices_are_written_to_and_stay(tmp_path):
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    put(link, force=True)
    assert link.is_symlink() and stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(UserError, match="/dev/full: cannot be written, the disk is full; make room"):
        put("/dev/full")


def test_a_socket_is_not_replaced(tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(tmp_path / "socket"))
        with pytest.raises(UserError, match="socket, which is not replaced"):
            put(tmp_path / "socket", force=True)


def test_a_file_that_has_no_room_is_one_sentence_and_leaves_nothing(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with room_for(1000), pytest.raises(UserError, match="a.bin: cannot be written, the file is larger than"):
        put(path, bytes(5000), force=True)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_wherever_the_system_says_so(tmp_path, monkeypatch, code):
    """In the block, or when the data is flushed at its end."""

    def full(*arguments):
        raise OSError(code, "")

    with pytest.raises(UserError, match="cannot be written, the disk"), replacing(tmp_path / "a.bin"):
        full()
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UserError, match="cannot be written, the disk"):
        put(tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_what_the_system_says_is_passed_on():
    error = cannot_write("a.bin", OSError(errno.EIO, "Input/output error"))
    assert str(error) == "a.bin: cannot be written (Input/output error); choose another folder"


@pytest.mark.parametrize("room", [0, 40, 150, 10_000])
def test_what_no_longer_fits_is_read_back_from_memory(tmp_path, room):
    random, expected = np.random.default_rng(room), io.BytesIO()
    with open(tmp_path / "a.bin", "w+b", buffering=0) as raw, room_for(room):
        file = NewFile(raw)
        for start in random.integers(0, 250, 60):
            data = random.bytes(random.integers(1, 40))
            for each in (file, expected):
                each.seek(start)
                each.write(data)
        for start, size in random.integers(0, 320, (60, 2)):
            assert file.seek(start) == start == expected.seek(start)
            assert file.read(size) == expected.read(size) and file.tell() == expected.tell()
        assert file.seek(0, os.SEEK_END) == expected.seek(0, os.SEEK_END)
        assert file.seek(-9, os.SEEK_CUR) == expected.seek(-9, os.SEEK_CUR)
        assert file.read() == expected.read()
        if room < 300:
            with pytest.raises(OSError, match="File too large"):
                file.check()
        else:
            file.check()
            assert (tmp_path / "a.bin").read_bytes() == expected.getvalue()


def test_other_errors_of_the_block_are_its_own(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.bin"):
        open(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_made_with_those_above_it(tmp_path):
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b" == make_folder(tmp_path / "a" / "b")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="file: cannot be made, it is a file; give a folder"):
        make_folder(tmp_path / "file")
    with pytest.raises(UserError, match="c: cannot be made"):
        make_folder(tmp_path / "file" / "c")


def test_a_folder_that_stays_empty_is_taken_away_with_those_made_for_it(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("mine", "mine/a/b"):
        with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / name):
            raise KeyboardInterrupt
    assert [*tmp_path.rglob("*")] == [tmp_path / "mine"]
    with new_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").touch()
    assert (tmp_path / "a" / "b" / "file").exists()
    with pytest.raises(UserError, match="it is a file"), new_folder(tmp_path / "a" / "b" / "file"):
        pass
    assert (tmp_path / "a" / "b" / "file").exists()


def test_folders_are_searched_through_links_and_once(tmp_path):
    for name in ("in/a.WAV", "in/b.txt", "in/.hidden.wav", "elsewhere/deep/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "folder.wav").mkdir()
    found = below(tmp_path / "in", (".wav",))
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["in/a.WAV", "in/link/deep/c.wav"]


def test_of_several_links_to_a_folder_the_first_by_name_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.wav").touch()
    (tmp_path / "in").mkdir()
    names = [f"link{number:02d}" for number in range(40)]
    for name in names[::-1]:
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere")
    assert below(tmp_path / "in", (".wav",)) == [tmp_path / "in" / names[0] / "c.wav"]


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    (tmp_path / "in" / "mine").mkdir(parents=True)
    (tmp_path / "in" / "theirs").mkdir()
    listed = os.scandir

    def refused(path):  # the tests may be run by root, who may read all
        if Path(path).name == "theirs":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(UserError, match=r"theirs: cannot be read \(Permission denied\)"):
        below(tmp_path / "in", (".wav",))
    assert below(tmp_path / "in" / "mine", (".wav",)) == []


def test_pipes_in_a_folder_are_passed_over(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    os.symlink(tmp_path / "gone", tmp_path / "b.wav")
    (tmp_path / "c.wav").touch()
    assert [path.name for path in below(tmp_path, (".wav",))] == ["b.wav", "c.wav"]


HOLD = """
import sys, time
from snn_codec.files import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("locks", [True, False])
def test_a_lock_is_one_process_s_until_it_ends(tmp_path, monkeypatch, locks):
    """With the locks of the file system, and (where flock says errno 37) with the file itself."""
    code = HOLD
    if not locks:
        code = (
            "import fcntl\ndef flock(*a): raise OSError(37, 'No locks available')\nfcntl.flock = flock\n"
            + HOLD
        )
        monkeypatch.setattr(files, "_has_locks", lambda folder: False)
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(files.__file__).parent.parent) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process is at work there"), exclusive(tmp_path / "lock"):
            pass
        process.kill()
        process.wait()
    with exclusive(tmp_path / "lock", wait=True), pytest.raises(UserError), exclusive(tmp_path / "lock"):
        pass
    with exclusive(tmp_path / "lock"):
        pass


def test_a_lock_is_waited_for(tmp_path):
    order = []

    def first():
        with exclusive(tmp_path / "lock"):
            order.append("first")
            held.set()
            time.sleep(0.2)
            order.append("end of first")

    held = threading.Event()
    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(20)
    with exclusive(tmp_path / "lock", wait=True):
        order.append("second")
    thread.join()
    assert order == ["first", "end of first", "second"]


def test_a_lock_that_cannot_be_made_is_named(tmp_path):
    with pytest.raises(UserError, match="lock: cannot be written"), exclusive(tmp_path / "none" / "lock"):
        pass


@pytest.mark.parametrize("text", ["<!--<script>", "A <b> & c</script>", "]]><!--"])
def test_json_in_a_page_has_nothing_that_a_page_takes_for_its_own(text):
    written = script_json({"title": text})
    assert "<" not in written and json.loads(written) == {"title": text}
    with pytest.raises(ValueError, match="JSON"):
        script_json(float("nan"))


def test_json_has_null_where_there_is_no_number():
    value = {"a": [1, float("nan"), (2.5, float("inf"))], "b": np.float64("nan"), "c": "nan", "d": True}
    assert files.without_nan(value) == {"a": [1, None, [2.5, None]], "b": None, "c": "nan", "d": True}
