"""The gradient detective of chapters 10 and 11: one solution for each mystery, a why for each."""

import numpy as np
import pytest

from embag_edu import loops
from embag_edu.chapters.ch10 import exercises as ch10
from embag_edu.chapters.ch11 import exercises as ch11
from embag_edu.spec import make_call

both_cases = pytest.mark.parametrize("chapter", [ch10, ch11], ids=["10", "11"])


@both_cases
@pytest.mark.parametrize("seed", range(60))
def test_a_mystery_has_one_solution(chapter, seed):
    puzzle = chapter.mystery(seed)
    given = puzzle.setting._asdict()
    upstream, indices = given.pop("grad_output"), given.pop("indices")
    call = make_call(
        indices, np.zeros((5, 2)), include_last_offset=True, scale_grad_by_freq=True, **given
    )
    expected = loops.grad_weight(call, loops.forward(call)[1], upstream)
    assert np.allclose(puzzle.expected, expected, atol=1e-12)
    wrong = chapter._wrong_gradients(puzzle.setting)
    fits = {name for name, all_of in wrong.items() for g in all_of if np.allclose(g, puzzle.actual)}
    assert fits == {puzzle.fault} and not np.allclose(puzzle.actual, puzzle.expected)
    assert str(puzzle) == str(chapter.mystery(seed)) and puzzle.fault not in str(puzzle)


@both_cases
@pytest.mark.parametrize("seed", range(8))
def test_a_verdict_tells_why(chapter, seed, capsys):
    puzzle = chapter.mystery(seed)
    for name, message in chapter.FAULTS.items():
        chapter.accuse(puzzle, name)
        said = capsys.readouterr().out
        assert said.strip() == chapter.verdict(puzzle, name)
        assert (message in said) == (name == puzzle.fault)
    with pytest.raises(ValueError, match="name is 'bad luck'"):
        chapter.verdict(puzzle, "bad luck")


@both_cases
def test_the_round_has_each_fault_once(chapter):
    assert len(chapter.CASES.round) == 6
    assert sorted(chapter.CASES.solved) == sorted(chapter.FAULTS)


def test_the_faults_tell_how_they_are_seen():
    """What chapter 11 says of cut rows holds: others are right."""
    for seed in range(60):
        puzzle = ch11.mystery(seed)
        if "Only rows whose run is cut" in ch11.FAULTS[puzzle.fault]:
            keys = puzzle.setting.indices[ch11._kept(puzzle.setting)]
            borders = np.arange(ch11.PIECE, len(keys), ch11.PIECE)
            cut = set(keys[borders[keys[borders] == keys[borders - 1]]].tolist())
            bad = np.flatnonzero(~np.isclose(puzzle.actual, puzzle.expected).all(axis=1))
            assert set(bad.tolist()) <= cut
