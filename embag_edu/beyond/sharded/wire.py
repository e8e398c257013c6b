"""The wire between processes: every call is agreed on first, every byte is counted.

Nothing here knows of tables. `Wire.agree` opens a call: each process tells all others in which call
it is and how much it will send. So sizes that don't fit, another order of calls and arguments that
were refused are found before a byte of data is sent; gloo by itself would abort the process, or
wait. `Wire.swap` then is an all-to-all: each process sends something to each.

Both are made of single messages between two processes. So an error can say which process it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NoReturn

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from embag_edu.beyond.sharded.shards import HEADER

NUMBERS = 5  # int64 at the front of a header: call, refused, and three of the caller's


class PeerError(RuntimeError):
    """Another process has died, hangs, is in another call, or refused its arguments."""


class Wire:
    """All processes of torch's default group, joined by a group of its own.

    timeout: seconds that a call waits for the others at most.
    device:  where messages lie: "cpu" for gloo, this process's GPU for NCCL.

    Making one is a call that all processes make together, as `dist.new_group` is.
    `sent[other, kind]` counts the bytes that were sent to a process, by what they are.
    After a PeerError nothing more can be sent, for what a process may have missed is not known:
    every further call raises at once. (Where all have answered, and one of them has refused its
    arguments, the next call may go on.)
    """

    def __init__(self, timeout: float = 30.0, device: str | torch.device = "cpu") -> None:
        if not dist.is_initialized():
            raise RuntimeError(
                "there is no process group yet\n  To mend it: call "
                "torch.distributed.init_process_group in each process first."
            )
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}; valid: seconds, more than 0")
        try:
            self.group = dist.new_group(timeout=timedelta(seconds=timeout))
        except RuntimeError as error:
            raise PeerError(
                f"not all processes made a Wire within {timeout:g} s ({error})\n  To mend it: make "
                "one in each process; see whether one of them failed before."
            ) from error
        self.rank, self.world = dist.get_rank(self.group), dist.get_world_size(self.group)
        self.timeout, self.device = timeout, torch.device(device)
        # NCCL wants the messages of a swap in one batch, or each would wait for the one before it.
        self.batched = dist.get_backend(self.group) == "nccl"
        self.sent: Counter[tuple[int, str]] = Counter()
        self.calls, self.broken = 0, ""

    def agree(
        self, what: str, numbers: Sequence[Sequence[int]], refused: BaseException | None = None
    ) -> list[list[int]]:
        """Open a call: (W, up to 3) numbers, a row for each process; returns those from each.

        what: the call, in words that must be the same in every process.
        refused: this process's own error about its arguments. All others are told, then it is
        raised here.
        Raises PeerError where processes disagree, and where one is gone.
        """
        self.calls += 1
        headers = [self._header(what, row, refused) for row in numbers]
        told = [bytes(header.cpu().numpy()) for header in self.swap("headers", headers, headers)]
        if refused is not None:
            raise refused
        found = [np.frombuffer(header[: 8 * NUMBERS], np.int64).tolist() for header in told]
        words = [header[8 * NUMBERS :].rstrip(b"\0").decode(errors="ignore") for header in told]
        for process in range(self.world):
            if found[process][1]:
                raise PeerError(
                    f"process {process} refused its arguments, and nothing was sent: "
                    f"{words[process]}\n  To mend it: see the error of process {process}."
                )
        for process in range(self.world):
            mine, theirs = (self.calls, words[self.rank]), (found[process][0], words[process])
            if mine != theirs:
                self._break(
                    f"process {process} is in call {theirs[0]}, {_other_than(theirs[1], mine[1])}; "
                    f"this process, {self.rank}, is in call {mine[0]}, "
                    f"{_other_than(mine[1], theirs[1])}\n  To mend it: all processes make the same "
                    "calls in the same order, with tables of the same options"
                )
        return [row[2:] for row in found]

    def _header(self, what: str, row: Sequence[int], refused: BaseException | None) -> Tensor:
        words = what if refused is None else str(refused).splitlines()[0]
        front = np.zeros(NUMBERS, np.int64)
        front[: 2 + len(row)] = [self.calls, refused is not None, *row]
        header = (front.tobytes() + words.encode())[:HEADER].ljust(HEADER, b"\0")
        return torch.frombuffer(bytearray(header), dtype=torch.uint8).to(self.device)

    def swap(
        self, kind: str, messages: Sequence[Tensor], templates: Sequence[Tensor]
    ) -> list[Tensor]:
        """Send messages[r] to each process r; returns what came from each, in their order.

        templates: (W,) tensors of the shapes and dtypes that will come; they are not written to.
        Empty ones are not sent. Raises PeerError where a process is gone or does not answer.
        """
        if self.broken:
            raise PeerError(
                f"an earlier call failed, and this group is of no more use: {self.broken}"
            )
        received = [torch.empty_like(template) for template in templates]
        received[self.rank] = messages[self.rank]
        works: list[tuple[int, dist.Work]] = []
        gone: dict[int, str] = {}
        todo: list[tuple[Any, Tensor, int]] = []
        for other in range(self.world):
            if other != self.rank and received[other].numel():
                todo.append((dist.irecv, received[other], other))
            if other != self.rank and messages[other].numel():
                todo.append((dist.isend, messages[other].contiguous(), other))
                self.sent[other, kind] += messages[other].numel() * messages[other].element_size()
        if self.batched and todo:
            batch = [dist.P2POp(*each, group=self.group) for each in todo]
            works = [(todo[0][2], work) for work in dist.batch_isend_irecv(batch)]
            todo = []
        for act, tensor, other in todo:
            try:
                works.append((other, act(tensor, other, group=self.group)))
            except RuntimeError as error:
                gone[other] = _told_by(str(error), self.timeout)
        gone.update(self._wait(works))
        if gone:
            told = "; ".join(f"process {other} {how}" for other, how in sorted(gone.items()))
            self._break(
                f"{told} (call {self.calls}, {kind})\n  To mend it: look at what the process was "
                "doing; perhaps it failed, or makes other calls than this one"
            )
        return received

    def _wait(self, works: Sequence[tuple[int, dist.Work]]) -> dict[int, str]:
        """Until all have arrived, or the time is up; what is to be said of those that failed."""
        end, gone = time.monotonic() + self.timeout, {}
        for other, work in works:
            try:
                if other not in gone:
                    work.wait(timedelta(seconds=max(end - time.monotonic(), 0.001)))
            except RuntimeError as error:
                gone[other] = _told_by(str(error), self.timeout)
        return gone

    def _break(self, told: str) -> NoReturn:
        self.broken = told.splitlines()[0]
        raise PeerError(f"{told}.")


def _other_than(words: str, others: str) -> str:
    """The first of the words, parted by commas, and those that the others lack."""
    parts = words.split(", ")
    return ", ".join([parts[0], *(part for part in parts[1:] if part not in others.split(", "))])


def _told_by(error: str, timeout: float) -> str:
    """gloo's error in our words."""
    if "imed out" in error or "imeout" in error:
        return f"did not answer within {timeout:g} s"
    return "is gone: its connection is closed"
