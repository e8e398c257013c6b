"""The commands, as an engineer calls them."""

import json
import os
import pkgutil
import subprocess
import sys

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
