"""my_bag: the model holds its stages, wrong versions are refused, the reader's files are safe."""

import json
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from my_bag_wrong import WRONG

import embag_edu.__main__ as commands
from embag_edu.chapters.my_bag import (
    checking,
    extras,
    files,
    grouping,
    pages,
    reading,
    start_my_bag,
)
from embag_edu.chapters.my_bag.checking import StageFailed, clauses_of, own_parts, told
from embag_edu.chapters.my_bag.stages import STAGES, UnknownStage, find
from embag_edu.check.checker import Trial
from embag_edu.check.clauses import all_clauses
from embag_edu.check.report import FAILS, HOLDS, NOT_SUPPORTED
from embag_edu.check.worker import Local
from embag_edu.course import workbook
from embag_edu.course.notebooks import read
from embag_edu.train.fitting import Plan, train

GROUPS = json.loads(checking.GROUPS.read_text(encoding="utf-8"))
ROWS = [(stage, edit) for stage, edits in WRONG.items() for edit in edits]
KERNELS = [row for row in ROWS if row[1].file == "kernels.cu"]
SAMPLE = [row for row in ROWS if row not in KERNELS and row[1].clause != "extra"]
names = [stage.name for stage in STAGES]


@contextmanager
def trial(place, stage):
    """A stage's functions in this process: quicker than a process of their own."""
    source = tuple(f"my_bag.{stage.module}:{name}" for name in stage.functions)
    sys.path.insert(0, str(place.parent))
    extras.forget()
    try:
        yield Trial(Local(source, stage.arrays), source, checking.RULES)
    finally:
        sys.path.remove(str(place.parent))
        extras.forget()


def statuses(place, stage, clauses):
    with trial(place, stage) as mine:
        return {clause.name: mine.result(clause).status for clause in clauses}


def said(stage, place):
    try:
        return told(find(stage), place)
    except StageFailed as failed:
        return str(failed)


# ---- the model ------------------------------------------------------------------------------


FEW = ("forward.sum", "forward.max.ties", "backward.sum", "backward.psw", "sparse.mean", "autograd")


@pytest.mark.parametrize("name", ["07", "12"])
def test_clauses_hold_for_the_model_of_a_stage(name, tmp_path):
    files.write_model(tmp_path / "my_bag", name)
    clauses = [c for c in clauses_of(name) if name == "07" or c.name.startswith(FEW)]
    assert set(statuses(tmp_path / "my_bag", find(name), clauses).values()) == {HOLDS}


@pytest.mark.adversary
@pytest.mark.parametrize("name", names)
def test_the_model_of_a_stage_passes_its_check(name, tmp_path):
    files.write_model(tmp_path / "my_bag", name)
    text = told(find(name), tmp_path / "my_bag")
    assert f"all {len(GROUPS[name])} clauses hold" in text


def test_the_stages_of_a_file_share_out_the_clauses_that_its_stubs_do_not_hold():
    for module in ("loops", "vectorized", "cuda"):
        mine = [n for s in STAGES if s.module == module and not s.replaces for n in GROUPS[s.name]]
        assert len(mine) == len(set(mine))
        given = {c.name for c in all_clauses()} - set(mine)
        assert {name.split(".")[0] for name in given} <= {"errors", "always", "autograd"}
        assert {"forward.sum", "backward.psw", "always.fresh_output"} <= set(mine)
    assert set(GROUPS["11"]) < set(GROUPS["10"])


@pytest.mark.parametrize("module", ["loops", "vectorized"])
def test_a_clause_belongs_to_the_first_stage_whose_model_holds_it(module, tmp_path):
    """If this fails: python -m embag_edu.chapters.my_bag.grouping"""
    stages = [stage for stage in STAGES if stage.module == module]
    before = {n for n, s in _all(stages[0], files.NOTHING, tmp_path).items() if s == HOLDS}
    for stage in stages:
        found = _all(stage, stage.name, tmp_path)
        assert FAILS not in found.values()  # what is not built yet fails nowhere
        held = {n for n, s in found.items() if s == HOLDS}
        assert before <= held and sorted(GROUPS[stage.name]) == sorted(held - before)
        before = held
    assert len(before) == 145  # all but those for torch: as many as loops.py holds


def _all(stage, done, tmp_path):
    files.write_model(tmp_path / done / "my_bag", done)
    if done == files.NOTHING:  # the files that others stand on are complete
        for name in ("loops.py",) if stage.module != "loops" else ():
            (tmp_path / done / "my_bag" / name).write_text(files.text_at(name, files.ALL))
    return statuses(tmp_path / done / "my_bag", stage, all_clauses())


@pytest.mark.adversary
def test_the_groups_of_all_stages_are_those_of_the_models():
    assert grouping.groups() == GROUPS


def test_torchs_part_needs_all_clauses():
    assert GROUPS["12"] == [clause.name for clause in all_clauses()]


# ---- stubs ----------------------------------------------------------------------------------


def test_stubs_have_the_models_texts_and_no_bodies():
    for name in files.names():
        stubs, model = files.text_at(name, files.NOTHING), files.model_text(name)
        assert files.text_at(name, files.ALL) == model
        for part in files.parts(name, stubs):
            assert files.is_stub(name, stubs, part) == bool(part.stage)
        kept = [
            line for line in model.splitlines() if line.startswith(("#", "//", "def ", "class"))
        ]
        assert [line for line in stubs.splitlines() if line in kept] == kept


def test_each_stub_says_its_stage():
    for name in ("loops.py", "vectorized.py", "cuda.py", "module.py"):
        text = files.text_at(name, files.NOTHING)
        for part in files.parts(name, text):
            if part.stage:
                raised = f'raise NotSupported("stage {part.stage}: {part.name}")'
                assert files.body_of(name, text, part).strip() == raised
                assert name == "module.py" or f"def {part.name}" in text


def test_stubs_are_not_supported_everywhere(tmp_path):
    files.write_model(tmp_path / "my_bag", files.NOTHING)
    for module in ("loops", "vectorized", "cuda"):
        stage = next(s for s in STAGES if s.module == module)
        clauses = [c for c in all_clauses() if c.name.startswith(("forward", "backward.max"))]
        assert set(statuses(tmp_path / "my_bag", stage, clauses).values()) == {NOT_SUPPORTED}


# ---- wrong versions -------------------------------------------------------------------------


def test_there_are_eight_wrong_versions_of_each_stage():
    assert list(WRONG) == names
    assert all(len(edits) >= 8 for edits in WRONG.values())


def write_wrong(place, stage, edit):
    files.write_model(place, stage, (edit.file, edit.old, edit.new))


@pytest.mark.parametrize(("stage", "edit"), SAMPLE)
def test_a_wrong_version_is_refused_by_its_clause(stage, edit, tmp_path):
    write_wrong(tmp_path / "my_bag", stage, edit)
    # One file of kernels for all of them: it is compiled once.
    (tmp_path / "my_bag" / "kernels.cu").write_text(files.model_text("kernels.cu"))
    clauses = [clause for clause in clauses_of(stage) if clause.name == edit.clause]
    assert statuses(tmp_path / "my_bag", find(stage), clauses) == {edit.clause: FAILS}


@pytest.mark.adversary
@pytest.mark.parametrize(("stage", "edit"), ROWS)
def test_a_wrong_version_is_told_its_cause(stage, edit, tmp_path):
    write_wrong(tmp_path / "my_bag", stage, edit)
    text = said(stage, tmp_path / "my_bag")
    print(f"\n{stage} {edit.file}: {text}")
    assert "Next: " not in text and "complete" not in text
    assert edit.tells in text and (edit.clause == "extra" or f"\n{edit.clause}: " in text)


@pytest.mark.parametrize(("stage", "row"), [("01", 9), ("04", 14)])
def test_a_wrong_version_is_told_its_cause_in_a_process_of_its_own(stage, row, tmp_path):
    edit = WRONG[stage][row]
    write_wrong(tmp_path / "my_bag", stage, edit)
    text = said(stage, tmp_path / "my_bag")
    assert edit.tells in text and (edit.clause == "extra" or f"\n{edit.clause}: " in text)


# ---- the reader's files ---------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A working copy, as the current folder."""
    (tmp_path / workbook.RECORD).write_text("{}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_stub_to_pass(copy, capsys):
    start_my_bag("1")
    mine = copy / "my_bag"
    assert sorted(p.name for p in mine.iterdir()) == ["__init__.py", "loops.py", "steps.py"]
    printed = capsys.readouterr().out
    assert "my_bag/loops.py: ends_of" in printed
    assert "Open my_bag/loops.py, write your code in the place of each line" in printed
    text = told(find("01"), mine)
    assert "not started" in text and "my_bag/loops.py: max_of_bags" in text
    put(mine, "ends_of", "sum_of_bags", "mean_of_bags")
    text = told(find("01"), mine)
    assert "15 of 23" not in text and "stage 01: max_of_bags" in text and "fail" not in text
    put(mine, "max_of_bags")
    text = told(find("01"), mine)
    assert "all 23 clauses hold" in text and "Next: stage 02" in text
    start_my_bag("01")
    assert capsys.readouterr().out == "All parts of stage 01 are written.\n"
    shown = [row for row in checking.rows(copy) if row.chapter in ("01", "02")]
    assert [row.page for row in shown] == ["", "02_forward.ipynb"]
    assert [(row.done, row.total, bool(row.next)) for row in shown] == [
        (23, 23, False), (0, 40, True),
    ]  # fmt: skip
    assert "not your own" not in text


def put(folder, *wanted, file="loops.py"):
    """Answer some parts as the reader would, with the model's text."""
    text, model = (folder / file).read_text(), files.model_text(file)
    for part in files.parts(file, model):
        if part.name in wanted:
            stub = f'    raise NotSupported("stage {part.stage}: {part.name}")'
            text = text.replace(stub, files.body_of(file, model, part))
    (folder / file).write_text(text)


def test_a_stage_is_shown_at_the_page_that_it_closes():
    rows = {row.page: row.chapter for row in checking.rows(None)}
    assert len(rows) == len(STAGES) and all((pages.BOOK / page).is_file() for page in rows)
    assert all(page.startswith(f"{chapter}_") for page, chapter in rows.items())


def test_start_writes_nothing_over_and_nothing_into_the_book(copy, capsys, monkeypatch):
    start_my_bag("01")
    (copy / "my_bag" / "loops.py").write_text("mine = 1\n")
    start_my_bag("04")
    assert (copy / "my_bag" / "loops.py").read_text() == "mine = 1\n"
    assert (copy / "my_bag" / "vectorized.py").exists()
    (copy / workbook.RECORD).unlink()
    (copy / "elsewhere").mkdir()
    monkeypatch.chdir(copy / "elsewhere")
    monkeypatch.delenv("EMBAG_BOOK", raising=False)
    capsys.readouterr()
    start_my_bag("01")
    assert "python run.py book" in capsys.readouterr().out
    assert not list((copy / "elsewhere").iterdir())


def test_a_later_stage_can_begin_with_the_models_parts(copy, capsys):
    start_my_bag("01")
    mine = copy / "my_bag"
    own = "    return [*starts[1:], n] if len(starts) else []  # my own"
    loops = (mine / "loops.py").read_text()
    (mine / "loops.py").write_text(
        loops.replace('    raise NotSupported("stage 01: ends_of")', own)
    )
    before = (mine / "loops.py").read_text()
    assert reading.main(["--from", "04"]) == 0
    out = capsys.readouterr().out
    assert "Taken from the model, and marked as not your own: 13 parts." in out
    assert (copy / "my_bag_before_04" / "loops.py").read_text() == before
    assert own in (mine / "loops.py").read_text()
    kinds = own_parts(find("03"), mine)
    assert set(kinds.values()) == {"model"}
    assert own_parts(find("01"), mine)["loops.py: ends_of"] == "own"
    assert set(own_parts(find("04"), mine).values()) == {"stub"}
    text = told(find("03"), mine)
    assert "all 54 clauses hold" in text and "The model's, not your own: loops.py: shares" in text
    assert reading.main([]) == 0
    assert "1 written, 3 the model's" in capsys.readouterr().out
    assert reading.main(["--from", "04"]) == 0  # again: nothing is left to take, no further copy
    assert not (copy / "my_bag_before_04_2").exists()
    assert reading.main(["--from", "04", "--all"]) == 0
    assert own not in (mine / "loops.py").read_text()
    assert own in (copy / "my_bag_before_04_2" / "loops.py").read_text()


def test_what_python_cannot_read_is_told(copy, capsys):
    start_my_bag("01")
    mine = copy / "my_bag" / "loops.py"
    mine.write_text(mine.read_text().replace("def ends_of(starts, n):", "def ends_of(starts, n)"))
    assert reading.main(["--check", "01"]) == 1
    assert "loops.py, line 21: expected ':'" in capsys.readouterr().out
    assert reading.main(["--from", "02"]) == 2
    assert reading.main([]) == 0
    assert "can't be read" in capsys.readouterr().out
    assert reading.main(["--from", "02", "--all"]) == 0
    assert set(own_parts(find("01"), copy / "my_bag").values()) == {"model"}


def test_wrong_names(copy):
    with pytest.raises(UnknownStage, match="there are 01, 02, .*, 12"):
        find("06")
    assert reading.main(["--check", "13"]) == 2
    assert find("1") is find("01")


def test_a_readers_endless_loop_ends(copy, monkeypatch):
    start_my_bag("01")
    place = copy / "my_bag"
    put(place, "ends_of", "mean_of_bags", "max_of_bags", "sum_of_bags")
    text = (place / "loops.py").read_text()
    (place / "loops.py").write_text(text.replace("    ends = []\n", "    while True: pass\n"))
    monkeypatch.setattr(checking, "LIMIT", 0.5)
    assert "did not return within 0.5 s" in said("01", place)


def test_the_training_of_chapter_13_runs_on_the_model_as_on_torchs_module():
    plan = Plan(limit=300, epochs=1, batch_size=64, buckets=100)
    own = replace(plan, implementation="embag_edu.chapters.my_bag.model:MyBag")
    losses = [train(each).history.losses for each in (plan, own)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_the_command_trains_on_the_readers_own_module(copy, capsys):
    files.write_model(copy / "my_bag", "12")
    words = ["train", "--implementation", "my_bag:MyBag", "--limit", "100", "--epochs", "1"]
    extras.forget()
    try:
        assert commands.main(words) == 0
    finally:
        extras.forget()
        sys.path[:] = [place for place in sys.path if place != str(copy)]
    assert "implementation my_bag:MyBag" in capsys.readouterr().out
    assert commands.main(["train", "--implementation", "nobodys:Bag"]) == 2
    assert "could not be found" in capsys.readouterr().err


# ---- the pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES, ids=names)
def test_the_section_at_the_end_of_a_chapter_is_that_of_the_stage(stage):
    """If this fails: python -m embag_edu.chapters.my_bag.pages"""
    notebook = read(pages.page_of(stage))
    assert pages.with_section(notebook, stage) == notebook


@pytest.mark.parametrize("stage", STAGES, ids=names)
def test_what_the_cells_of_a_section_print_in_the_book(stage, monkeypatch, capsys):
    monkeypatch.chdir(pages.BOOK)
    monkeypatch.setattr(workbook, "folder", lambda: None)
    cells = [cell for cell in pages.section(stage) if cell["cell_type"] == "code"]
    defined = {}
    for cell in cells:
        exec("".join(cell["source"]), defined)
        assert capsys.readouterr().out == "".join(cell["outputs"][0]["text"])
