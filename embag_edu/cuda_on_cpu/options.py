"""The options of NVIDIA's compiler: what they mean here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from embag_edu.cuda_on_cpu import preprocessor

# What NVRTC takes: the first kind means something here, the second nothing on a CPU.
PASSED = ("-D", "-U", "-I")
LONG = {"--define-macro": "-D", "--undefine-macro": "-U", "--include-path": "-I"}
IGNORED = re.compile(
    r"--?(std|arch|gpu-architecture|lineinfo|generate-line-info|G|device-debug|g|dopt|O\d?|"
    r"default-device|device-as-default-execution-space|restrict|fmad|ftz|prec-div|prec-sqrt|"
    r"use_fast_math|maxrregcount|ptxas-options|Xptxas|extra-device-vectorization|split-compile|"
    r"gen-opt-lto|dlto|dlink-time-opt|rdc|relocatable-device-code|dc|device-c|dw|device-w|ewp|"
    r"extensible-whole-program|modify-stack-limit|minimal|w|disable-warnings|Werror|W\w*|"
    r"diag-\w+|err-no|display-error-number|no-display-error-number|brief-diagnostics|opt-info|"
    r"optimization-info|version-ident|builtin-move-forward|builtin-initializer-list|pch|"
    r"no-source-include|jump-table-density|frandom-seed|random-seed|time|fdevice-\w[\w-]*)"
    r"(=.*)?"
)
_TWO_WORDS = re.compile(r"-[DUI]|--?(arch|gpu-architecture|std|maxrregcount|Xptxas|ptxas-options)")
ARCH = "sm_90"  # the GPU that a source is compiled for, where nothing else is asked


def check_options(options: Sequence[str]) -> list[str]:
    """The options that mean something here; ValueError for one that is not known."""
    kept = []
    for option in in_one_word(options):
        if option.startswith(PASSED):
            kept.append(option)
        elif not IGNORED.fullmatch(option):
            raise ValueError(
                f"options: {option!r} is not known here; -D, -U and -I are passed on, "
                "-std and NVRTC's options for tuning are taken and change nothing on a CPU"
            )
    return kept


def in_one_word(options: Sequence[str]) -> tuple[str, ...]:
    """("-DN=4", "-arch=sm_80") of ("--define-macro=N=4", "-arch", "sm_80")."""
    made: list[str] = []
    words = [word.strip() for word in options]
    while words:
        word = words.pop(0)
        if _TWO_WORDS.fullmatch(word) and words:
            word += ("" if word in PASSED else "=") + words.pop(0)
        name, _, value = word.partition("=")
        made.append(LONG[name] + value if name in LONG else re.sub(r"^(-[DUI])\s+", r"\1", word))
    return tuple(made)


def architecture(options: Sequence[str]) -> str | None:
    """ "sm_90" of ("-arch=sm_90",) or ("--gpu-architecture=compute_90",); None without one."""
    pattern = r"(?:-arch|--gpu-architecture)=(?:sm|compute)_(\d+)[af]?"
    matches = (re.fullmatch(pattern, option) for option in in_one_word(options))
    numbers = [match[1] for match in matches if match]
    return f"sm_{numbers[-1]}" if numbers else None


def seen(options: Sequence[str], arch: str) -> tuple[str, ...]:
    """The options for what reads a source: with what NVIDIA's compiler defines by itself."""
    given = in_one_word(options)
    defined = preprocessor.predefined(arch, standard(given))
    return (*(f"-D{name}={value}" for name, value in defined.items()), *given)


def standard(options: Sequence[str]) -> str:
    """ "c++20" where it is asked for; else "c++17", for older ones too."""
    asked = [option for option in in_one_word(options) if re.match(r"--?std=", option)]
    return "c++20" if asked and re.search(r"\+\+2[0a]$", asked[-1]) else "c++17"


def folders(options: Sequence[str]) -> list[Path]:
    """Those of -I, in their order."""
    return [Path(option[2:]) for option in in_one_word(options) if option.startswith("-I")]
