"""The commands, as an engineer calls them."""

import ast
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import embag_edu.__main__ as command


def call(*words, cwd=None):
    environ = dict(os.environ, PYTHONIOENCODING="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "embag_edu", *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environ,
    )
    return done.returncode, done.stdout, done.stderr


def test_check_of_a_right_bag(tmp_path):
    code, out, _ = call("check", "loops", "--only", "forward", cwd=tmp_path)
    assert code == 0 and "10 hold" in out


def test_check_of_a_wrong_bag_by_name(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import embag_edu\n"
        "def bag(input, weight, offsets=None, **options):\n"
        "    options['mode'] = 'sum'\n"
        "    return embag_edu.embedding_bag(input, weight, offsets, **options)\n"
    )
    code, out, _ = call("check", "mine:bag", "--only", "forward.mean", cwd=tmp_path)
    assert code == 1
    assert "mode mean does not divide" in out and "from mine import bag" in out


def test_json_to_a_file_and_to_the_screen(tmp_path):
    code, out, _ = call("check", "loops", "--only", "padding", "--json", "-", cwd=tmp_path)
    assert code == 0 and json.loads(out)["passed"] is True
    call("check", "loops", "--only", "padding", "--json", "report.json", cwd=tmp_path)
    record = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert record["counts"] == {"holds": 6}


@pytest.mark.parametrize(
    "words, told",
    [
        (["check", "no.such:function"], "could not be found"),
        (["check", "loops", "--only", "nothing"], "there is no clause 'nothing'"),
        (["check", "math"], "write it as module:function"),
    ],
)
def test_wrong_calls_exit_with_2_and_one_clear_line(words, told):
    code, _, err = call(*words)
    assert code == 2 and told in err and "Traceback" not in err


def test_lists_and_help(capsys):
    assert command.main(["check", "--list"]) == 0
    assert "forward.sum.repeated_row" in capsys.readouterr().out
    assert command.main([]) == 2 and command.main(["--help"]) == 0
    assert command.main(["ledger"]) == 0
    assert "pytorch#190063" in capsys.readouterr().out


def test_the_command_line_is_read_where_no_words_are_given(monkeypatch, capsys):
    """So does `embag-edu`, the script that installing the package makes."""
    monkeypatch.setattr(sys, "argv", ["embag-edu", "check", "loops", "--only", "forward.sum"])
    assert command.main() == 0
    assert "3 hold" in capsys.readouterr().out


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_says_what_it_does_and_where(name, capsys):
    does, place, extra = command.COMMANDS[name]
    assert callable(pkgutil.resolve_name(place)) and does[0].islower()
    assert extra in ("check", "book", "web")
    command.main(["--help"])
    assert f"  {name} " in capsys.readouterr().out


def test_without_ml_dtypes_only_bfloat16_is_not_asked():
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "from embag_edu.check import check\n"
        "report = check('loops', isolate=False)\n"
        "missed = [r.clause.name for r in report.results if 'ml_dtypes' in r.note]\n"
        "assert missed == ['numbers.bfloat16', 'backward.bfloat16'], missed"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---- Characters ----

SCRIPT = """
import embag_edu
from embag_edu.check import check
from embag_edu.course import check as judge, hint, progress

def wrong(input, weight, offsets=None, **options):
    return embag_edu.embedding_bag(input, weight, offsets, **{**options, "mode": "sum"})

print(check("loops", "padding", isolate=False))
print(check(wrong, "forward.mean", isolate=False, raises=False))
judge("00.first_mean", lambda ids, weight: weight[ids].mean(axis=0))
hint("02.winners")
print(progress())
"""


def test_what_is_printed_goes_through_any_encoding(tmp_path):
    """A pipe or a file on Windows takes no sign that its code page lacks."""
    environ = dict(os.environ, PYTHONIOENCODING="ascii")
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, env=environ, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    printed = done.stdout.decode("ascii")
    assert "FAILS     forward.mean:" in printed and "padding" in printed and "chapter" in printed


DRAWN = {"figures.py", "widgets.py", "style.py", "board.py", "verdicts.py"}  # as UTF-8, on pages
NOT_PRINTED = {
    "check/report.py": "signs of the HTML table",
    "ch12/exercises.py": "what stands in a notebook",
    "course/marks.py": "what a formula of a spreadsheet may begin with",
    "cuda_on_cpu/host.py": "how g++ quotes",
}


def test_texts_that_may_be_printed_are_ascii():
    package = Path(command.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path.name in DRAWN or path.as_posix().endswith(tuple(NOT_PRINTED)):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value.isascii(), f"{path}, line {node.lineno}: {node.value!r}"
