"""Reading API keys from files, and only from files that nobody else can read or change."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from ordergate.errors import InputError

__all__ = ["read_key_file"]

_LONGEST: Final = 16_384


def read_key_file(path: Path) -> str:
    """The text of a key file. Raises InputError, which never shows what stands in it, unless it is a regular file of
    this user with mode 0600 (or 0400).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError("key_file", str(path), "there is no such file; put the key there, with mode 0600") from None
    except OSError as error:
        fix = "a symbolic link is not followed; name the file itself" if path.is_symlink() else str(error.strerror)
        raise InputError("key_file", str(path), fix) from None
    try:
        fix = _flaw(os.fstat(descriptor), path)
        if fix:
            raise InputError("key_file", str(path), fix)
        data = os.read(descriptor, _LONGEST + 1)
    finally:
        os.close(descriptor)
    if len(data) > _LONGEST:
        raise InputError("key_file", str(path), f"it is longer than {_LONGEST} bytes, so it is no key file")
    try:
        return data.decode("utf-8-sig")  # some editors put a mark in front that nobody sees
    except UnicodeDecodeError:
        raise InputError("key_file", str(path), "it is not text; put the key there as the venue shows it") from None


def _flaw(found: os.stat_result, path: Path) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "it is no regular file; name the file itself"
    if found.st_uid != os.geteuid():
        return f"it belongs to user {found.st_uid}, not to this one ({os.geteuid()}); `chown` it"
    if found.st_mode & 0o177:
        return f"its mode is {stat.S_IMODE(found.st_mode):04o}, so others may reach it; `chmod 600 {path}`"
    return ""
