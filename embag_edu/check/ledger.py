"""The ledger: where torch departs from its own documentation, or from itself.

Each entry is a sentence with a version, a device, an issue number and a small program that sets
`shown` to True while the installed torch still does it. The checker accepts a result that departs
from the truth exactly as the installed torch does, if an entry here covers the clause; the report
then says so. `python -m embag_edu ledger` prints the entries and runs the programs.

PEERS is a part of its own: where FBGEMM, which proves the fused steps of `embag_edu.beyond`, is no
yardstick. Its programs need the package fbgemm-gpu-cpu.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

PROBED = "2.13.0"  # the torch release on which a CPU entry was seen, where it names no other
OLDEST = "2.7.0"  # the oldest that this package supports


@dataclass(frozen=True)
class Entry:
    """One divergence."""

    name: str
    says: str  # what torch does
    instead: str  # what its page says, or what embag_edu does
    issue: str  # where it is discussed, or "not reported"
    repro: str  # sets `shown`
    clauses: tuple[str, ...] = ()  # clauses of the table that it excuses
    device: str = "cpu"
    versions: str = PROBED
    crashes: bool = False  # the divergence is that the process dies
    peer: str = "torch"  # who departs
    module: str = "torch"  # what its programs import
    head: str = ""  # of its programs, after HEAD

    def program(self) -> str:
        """The whole program, to paste and run."""
        body = textwrap.dedent(self.repro).strip()
        return f"{HEAD}{self.head}{body}\nprint('shown:', bool(shown))\n"

    @property
    def runs_here(self) -> bool:
        """Whether this machine has the device and the package."""
        there = importlib.util.find_spec(self.module) is not None
        return there and (self.device == "cpu" or _has_cuda())


HEAD = """\
import torch
import torch.nn.functional as F

torch.set_num_threads(1)
W = torch.arange(1.0, 11.0).reshape(10, 1)


def raises(error, function):
    try:
        function()
    except error:
        return True
    return False


"""


def still_shown(entries: Sequence[Entry]) -> list[bool | None]:
    """Run the entries' programs on what is installed, in processes of their own.

    True: torch still does it. False: it was mended. None: this machine lacks the device or package.
    Raises RuntimeError when a program itself is broken.
    """
    calm = [e for e in entries if e.runs_here and not e.crashes]
    answers = dict(zip((e.name for e in calm), _run(calm), strict=True))
    for entry in entries:
        if entry.runs_here and entry.crashes:
            answers[entry.name] = _run([entry])[0]
    return [answers.get(entry.name) for entry in entries]


def notice(shown: bool) -> None:
    """For a page: say so where the installed torch does not do what the page tells of torch."""
    if not shown:
        import torch

        print(f"torch {torch.__version__} does not do this: it was changed, or fixed, meanwhile.")


def _run(entries: Sequence[Entry]) -> list[bool]:
    """One process for all: importing torch is what takes the time."""
    script = "\n".join(f"exec({entry.program()!r}, {{}})" for entry in entries)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=300
    )
    if done.returncode < 0 or done.returncode > 128:  # ended by a signal
        return [True for _ in entries] if all(e.crashes for e in entries) else _broken(done)
    answers = [line for line in done.stdout.splitlines() if line.startswith("shown: ")]
    return [a == "shown: True" for a in answers] if len(answers) == len(entries) else _broken(done)


def _broken(done: subprocess.CompletedProcess[str]) -> NoReturn:
    raise RuntimeError(f"a program of the ledger did not run to its end:\n{done.stderr[-800:]}")


def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def covering(clause: str) -> Entry | None:
    """The entry that excuses a clause, if there is one."""
    return next((entry for entry in LEDGER if clause in entry.clauses), None)


def describe(entry: Entry, shown: bool | None = None, code: bool = False) -> str:
    """One entry as text."""
    state = {True: f"still shown by the installed {entry.peer}"}
    state[False] = f"MENDED in the installed {entry.peer}"
    lines = [
        f"{entry.name}  [{entry.peer} {entry.versions}, {entry.device}, {entry.issue}]",
        f"  {entry.module + ':':11}{entry.says}",
        f"  embag_edu: {entry.instead}",
    ]
    if entry.clauses:
        lines.append(f"  clauses:   {', '.join(entry.clauses)}")
    if shown is not None:
        lines.append(f"  now:       {state[shown]}")
    if code:
        lines += ["", *("    " + line for line in entry.program().splitlines())]
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Print the entries; with --run, whether the installed torch still shows each."""
    parser = argparse.ArgumentParser(prog="python -m embag_edu ledger")
    parser.add_argument(
        "--run", action="store_true", help="run the programs on the installed torch"
    )
    parser.add_argument("--code", action="store_true", help="print the programs too")
    given = parser.parse_args(words)
    entries = (*LEDGER, *PEERS)
    shown = still_shown(entries) if given.run else [None] * len(entries)
    print("\n\n".join(describe(e, s, given.code) for e, s in zip(entries, shown, strict=True)))
    return 0


LEDGER: tuple[Entry, ...] = (
    Entry(
        "frequency",
        "scale_grad_by_freq on the CPU divides the k-th distinct row by the count of the k-th "
        "number of the sorted input, so rows get each other's counts.",
        "Each row is divided by its own count, as the page says and as CUDA does.",
        "pytorch#190063, mended after 2.13 by #190264",
        """
        weight = torch.zeros(4, 1, requires_grad=True)
        out = F.embedding_bag(torch.tensor([0, 0, 3]), weight, torch.tensor([0]), mode="sum",
                              scale_grad_by_freq=True)
        out.sum().backward()
        shown = weight.grad[3].item() == 0.5  # row 3 occurs once: 1.0 is right
        """,
        (
            "backward.frequency",
            "backward.frequency.padding",
            "sizes.backward.frequency",
            "together.backward.frequency",
            "together.pairs.backward.frequency",
        ),
    ),
    Entry(
        "trailing positions",
        "include_last_offset with a last offset short of the end: sum leaves the trailing "
        "positions out, mean leaves them out but divides by them, max takes them in.",
        "The page says the last offset is the size of the input; embag_edu refuses anything else.",
        "pytorch#191965, #52851, #76885, #106374",
        """
        def bag(mode):
            offsets = torch.tensor([0, 2])
            return F.embedding_bag(torch.tensor([0, 4, 8]), W, offsets, mode=mode,
                                   include_last_offset=True).item()
        shown = (bag("sum"), bag("mean"), bag("max")) == (6.0, 2.0, 9.0)
        """,
        ("errors.trailing_positions",),
    ),
    Entry(
        "trailing positions, dtype",
        "The same call in float64 puts the trailing positions into the last bag.",
        "A dtype should not change what a bag is.",
        "pytorch#191965",
        """
        def bag(dtype):
            offsets = torch.tensor([0, 2])
            return F.embedding_bag(torch.tensor([0, 4, 8]), W.to(dtype), offsets, mode="sum",
                                   include_last_offset=True).item()
        shown = (bag(torch.float32), bag(torch.float64)) == (6.0, 15.0)
        """,
    ),
    Entry(
        "a 2-D input loses its last bag",
        "With a 2-D input and include_last_offset=True, the last row of the input is no bag.",
        "include_last_offset speaks of offsets, and a 2-D input has none: each row is a bag.",
        "pytorch#167974, mended before 2.11 by #168159",
        """
        input = torch.tensor([[0, 1], [2, 3]])
        shown = F.embedding_bag(input, W, include_last_offset=True).shape == (1, 1)
        """,
        ("bags.two_dimensional.include_last_offset",),
        versions=OLDEST,
    ),
    Entry(
        "truth values as indices",
        "A 2-D input of truth values is refused by arange with a RuntimeError.",
        "NotImplementedError, as torch raises since then.",
        "not reported; mended before 2.11",
        """
        input = torch.tensor([[True, False]])
        try:
            F.embedding_bag(input, W)
        except Exception as error:
            shown = type(error) is RuntimeError
        """,
        ("errors.bool_input",),
        versions=OLDEST,
    ),
    Entry(
        "decreasing offsets",
        "Offsets that decrease are not refused: the CPU's slow path reads them as if sorted, the "
        "fast path returns memory that nobody wrote.",
        "embag_edu raises RuntimeError.",
        "pytorch#55549, #175368",
        """
        offsets = torch.tensor([0, 2, 1])
        out = F.embedding_bag(torch.tensor([0, 1, 2]), W.double(), offsets, mode="sum")
        shown = out.flatten().tolist() == [1.0, 2.0, 3.0]
        """,
        ("errors.offsets_decrease",),
    ),
    Entry(
        "empty offsets",
        "Empty offsets with positions give an output of no bags, without a word.",
        "embag_edu raises RuntimeError: no bag holds the positions.",
        "pytorch#175370, #193691",
        """
        out = F.embedding_bag(torch.tensor([0, 1]), W, torch.tensor([], dtype=torch.long))
        shown = out.shape == (0, 1)
        """,
        ("errors.positions_without_bag",),
    ),
    Entry(
        "empty offsets crash",
        "The same call in float64 brings the process down (SIGSEGV).",
        "embag_edu raises RuntimeError.",
        "pytorch#175370, #190044, #143483",
        """
        F.embedding_bag(torch.tensor([0, 1]), W.double(), torch.tensor([], dtype=torch.long))
        shown = False
        """,
        crashes=True,
    ),
    Entry(
        "a refused call changes weight",
        "max_norm rescales rows before the other arguments are checked: a call that raises has "
        "already changed the table.",
        "embag_edu checks everything first; a failing call has changed nothing.",
        "not reported",
        """
        weight = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
        raised = raises(NotImplementedError, lambda: F.embedding_bag(
            torch.tensor([0]), weight, torch.tensor([0]), mode="mean", max_norm=1.0,
            per_sample_weights=torch.ones(1)))
        shown = raised and weight[0, 0] < 1
        """,
        ("always.refused_unchanged",),
    ),
    Entry(
        "max_norm wraps negative indices",
        "With max_norm, index -1 first rescales the last row, and only then is refused.",
        "No index counts from the end; embag_edu refuses it before it changes anything.",
        "pytorch#88563, #183998",
        """
        weight = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
        raised = raises(RuntimeError, lambda: F.embedding_bag(
            torch.tensor([-1]), weight, torch.tensor([0]), mode="sum", max_norm=1.0))
        shown = raised and weight[1, 0] < 1
        """,
        ("always.refused_unchanged",),
    ),
    Entry(
        "16-bit mean is rounded three times",
        "mode mean on float16 and bfloat16 rounds the sum, then the count, then the quotient: a "
        "float16 mean of 60000 and 60000 is infinite.",
        "Sum and division in float32, one rounding, as CUDA does.",
        "not reported",
        """
        weight = torch.full((1, 1), 60000.0, dtype=torch.float16)
        out = F.embedding_bag(torch.tensor([0, 0]), weight, torch.tensor([0]), mode="mean")
        shown = out.isinf().item()
        """,
        ("numbers.float16", "numbers.bfloat16"),
    ),
    Entry(
        "16-bit mean of a long bag",
        "The count is rounded to the weight's dtype: a float16 mean over 70000 positions is 0.",
        "The count is not rounded to 16 bits.",
        "not reported",
        """
        weight = torch.full((1, 1), 0.5, dtype=torch.float16)
        out = F.embedding_bag(torch.zeros(70000, dtype=torch.long), weight, torch.tensor([0]))
        shown = out.item() == 0.0
        """,
    ),
    Entry(
        "16-bit gradients accumulate in 16 bits",
        "The dense gradient of a float16 row stops growing at 2048 ones, of bfloat16 at 256.",
        "Accumulated in float32 and rounded once, as CUDA does.",
        "not reported",
        """
        weight = torch.zeros(1, 1, dtype=torch.float16, requires_grad=True)
        input = torch.zeros(5000, dtype=torch.long)
        F.embedding_bag(input, weight, torch.tensor([0]), mode="sum").sum().backward()
        shown = weight.grad.item() == 2048
        """,
        ("backward.float16", "backward.bfloat16"),
    ),
    Entry(
        "bfloat16 halves are rounded away from zero",
        "The CPU's fast path rounds a half away from zero: 257 ones sum to 258; with a "
        "padding_idx, on the slow path, they sum to 256.",
        "One rule: to nearest, halves to even.",
        "FBGEMM#786, #5648",
        """
        weight = torch.ones(2, 1, dtype=torch.bfloat16)
        def total(**options):
            input = torch.zeros(257, dtype=torch.long)
            return F.embedding_bag(input, weight, torch.tensor([0]), mode="sum", **options).item()
        shown = (total(), total(padding_idx=1)) == (258.0, 256.0)
        """,
    ),
    Entry(
        "max and NaN",
        "A NaN wins a maximum only if it is first in its bag. The page calls mode max equivalent "
        "to Embedding and torch.max, which returns any NaN.",
        "The same rule as torch's operator: embag_edu follows the behavior, not the sentence.",
        "not reported",
        """
        weight = torch.tensor([[1.0], [float("nan")]])
        bag = F.embedding_bag(torch.tensor([[0, 1]]), weight, mode="max")
        page = F.embedding(torch.tensor([[0, 1]]), weight).max(dim=1).values
        shown = bag.item() == 1.0 and page.isnan().item()
        """,
    ),
    Entry(
        "index types may differ",
        "The page says that input and offsets have to be of the same type; any mix is taken, "
        "offsets of 8 and 16 bits included.",
        "Promoted to the common type, as torch does.",
        "not reported",
        """
        out = F.embedding_bag(torch.tensor([1, 1]), W, torch.tensor([0], dtype=torch.int8))
        shown = out.item() == 2.0
        """,
    ),
    Entry(
        "weights have weight's dtype",
        "The page says per_sample_weights are float or double; they must have exactly the dtype "
        "of weight, half included.",
        "The same rule: one dtype for both.",
        "not reported",
        """
        half, index, offsets = W.half(), torch.tensor([1]), torch.tensor([0])
        out = F.embedding_bag(index, half, offsets, mode="sum",
                              per_sample_weights=torch.ones(1, dtype=torch.float16))
        shown = out.item() == 2.0 and raises(RuntimeError, lambda: F.embedding_bag(
            index, half, offsets, mode="sum", per_sample_weights=torch.ones(1)))
        """,
    ),
    Entry(
        "frequency and sparse fail late",
        "scale_grad_by_freq with sparse=True passes the forward and raises at the backward; the "
        "page says nothing.",
        "The same, so that a forward without a backward keeps working.",
        "pytorch#189720",
        """
        weight = torch.zeros(2, 1, requires_grad=True)
        out = F.embedding_bag(torch.tensor([0]), weight, torch.tensor([0]), mode="sum",
                              sparse=True, scale_grad_by_freq=True)
        shown = raises(RuntimeError, out.sum().backward)
        """,
    ),
    Entry(
        "no columns",
        "A 2-D input of shape (B, 0) raises 'step must be nonzero', an accident of arange; "
        "(0, L) is fine.",
        "Refused too, with words that say why.",
        "not reported",
        """
        def bag(shape):
            return F.embedding_bag(torch.zeros(shape, dtype=torch.long), W)
        shown = bag((0, 3)).shape == (0, 1) and raises(RuntimeError, lambda: bag((3, 0)))
        """,
    ),
    Entry(
        "no features, several threads",
        "With D = 0, more than one bag and more than one thread, the CPU's fast path raises.",
        "An output of shape (B, 0).",
        "not reported",
        """
        torch.set_num_threads(2)
        input = torch.zeros(5000, dtype=torch.long)
        shown = raises(RuntimeError, lambda: F.embedding_bag(
            input, torch.zeros(3, 0), torch.arange(5000), mode="sum"))
        """,
    ),
    Entry(
        "rescaled rows end below max_norm",
        "max_norm scales by max_norm / (norm + 1e-7): the row ends a little shorter than "
        "max_norm, and only rows that occur are touched. The page says neither.",
        "The same formula.",
        "not reported",
        """
        weight = torch.tensor([[3.0, 4.0], [6.0, 8.0]], dtype=torch.float64)
        F.embedding_bag(torch.tensor([0]), weight, torch.tensor([0]), max_norm=1.0)
        shown = weight[0, 0].item() == 0.5999999880000002 and weight[1, 0].item() == 6.0
        """,
    ),
    Entry(
        "squares overflow in max_norm",
        "The norm of a float32 row is computed in float32: above about 1.8e19 the squares "
        "overflow, the norm is infinite and the row becomes zero.",
        "The norm is computed in float64: [3e20, 4e20] ends at 0.6 and 0.8.",
        "not reported",
        """
        weight = torch.tensor([[3e20, 4e20]])
        F.embedding_bag(torch.tensor([0]), weight, torch.tensor([0]), max_norm=1.0)
        shown = weight.tolist() == [[0.0, 0.0]]
        """,
        ("max_norm.large",),
    ),
    Entry(
        "powers overflow in max_norm",
        "With a large norm_type the powers leave the range of the dtype: the norm of a row of two "
        "or more features is infinite or 0, and the row becomes zero or is left as it is.",
        "Such norms are taken in units of the largest number: [3, 4] has the norm 4.",
        "not reported",
        """
        rows = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
        F.embedding_bag(torch.tensor([0, 1]), rows, torch.tensor([0]), max_norm=0.1, norm_type=400)
        shown = rows.tolist() == [[0.0, 0.0], torch.tensor([0.3, 0.4]).tolist()]
        """,
    ),
    Entry(
        "norm_type 0 counts NaN",
        "With norm_type=0 a NaN in a row counts as a number that is not zero: the row's norm is a "
        "number, and the row is rescaled. For every other norm_type a row with NaN is left alone.",
        "A row with NaN has no norm and is left alone, whatever norm_type is.",
        "not reported",
        """
        weight = torch.tensor([[float("nan"), 2.0, 2.0]])
        F.embedding_bag(torch.tensor([0]), weight, torch.tensor([0]), max_norm=1.0, norm_type=0.0)
        shown = bool(weight[0, 1] < 1)
        """,
    ),
    Entry(
        "max_norm rescales the padding row",
        "A padding row that occurs is rescaled, although it counts for nothing else.",
        "The same.",
        "not reported",
        """
        weight = torch.tensor([[3.0, 4.0], [6.0, 8.0]])
        F.embedding_bag(torch.tensor([1]), weight, torch.tensor([0]), max_norm=1.0, padding_idx=1)
        shown = weight[1, 0].item() < 1
        """,
    ),
    Entry(
        "the gradient does not see max_norm",
        "The rescaling is part of the forward and no part of the gradient, so that gradcheck "
        "fails where a row is rescaled.",
        "The same.",
        "not reported",
        """
        weight = torch.tensor([[3.0, 4.0]], dtype=torch.float64, requires_grad=True)
        out = F.embedding_bag(torch.tensor([0]), weight, torch.tensor([0]), max_norm=1.0)
        out.sum().backward()
        shown = weight.grad.tolist() == [[1.0, 1.0]]  # the chain rule would give about 0.03, -0.02
        """,
    ),
    Entry(
        "the raw operator takes max and sparse",
        "torch.embedding_bag, below the functional form, accepts mode max with sparse=True and "
        "returns a gradient for every position, as if the mode were sum.",
        "Refused, as torch.nn.functional does.",
        "not reported",
        """
        weight = torch.tensor([[1.0], [2.0]], requires_grad=True)
        out = torch.embedding_bag(weight, torch.tensor([0, 1]), torch.tensor([0]), False, 2, True)
        out[0].sum().backward()
        shown = weight.grad.to_dense().flatten().tolist() == [1.0, 1.0]
        """,
    ),
    Entry(
        "error types by path",
        "An index out of range is a RuntimeError; with max_norm an IndexError.",
        "The same types, and one text for each.",
        "not reported",
        """
        def bag(**options):
            return lambda: F.embedding_bag(torch.tensor([10]), W.clone(), torch.tensor([0]),
                                           **options)
        shown = raises(IndexError, bag(max_norm=1.0)) and raises(RuntimeError, bag())
        """,
    ),
    Entry(
        "repr leaves options out",
        "The repr of a module shows neither sparse nor include_last_offset.",
        "A matter of display only.",
        "not reported",
        """
        bag = torch.nn.EmbeddingBag(3, 2, sparse=True, include_last_offset=True)
        shown = repr(bag) == "EmbeddingBag(3, 2, mode='mean')"
        """,
    ),
    Entry(
        "meta input, real weight",
        "A CPU weight with an input on the meta device returns memory that nobody wrote, instead "
        "of an error or a meta tensor.",
        "Mixed devices should be refused.",
        "not reported",
        """
        out = F.embedding_bag(torch.zeros(2, dtype=torch.long, device="meta"), W,
                              torch.zeros(1, dtype=torch.long, device="meta"))
        shown = out.device.type == "cpu"
        """,
    ),
    Entry(
        "quantized bags ignore mode",
        "torch.ops.quantized.embedding_bag_byte_rowwise_offsets and its kin of 4 and 2 bits take a "
        "mode, and return the sum whatever it says.",
        "embag_edu.beyond.rows.embedding_bag computes sum, mean and max.",
        "pytorch#106105 (a pull request that says so)",
        """
        Q = torch.ops.quantized
        ids, starts = torch.tensor([0, 1]), torch.tensor([0])
        shown = True
        for bits in ("byte", "4bit", "2bit"):
            rows = getattr(Q, f"embedding_bag_{bits}_prepack")(W[:8].reshape(2, 4))
            bag = getattr(Q, f"embedding_bag_{bits}_rowwise_offsets")
            sums, means, largest = (bag(rows, ids, starts, mode=mode) for mode in (0, 1, 2))
            shown &= torch.equal(sums, means) and torch.equal(sums, largest)
            shown &= torch.allclose(sums, torch.tensor([[6.0, 8.0, 10.0, 12.0]]), atol=0.1)
        """,
    ),
    Entry(
        "CUDA: offsets are not checked",
        "On CUDA the first bag starts at 0 and the last ends with the input whatever offsets say.",
        "embag_edu checks offsets on every device.",
        "pytorch#66750, #193095 (read in the source, not run by us)",
        """
        out = F.embedding_bag(torch.tensor([0, 4, 8]).cuda(), W.cuda(),
                              torch.tensor([0, 2]).cuda(), mode="sum", include_last_offset=True)
        shown = out.item() == 15.0
        """,
        device="cuda",
    ),
    Entry(
        "CUDA: a NaN weight leaks from padding",
        "On CUDA a padding position multiplies its weight by zero instead of skipping it: a NaN "
        "or infinite per_sample_weight there makes the sum NaN.",
        "Padding is skipped.",
        "not reported (read in the source, not run by us)",
        """
        out = F.embedding_bag(torch.tensor([0, 1]).cuda(), W.cuda(), torch.tensor([0]).cuda(),
                              mode="sum", padding_idx=1,
                              per_sample_weights=torch.tensor([1.0, float("nan")]).cuda())
        shown = out.isnan().item()
        """,
        ("weights.padding",),
        device="cuda",
    ),
    Entry(
        "CUDA: norms of other kinds",
        "On CUDA max_norm with a norm_type other than 1 and 2 takes powers without absolute "
        "values; inf gives norm 1 and 0 gives norm inf.",
        "The p-norm of the page, on every device.",
        "pytorch#195185 (read in the source, not run by us)",
        """
        weight = torch.tensor([[3.0, 4.0]]).cuda()
        F.embedding_bag(torch.tensor([0]).cuda(), weight, torch.tensor([0]).cuda(), max_norm=2.0,
                        norm_type=float("inf"))
        shown = weight[0, 1].item() == 4.0  # 2.0 is right
        """,
        ("max_norm.norm_type",),
        device="cuda",
    ),
    Entry(
        "CUDA: no bfloat16 gradient of a maximum",
        "On CUDA the backward of mode max has no bfloat16.",
        "Every dtype of the forward has a backward.",
        "not reported (read in the source, not run by us)",
        """
        weight = W.bfloat16().cuda().requires_grad_()
        out = F.embedding_bag(torch.tensor([[0, 1]]).cuda(), weight, mode="max")
        shown = raises(RuntimeError, out.sum().backward)
        """,
        device="cuda",
    ),
)

# ---- Peers ---------------------------------------------------------------------------------------

FBGEMM = """
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice, SplitTableBatchedEmbeddingBagsCodegen,
)


def table(optimizer="EXACT_SGD", V=4, mode="SUM", **options):
    \"\"\"A table of V rows of four ones, with learning rate 1.\"\"\"
    bag = SplitTableBatchedEmbeddingBagsCodegen(
        [(V, 4, EmbeddingLocation.HOST, ComputeDevice.CPU)],
        optimizer=EmbOptimType[optimizer], pooling_mode=PoolingMode[mode],
        **{"stochastic_rounding": False, "learning_rate": 1.0, **options})
    bag.split_embedding_weights()[0].fill_(1.0)
    return bag


def weight(bag):
    return bag.split_embedding_weights()[0]


ids, ends = torch.tensor([1, 1, 2]), torch.tensor([0, 3])


"""


def _of_fbgemm(name: str, says: str, instead: str, repro: str) -> Entry:
    return Entry(
        name, says, instead, "not reported", repro,
        versions="1.8.0", peer="fbgemm-gpu-cpu", module="fbgemm_gpu", head=FBGEMM,
    )  # fmt: skip


PEERS: tuple[Entry, ...] = (
    _of_fbgemm(
        "FBGEMM: a weighted mean has the gradient of a sum",
        "With PoolingMode.MEAN and per_sample_weights the output is divided by the size of the "
        "bag, and neither gradient is.",
        "torch refuses weights in mode mean; so does embag_edu.",
        """
        bag, psw = table(mode="MEAN"), torch.ones(3, requires_grad=True)
        out = bag(ids, ends, per_sample_weights=psw)
        out.sum().backward()
        halved = out[0, 0].item() == 1.0  # 3 of 3
        shown = halved and weight(bag)[2, 0].item() == 0.0 and psw.grad[2].item() == 4.0
        """,
    ),
    _of_fbgemm(
        "FBGEMM: SGD has no weight decay",
        "EXACT_SGD takes weight_decay and does not apply it.",
        "SGD(lr, weight_decay) of embag_edu.beyond adds it to the gradient of touched rows.",
        """
        plain, decayed = table(), table(weight_decay=0.5)
        for bag in (plain, decayed):
            bag(ids, ends).sum().backward()
        shown = torch.equal(weight(plain), weight(decayed))
        """,
    ),
    _of_fbgemm(
        "FBGEMM: row-wise Adagrad has no weight decay in float32",
        "EXACT_ROWWISE_ADAGRAD takes weight_decay and does not apply it to a plain float32 table.",
        "RowWiseAdagrad of embag_edu.beyond adds it to the gradient of touched rows.",
        """
        from fbgemm_gpu.split_table_batched_embeddings_ops_training import WeightDecayMode

        plain, decayed = (
            table("EXACT_ROWWISE_ADAGRAD", weight_decay=wd, weight_decay_mode=WeightDecayMode.L2)
            for wd in (0.0, 0.5))
        for bag in (plain, decayed):
            bag(ids, ends).sum().backward()
        shown = torch.equal(weight(plain), weight(decayed))
        """,
    ),
    _of_fbgemm(
        "FBGEMM: two forwards, two updates",
        "Two forwards before one backward give two updates in turn; Adagrad's state is the sum of "
        "two squares, not the square of the sum.",
        "FusedEmbeddingBag refuses a second use in one graph.",
        """
        bag = table("EXACT_ADAGRAD")
        one = torch.tensor([1])
        (bag(one, torch.tensor([0, 1])).sum() + bag(one, torch.tensor([0, 1])).sum()).backward()
        state = bag.split_optimizer_states()[0][0].flatten()[4].item()
        shown = state == 2.0  # exact: (1 + 1) ** 2
        """,
    ),
    _of_fbgemm(
        "FBGEMM: weights' gradient of an updated table",
        "With two forwards before one backward, the second gradient of per_sample_weights reads "
        "rows that the first update has changed.",
        "The gradient of per_sample_weights is that of the table before the step.",
        """
        bag, psw = table(), torch.ones(3, requires_grad=True)
        out = bag(ids, ends, per_sample_weights=psw) + bag(ids, ends, per_sample_weights=psw)
        out.sum().backward()
        shown = psw.grad[2].item() != 8.0  # two times four ones
        """,
    ),
    _of_fbgemm(
        "FBGEMM: eps of zero makes NaN",
        "EXACT_ADAGRAD with eps=0 and a gradient of zero makes the row NaN.",
        "embag_edu.beyond refuses eps=0.",
        """
        bag = table("EXACT_ADAGRAD", eps=0.0)
        (0.0 * bag(ids, ends)).sum().backward()
        shown = weight(bag)[1].isnan().all().item()
        """,
    ),
    _of_fbgemm(
        "FBGEMM: the learning rate of the forward",
        "The step takes the learning rate that was set when the forward ran.",
        "FusedEmbeddingBag reads it at the backward.",
        """
        bag = table()
        out = bag(ids, ends)
        bag.set_learning_rate(10.0)
        out.sum().backward()
        shown = weight(bag)[2, 0].item() == 0.0  # 1 - 1, not 1 - 10
        """,
    ),
    _of_fbgemm(
        "FBGEMM: a max_norm that does nothing",
        "max_norm of an optimizer has no effect on the CPU.",
        "max_norm of FusedEmbeddingBag is torch's: rows are rescaled in the forward.",
        """
        bag = table("EXACT_ROWWISE_ADAGRAD", learning_rate=0.1, max_norm=0.5)
        bag(ids, ends).sum().backward()
        shown = weight(bag)[2].norm().item() > 1.7  # four times 0.9
        """,
    ),
)
