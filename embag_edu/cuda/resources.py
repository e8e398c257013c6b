"""What every kernel of the package needs on a GPU: registers, shared memory, what is spilled.

`python -m embag_edu.cuda.resources` compiles every .cu file with NVIDIA's compiler (no GPU is
needed) and compares what it reports with resources.json; `--write` stores it there instead.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from embag_edu.cuda_on_cpu import nvrtc
from embag_edu.cuda_on_cpu.source import instances, kernels

PACKAGE = Path(__file__).resolve().parents[1]
STORED = Path(__file__).with_name("resources.json")

Table = dict[str, dict[str, dict[str, dict[str, int]]]]  # file, kernel, architecture, count


def project_files() -> list[Path]:
    """The .cu files of the package."""
    folders = (PACKAGE / "cuda", PACKAGE / "beyond", PACKAGE / "cuda_on_cpu" / "conformance")
    return sorted(path for folder in folders for path in folder.glob("*.cu"))


def resources(
    files: Iterable[Path] | None = None, architectures: Sequence[str] = nvrtc.ARCHITECTURES
) -> tuple[Table, list[str]]:
    """Compile every kernel of the files for every architecture.

    Kernels that are no templates are found; the instances of templates stand in the file, in
    comment lines `// instances: forward<float>, forward<double>`. An extern "C" kernel may be
    missing from an architecture, by `#if __CUDA_ARCH__ >= 800`: it then has no counts there.
    Returns {file: {kernel: {architecture: counts that are not 0}}} and a list of what went wrong.
    """
    table: Table = {}
    problems: list[str] = []
    for path in project_files() if files is None else files:
        name, code = _name(path), Path(path).read_text(encoding="utf-8")
        problems += [f"{name}: {text}" for text in _without_instance(code)]
        rows: dict[str, dict[str, dict[str, int]]] = {}
        for arch in architectures if kernels(code, ()) else ():
            result = nvrtc.compile_check(
                code, _expressions(code), arch, (f"-I{Path(path).parent}", f"-I{PACKAGE / 'cuda'}")
            )
            problems += [f"{name}, {arch}: {text}" for text in result.errors]
            for kernel, counts in result.resources.items():
                needs = {name: count for name, count in asdict(counts).items() if count}
                rows.setdefault(kernel, {})[arch] = needs
        problems += [f"{name}: {kernel} is in no machine code" for kernel in _lost(code, rows)]
        table[name] = rows
    return table, problems


def _name(path: Path) -> str:
    """The path inside the package, which is the same on every machine; else the file's name."""
    path = Path(path).resolve()
    return path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name


def _expressions(code: str) -> list[str]:
    """The instances of templates, and the kernels whose names C++ changes."""
    plain = [
        k.name for k in kernels(code, ()).values() if not (k.template_parameters or k.extern_c)
    ]
    return list(dict.fromkeys([*plain, *instances(code)]))


def _without_instance(code: str) -> list[str]:
    named = {expression.split("<")[0].strip() for expression in instances(code)}
    return [
        f"line {kernel.line}: the template `{kernel.name}` has no line "
        f"`// instances: {kernel.name}<...>`"
        for kernel in kernels(code, ()).values()
        if kernel.template_parameters and kernel.name not in named
    ]


def _lost(code: str, rows: Iterable[str]) -> list[str]:
    """Kernels of the source that no architecture has, where any has compiled."""
    extern = [kernel.name for kernel in kernels(code, ()).values() if kernel.extern_c]
    return [name for name in extern if name not in set(rows)] if rows else []


def compare(stored: dict[str, Any], table: Table, version: str) -> tuple[list[str], list[str]]:
    """Hold `table` against what is stored: (differences, remarks); no difference is a pass.

    With the stored version of NVRTC, every count must be the same. With another version only this
    is asked, since every compiler allots registers in its own way: no kernel spills more bytes than
    is stored. Kernels that are not stored, and stored ones that are gone, differ with any version.
    """
    same = stored.get("nvrtc") == version
    remark = f"stored with NVRTC {stored.get('nvrtc')}, this is {version}: only spills are compared"
    old, new = _rows(stored.get("files", {})), _rows(table)
    differences = [f"{row}: not stored" for row in new if row not in old]
    differences += [f"{row}: stored, but gone" for row in old if row not in new]
    for row in new:
        for count in sorted({*new[row], *old[row]}) if row in old else ():
            was, value = old[row].get(count, 0), new[row].get(count, 0)
            if value != was if same else (count.startswith("spill") and value > was):
                differences.append(f"{row}: {count} was {was}, is {value}")
    return differences, [] if same else [remark]


def _rows(table: Table) -> dict[str, dict[str, int]]:
    return {
        f"{file}, {kernel}, {arch}": counts
        for file, of_file in table.items()
        for kernel, of_kernel in of_file.items()
        for arch, counts in of_kernel.items()
    }


def read_stored(path: Path = STORED) -> dict[str, Any]:
    """What resources.json says: {"nvrtc": version, "files": table}."""
    stored: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return stored


def registers(kernel: str, architecture: str = "sm_90") -> int | None:
    """The registers of a thread that the compiler gave to an instance; None: not stored."""
    return _of_instance(kernel, architecture).get("registers")


def shared_bytes(kernel: str, architecture: str = "sm_90") -> int | None:
    """The bytes of shared memory that each block of an instance takes; None: not stored."""
    counts = _of_instance(kernel, architecture)
    return counts.get("shared_bytes", 0) if counts else None


def _of_instance(kernel: str, architecture: str) -> dict[str, int]:
    """What is stored for "bag_sum_1<float, long long, SUM, false>", in whichever file it stands."""
    table: Table = read_stored().get("files", {})
    found = (of_file[kernel] for of_file in table.values() if kernel in of_file)
    return next(found, {}).get(architecture, {})


def write_stored(table: Table, version: str, path: Path = STORED) -> None:
    """Store a table, one line for each kernel and architecture."""
    text = json.dumps({"nvrtc": version, "files": table}, indent=1, sort_keys=True)
    text = re.sub(r"\{[^{}]*\}", lambda counts: " ".join(counts[0].split()), text)
    path.write_text(text + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 when all kernels compile and need what is stored."""
    parser = argparse.ArgumentParser("python -m embag_edu.cuda.resources", description=__doc__)
    parser.add_argument("--write", action="store_true", help="store what the kernels need")
    write = parser.parse_args(arguments).write
    if why := nvrtc.available():
        print(why)
        return 2
    table, problems = resources()
    for row, counts in _rows(table).items():
        print(f"{row}: " + ", ".join(f"{name} {value}" for name, value in counts.items()))
    remarks: list[str] = []
    if write and not problems:
        write_stored(table, nvrtc.version())
        remarks = [f"written: {STORED.name}, NVRTC {nvrtc.version()}"]
    elif not problems:
        problems, remarks = compare(read_stored(), table, nvrtc.version())
    print(*remarks, *problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
