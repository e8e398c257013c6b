"""SPEC.md: every citation of it leads to a heading or a row; every clause stands by its rule.

A citation is written "spec 5", "spec 5, 12", "spec 3, row 4b", "spec 3, rows 4b, 4c", or is a link
to an address such as SPEC.md#spec-5-max-ties.
"""

import re
from pathlib import Path

import pytest

from embag_edu.check.clauses import all_clauses

ROOT = Path(__file__).resolve().parents[1]
SPEC = (ROOT / "embag_edu" / "SPEC.md").read_text(encoding="utf-8")
ANCHORS = re.findall(r'<a id="spec-([\w-]+)"></a>', SPEC)
SUFFIXES = {".py", ".json", ".ipynb", ".md", ".cu", ".cuh", ".h", ".cpp", ".toml", ".cff", ".yml"}
CITATION = re.compile(
    r"\bspec(?:\.md)?,? (?:sections? )?(?P<sections>\d+[a-z]?(?:(?:, | and )\d+)*)"
    r"(?:,? rows? (?P<rows>[\w-]+(?:(?:, | and )(?:\d+\w*|\w+-[\w-]+))*))?",
    re.IGNORECASE,
)
WITHOUT_A_SECTION = re.compile(r"\bspec(?:\.md)?,? rows? [\w-]+", re.IGNORECASE)
LINK = re.compile(r"SPEC\.md#([\w-]+)")


def addresses(match):
    """The anchors that a citation asks for: "3" and "3-4b". A row is of the last section."""
    sections = re.split(r", | and ", match["sections"])
    rows = re.split(r", | and ", match["rows"]) if match["rows"] else []
    return sections + [f"{sections[-1]}-{row}" for row in rows]


def unresolved(path):
    """The citations in a file that lead nowhere, as 'file:line: what was cited'."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        wrong = [m[0] for m in CITATION.finditer(line) if not set(addresses(m)) <= set(ANCHORS)]
        wrong += WITHOUT_A_SECTION.findall(line)
        wrong += [m[0] for m in LINK.finditer(line) if m[1].removeprefix("spec-") not in ANCHORS]
        yield from (f"{path}:{number}: {citation!r} is not in SPEC.md" for citation in wrong)


def files():
    for folder in ("embag_edu", "book", "tests", ".ci"):
        yield from (p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in SUFFIXES)
    yield from (p for p in sorted(ROOT.iterdir()) if p.suffix in SUFFIXES)


def test_every_citation_resolves():
    mine = Path(__file__).resolve()  # has wrong ones, below
    wrong = [told for path in files() if path != mine for told in unresolved(path)]
    assert not wrong, "\n".join(wrong)
    table = (ROOT / "embag_edu" / "check" / "clauses.py").read_text(encoding="utf-8")
    assert len(CITATION.findall(table)) > 60  # they are found at all


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("spec 3, row 5; SPEC.md#spec-5-max-ties; spec 3, rows 4b and 4c, which", 0),
        ("spec 7, 14 and Spec 2, row index-dtypes. A spec of 15 rows, a specification 15", 0),
        ("spec 15", 1),
        ("spec 3, row 16", 1),
        ("spec 2, row 3c", 1),
        ("spec 5, 12, 99", 1),
        ("spec 3, rows 4b, 4d", 1),
        ("spec.md, section 16", 1),
        ("spec row 5", 1),
        ("SPEC.md#spec-5-nothing-of-the-kind", 1),
        ("spec 0 and spec 20", 2),
    ],
)
def test_a_wrong_citation_is_told_with_file_and_line(tmp_path, text, wrong):
    file = tmp_path / "cites.py"
    file.write_text(f"# the first line\n# {text}\n", encoding="utf-8")
    found = list(unresolved(file))
    assert len(found) == wrong
    assert all(told.startswith(f"{file}:2: ") for told in found)


def test_sections_and_addresses_are_each_there_once():
    assert re.findall(r"^## (\d+)\. ", SPEC, re.M) == [str(n) for n in range(1, 15)]
    assert len(set(ANCHORS)) == len(ANCHORS)
    for target in re.findall(r"\]\(([^)#\s]+)\)", SPEC):
        assert (ROOT / "embag_edu" / target).exists(), target


def clauses_by_section():
    """What SPEC.md names as the clauses of each section."""
    parts = re.split(r'<a id="spec-(\d+)"></a>', SPEC)
    for number, text in zip(parts[1::2], parts[2::2], strict=True):
        lists = re.findall(r"\*Clauses\*: ((?:`[\w.]+`[,.]\s*)+)", text)
        yield number, {name for names in lists for name in re.findall(r"`([\w.]+)`", names)}


def test_every_clause_stands_beside_its_rule():
    """Each clause that cites a section is named there, after *Clauses*, and no other is."""
    named = dict(clauses_by_section())
    cited = {number: set() for number in named}
    for clause in all_clauses():
        match = CITATION.search(clause.source)
        assert match, f"{clause.name}: its source, {clause.source!r}, cites no section of SPEC.md"
        for section in re.split(r", | and ", match["sections"]):
            cited[section].add(clause.name)
    for section in named:
        assert named[section] == cited[section], f"section {section} of SPEC.md"
