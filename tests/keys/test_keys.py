"""Keys are read only from files that nobody else can reach, and what stands in them is never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ordergate import InputError
from ordergate.keys import read_key_file

CANARY = "canary-5f1c-secret"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "venue.key"
    path.write_text(f"{CANARY}\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_file_of_ones_own_is_read(key: Path, mode: int) -> None:
    key.chmod(mode)
    assert read_key_file(key) == f"{CANARY}\n"


def test_an_editors_mark_in_front_is_no_part_of_the_key(key: Path) -> None:
    key.write_bytes(b"\xef\xbb\xbf" + CANARY.encode())
    assert read_key_file(key) == CANARY


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o700, 0o666, 0o610])
def test_g07_key_file_that_others_may_reach(key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(InputError, match=rf"key_file: .*{mode:04o}.*chmod 600") as raised:
        read_key_file(key)
    assert CANARY not in str(raised.value)


def _link(key: Path) -> Path:
    link = key.with_name("link.key")
    link.symlink_to(key)
    return link


def _pipe(key: Path) -> Path:
    pipe = key.with_name("pipe.key")
    os.mkfifo(pipe, 0o600)
    return pipe


def _long(key: Path) -> Path:
    key.write_text("x" * 20_000)
    return key


def _binary(key: Path) -> Path:
    key.write_bytes(b"\xff\xfe" + CANARY.encode())
    return key


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_link, "symbolic link"),
        (_pipe, "no regular file"),
        (lambda key: key.parent, "no regular file"),
        (lambda key: key.with_name("absent"), "there is no such file"),
        (_long, "longer than"),
        (_binary, "not text"),
    ],
    ids=["link", "pipe", "folder", "absent", "long", "binary"],
)
def test_g07_key_file_of_another_kind(key: Path, change: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        read_key_file(change(key))
    assert CANARY not in str(raised.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_g07_key_file_of_another_user(key: Path) -> None:
    os.chown(key, 12345, 12345)
    with pytest.raises(InputError, match="belongs to user 12345"):
        read_key_file(key)


def test_what_stands_in_a_key_file_is_in_no_traceback(key: Path) -> None:
    key.write_bytes(CANARY.encode() + b"\xff")
    key.chmod(0o600)
    code = f"from pathlib import Path; from ordergate.keys import read_key_file; read_key_file(Path({str(key)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not text" in done.stderr
    assert CANARY not in done.stderr
