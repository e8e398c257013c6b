"""ARCHITECTURE.md holds: who imports whom, nothing upwards, no circle, and the picture is true."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = importlib.util.spec_from_file_location("architecture", ROOT / ".ci" / "architecture.py")
architecture = importlib.util.module_from_spec(SCRIPT)
sys.modules["architecture"] = architecture
SCRIPT.loader.exec_module(architecture)
ROOMS = architecture.ROOMS
FILES = architecture.files()
OUTSIDE = architecture.outside()

# What still breaks a rule, each with its reason. It may only shrink.
NOT_YET: dict[tuple[str, str], str] = {}
# `import_module` of something that only a run knows, and what it imports.
ONLY_A_RUN_KNOWS = {
    "embag_edu.api": "one of IMPLEMENTATIONS; those that stand there are read",
    "embag_edu.beyond": "one of NAMES; those that stand there are read",
    "embag_edu.beyond.fused_api": "one of STEPS; those that stand there are read",
    "embag_edu.beyond.tables_api": "one of WAYS; those that stand there are read",
    "embag_edu.check.candidate": "the module of the user's arrays",
    "embag_edu.check.worker": "the module of the user's function",
    "embag_edu.web.conf": "a module of the API's pages: one of those in embag_edu.web.made",
    "embag_edu.web.made": "those that stand in API",
}


def allowed(importer, imported):
    mine, other = architecture.room_of(importer), architecture.room_of(imported)
    return mine == other or other in ROOMS[mine].ours.split()


def test_every_import_is_allowed():
    arrows = {(name, aim) for name, aims in FILES.items() for aim in aims}
    assert {arrow for arrow in arrows if not allowed(*arrow)} == set(NOT_YET)


def test_no_circle_between_files():
    assert architecture.circles(FILES) == []


def test_no_circle_between_rooms_but_for_the_list():
    graph = {name: aims - {b for a, b in NOT_YET if a == name} for name, aims in FILES.items()}
    assert architecture.circles(architecture.rooms(graph)) == []


def test_a_room_may_import_only_rooms_that_stand_before_it():
    assert {architecture.room_of(name) for name in FILES} == set(ROOMS)
    before = []
    for name, room in ROOMS.items():
        assert set(room.ours.split()) <= set(before), name
        before.append(name)


def test_the_library_does_not_know_the_book():
    wings = {name: room.wing for name, room in ROOMS.items()}
    for name, room in ROOMS.items():
        if room.wing == "library":
            assert {wings[other] for other in room.ours.split()} <= {"library"}, name


@pytest.mark.parametrize("room", ROOMS)
def test_packages_of_others(room):
    assert OUTSIDE[room] <= {"numpy", "?", *ROOMS[room].outside.split()}


def test_no_import_is_hidden_but_those_that_are_explained():
    known = architecture.modules()
    hidden = {name for name, path in known.items() if "?" in architecture.imported(path, known)}
    assert hidden == set(ONLY_A_RUN_KNOWS)


def test_picture_and_table_are_those_of_the_code():
    """If this fails: python .ci/architecture.py --write"""
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert page == architecture.written(page)


# ---- The reader of imports itself ----

HIDING_PLACES = {
    "import embag_edu.a": {"embag_edu.a"},
    "from embag_edu import a": {"embag_edu.a"},
    "from embag_edu.a import thing": {"embag_edu.a"},
    "def f():\n    from embag_edu import a": {"embag_edu.a"},
    "if TYPE_CHECKING:\n    import embag_edu.a": {"embag_edu.a"},
    "importlib.import_module('embag_edu.a')": {"embag_edu.a"},
    "importlib.import_module(f'embag_edu.b.{x}')": {"embag_edu.b.one", "embag_edu.b.two"},
    "import_module(f'embag_edu.{implementation}')": {"embag_edu.loops"},
    "import_module(name)": {"?"},
    "run([python, '-m', 'embag_edu.a'])": {"embag_edu.a"},
    "resolve_name('embag_edu.a:thing')": {"embag_edu.a"},
    "entry_points(group='embag_edu.a')": set(),
    "'''A sentence on embag_edu.a.'''": set(),
}


@pytest.mark.parametrize("code", HIDING_PLACES)
def test_imports_are_found_wherever_they_stand(tmp_path, code):
    package = tmp_path / "embag_edu"
    (package / "b").mkdir(parents=True)
    for name in ("__init__", "a", "loops", "b/__init__", "b/one", "b/two"):
        (package / f"{name}.py").touch()
    (package / "reader.py").write_text(code, encoding="utf-8")
    known = architecture.modules(tmp_path)
    found = set(architecture.imported(package / "reader.py", known))
    assert found & {*known, "?"} == HIDING_PLACES[code]


def test_an_entry_point_is_an_arrow_to_its_host(tmp_path):
    package = tmp_path / "embag_edu"
    package.mkdir()
    for name in ("__init__", "host", "guest"):
        (package / f"{name}.py").touch()
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nscripts = {word = "embag_edu.guest:main"}\n'
        '[project.entry-points."embag_edu.host"]\nguests = "embag_edu.guest"\n'
    )
    assert architecture.files(tmp_path)["embag_edu.guest"] == {"embag_edu.host"}


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}
    assert architecture.circles(graph) == [["b", "c"]]


def test_a_file_of_tests_is_named_after_its_room():
    """test_ROOM.py or test_ROOM_what.py; or after a chapter, or what belongs to no room."""
    others = "architecture book browser chapter implementations pages release setup".split()
    stems = [path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")]
    rooms = tuple(f"{name}_" for name in (*ROOMS, *others))
    assert [stem for stem in stems if not f"{stem}_".startswith(rooms)] == []
