"""What is released: the files of the wheel and of the source distribution, and what they say."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import embag_edu

ROOT = Path(__file__).resolve().parents[1]
VERSION = embag_edu.__version__
BUILD = """
import sys
sys.path[:0] = [".ci"]
import backend
out = sys.argv[1]  # setuptools writes words of its own there
backend.build_sdist(out)
backend.build_wheel(out)
"""


def tracked(*folders):
    """The files of these folders, as git would have them in a commit."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *folders]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    if done.returncode:
        pytest.skip("which files belong to the project is asked of git, and this is no clone")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(names in the wheel, names in the source distribution, the wheel's metadata)"""
    project, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("dist")
    for name in tracked("."):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-c", BUILD, str(out)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (project / "embag_edu" / "_book").exists()
    with zipfile.ZipFile(out / f"embag_edu-{VERSION}-py3-none-any.whl") as wheel:
        info = f"embag_edu-{VERSION}.dist-info"
        metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
        in_wheel = set(wheel.namelist())
    with tarfile.open(out / f"embag_edu-{VERSION}.tar.gz") as source:
        in_source = {m.name.partition("/")[2] for m in source.getmembers() if m.isfile()}
    return in_wheel, in_source, metadata


def test_the_wheel_holds_the_package_the_book_and_the_licenses_and_no_more(built):
    book = {f"embag_edu/_{name}" for name in tracked("book") if "/teaching/" not in name}
    book |= {"embag_edu/_book/teaching/AGENTS.md"}  # goes with each release of a course
    info = f"embag_edu-{VERSION}.dist-info/"
    of_the_installer = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt")
    licenses = ("licenses/LICENSE", "licenses/LICENSE-TEXT")
    wanted = (
        tracked("embag_edu", "pytest_embedding_bag.py")
        | book
        | {info + n for n in (*of_the_installer, *licenses)}
    )
    assert sorted(built[0] ^ wanted) == []
    kinds = {name.rpartition(".")[2] for name in built[0]}
    assert {"cu", "cuh", "cpp", "h", "gz", "json", "md", "ipynb", "svg"} <= kinds


def test_the_source_distribution_builds_and_tests_the_project(built):
    left_out = {".gitignore", ".gitattributes", "MANIFEST.in"}
    wanted = {
        n for n in tracked(".") if not re.match(r"\.(github|devcontainer)/|\.dockerignore", n)
    } - left_out
    made = {"PKG-INFO", "setup.cfg", "MANIFEST.in"}
    got = {name for name in built[1] if "egg-info/" not in name}
    assert sorted(got ^ (wanted | made)) == []


def test_the_version_is_written_in_one_place(built):
    assert built[2]["Version"] == VERSION
    places = [
        name
        for name in tracked("embag_edu", "pyproject.toml", "CITATION.cff", "run.py")
        if re.search(rf"version[_\w]* *[=:] *\"?{re.escape(VERSION)}\b", _text(name))
    ]
    assert places == ["embag_edu/__init__.py"]


def _text(name):
    return (ROOT / name).read_bytes().decode("utf-8", errors="replace")


def test_the_changelog_knows_the_version():
    headings = re.findall(r"^## \[(.+?)\]", _text("CHANGELOG.md"), re.M)
    assert VERSION in headings or f"To become {VERSION}." in _text("CHANGELOG.md")
    assert headings[0] == "Unreleased"


def test_the_metadata_name_a_license_and_the_pythons(built):
    metadata = built[2]
    assert metadata["License-Expression"] == "BSD-3-Clause"
    requires = tomllib.loads(_text("pyproject.toml"))["project"]["requires-python"]
    assert set(metadata["Requires-Python"].split(",")) == set(requires.split(","))
    assert metadata["Description-Content-Type"].startswith("text/markdown")
