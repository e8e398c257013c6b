"""The cache of compiled kernels: its folder, its limit, its command, and what makes a new entry."""

import os
import stat
import tempfile

import numpy as np
import pytest
from compiler import needs_compiler

from embag_edu.cuda_on_cpu import RawKernel, cache, compilers
from embag_edu.cuda_on_cpu.included import included


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBAG_CACHE", str(tmp_path / "cache"))
    cache._temporary.cache_clear()
    yield tmp_path / "cache"
    cache._temporary.cache_clear()


def put(name, size, moment):
    """An entry of so many bytes, last used at `moment`."""
    entry = cache.cached(name, lambda made: (made / "kernel").write_bytes(bytes(size)))
    os.utime(entry, (moment, moment))
    return entry


def names():
    return [entry.name for _, _, entry in cache.entries()]


def test_the_entry_that_was_used_last_goes_last():
    for k in range(4):
        put(f"k{k}", 1000, 1000 + k)
    cache.cached("k0", None)  # found, so it is not made again; now it is the newest
    assert names() == ["k1", "k2", "k3", "k0"]
    assert cache.shrink(limit=2500) == 2 and names() == ["k3", "k0"]
    assert cache.shrink(limit=2500) == 0


def test_the_limit_is_kept(monkeypatch):
    monkeypatch.setattr(cache, "LIMIT", 5000)
    monkeypatch.setattr(cache, "_made", 0)
    for k in range(3 * cache._EVERY + 1):
        cache.cached(f"k{k}", lambda made: (made / "kernel").write_bytes(bytes(1000)))
    assert sum(size for _, size, _ in cache.entries()) <= 5000
    assert f"k{3 * cache._EVERY}" in names()


def test_the_command(capsys, folder):
    assert cache.main([]) == 0 and ": 0 entries, 0.0 MiB" in capsys.readouterr().out
    put("k", 3 << 20, 1)
    (folder / "mine").mkdir()
    (folder / "mine" / "text").write_text("no entry: it must stay")
    (folder / "new-12345678").mkdir()  # left by a process that was ended
    os.utime(folder / "new-12345678", (1, 1))
    assert cache.main([]) == 0
    shown = capsys.readouterr().out
    assert f"{folder}: 2 entries, 3.0 MiB" in shown and "--empty" in shown and names()
    assert cache.main(["--empty"]) == 0 and "removed: 2" in capsys.readouterr().out
    assert names() == [] and (folder / "mine" / "text").exists()


@pytest.fixture
def no_home(tmp_path, monkeypatch):
    """A home that cannot be written, and a folder that all users share."""
    monkeypatch.delenv("EMBAG_CACHE")
    (tmp_path / "home").write_text("not a folder")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    return shared


needs_users = pytest.mark.skipif(not hasattr(os, "getuid"), reason="one user has one folder here")


@needs_users
def test_without_a_home_the_folder_is_ours_alone(no_home):
    found = cache.folder()
    assert found.parent == no_home and found == cache.folder()
    assert stat.S_IMODE(found.stat().st_mode) == 0o700 and found.stat().st_uid == os.getuid()


@needs_users
def test_a_user_whom_the_system_does_not_know_has_no_home_at_all(no_home, monkeypatch):
    """As in containers that run under any number: no HOME, and no entry among the users."""
    monkeypatch.delenv("HOME")

    def unknown():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(cache.Path, "home", unknown)
    ours = cache.folder()
    assert ours.parent == no_home
    zigs = compilers.environment(["python", "-m", "ziglang", "c++"])["ZIG_GLOBAL_CACHE_DIR"]
    assert zigs == str(ours / "zig")


@needs_users
@pytest.mark.parametrize("planted", ["open", "link", "file", "another's"])
def test_a_folder_that_another_user_may_have_planted_is_not_taken(no_home, planted, monkeypatch):
    usual = no_home / f"embag_edu_{os.getuid()}"
    if planted == "open":
        usual.mkdir()
        usual.chmod(0o777)
    elif planted == "link":
        (no_home / "evil").mkdir(mode=0o700)
        usual.symlink_to(no_home / "evil")
    elif planted == "file":
        usual.write_text("")
    else:
        usual.mkdir(mode=0o700)
        (no_home / f"embag_edu_{os.getuid() + 1}").mkdir(mode=0o700)
        user = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: user)
        usual = no_home / f"embag_edu_{user}"
    found = cache.folder()
    assert found != usual and found.parent == no_home and not found.is_symlink()
    assert stat.S_IMODE(found.stat().st_mode) == 0o700 and found == cache.folder()


# ---- what a library was made from ----


@needs_compiler
def test_an_included_file_that_was_edited_is_compiled_again(tmp_path):
    """Also one that an included file includes, and one that comes to lie earlier in the path."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    (second / "sub").mkdir(parents=True)
    (second / "outer.h").write_text('#include "sub/inner.h"\n')
    code = """
    #include <outer.h>
    extern "C" __global__ void k(int* y) { y[0] = VALUE; }
    """

    def value():
        y = np.zeros(1, np.int32)
        RawKernel(code, "k", (f"-I{first}", f"-I{second}"))((1,), (1,), (y,))
        return int(y[0])

    (second / "sub" / "inner.h").write_text("#define VALUE 1")
    assert value() == 1
    (second / "sub" / "inner.h").write_text("#define VALUE 2")
    assert value() == 2
    (first / "outer.h").write_text("#define VALUE 3")
    assert value() == 3


def test_included(tmp_path):
    (tmp_path / "a.h").write_text("# include <b.h>\n#include <absent.h>")
    (tmp_path / "b.h").write_text('  #include "a.h"')  # in a circle
    found = included('//\n#include "a.h"', ["-DX", f"-I{tmp_path}"])
    assert sorted(path.name for path in found) == ["a.h", "b.h"]
    assert included('#include "a.h"', []) == {}
