"""An adversary for the exercises: it makes small mistakes in right answers, and tries each one.

`mutants(source)` is the Python engine: one changed place for each Mutant. `trial` is for any
language: it sorts mutants into caught (the check rejects them), equal (they pass, and agree with
the right answer on a wide random domain) and left (they pass and are wrong): those are holes.
"""

import ast
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Mutant:
    """A source with one mistake in it, and what was changed."""

    what: str
    source: str


@dataclass
class Tally:
    """What became of the mutants of one exercise."""

    made: int = 0
    caught: int = 0
    equal: list[Mutant] = field(default_factory=list)
    left: list[Mutant] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.made += other.made
        self.caught += other.caught
        self.equal += other.equal
        self.left += other.left

    def __str__(self) -> str:
        counts = f"{self.made:5} {self.caught:7} {len(self.equal):6} {len(self.left):5}"
        return "\n".join([counts, *(f"      left: {mutant.what}" for mutant in self.left)])


def trial(
    mutants: Iterable[Mutant], passes: Callable[[Mutant], bool], equal: Callable[[Mutant], bool]
) -> Tally:
    """Try each mutant: does it pass the check, and if so, is it as good as the right answer?"""
    tally = Tally()
    for mutant in mutants:
        tally.made += 1
        if not passes(mutant):
            tally.caught += 1
        elif equal(mutant):
            tally.equal.append(mutant)
        else:
            tally.left.append(mutant)
    return tally


# -------------------------------------------------------------------------- mistakes in Python


def mutants(source: str) -> Iterator[Mutant]:
    """Every source that differs from this one (a function) by one small mistake."""
    seen = {ast.unparse(ast.parse(source))}
    for at, node in enumerate(ast.walk(ast.parse(source))):
        for what, change in _changes(node):
            tree = ast.parse(source)
            place = list(ast.walk(tree))[at]
            if isinstance(change, list):  # statements for a statement
                _Swap(place, change).visit(tree)
            else:
                tree = _Swap(place, copy.deepcopy(change)).visit(tree)
            changed = ast.unparse(ast.fix_missing_locations(tree))
            if changed not in seen:
                seen.add(changed)
                yield Mutant(f"line {getattr(node, 'lineno', 0)}: {what}", changed)


class _Swap(ast.NodeTransformer):
    """Puts something in the place of one node."""

    def __init__(self, place: ast.AST, change: object) -> None:
        self.place, self.change = place, change

    def visit(self, node):
        return self.change if node is self.place else super().generic_visit(node)


COMPARE = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq, ast.LtE, ast.GtE),
    ast.NotEq: (ast.Eq, ast.Lt, ast.Gt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
BINARY = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult, ast.FloorDiv),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv,),
    ast.Pow: (ast.Mult,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.MatMult: (ast.Mult,),
}
TWINS = (
    ("max", "min"), ("maximum", "minimum"), ("sum", "mean"), ("sum", "max"), ("mean", "median"),
    ("argmax", "argmin"), ("left", "right"), ("zeros", "ones"), ("append", "insert"),
    ("float32", "float64"), ("float64", "float32"), ("int64", "int32"), ("shape", "strides"),
    ("cumsum", "cumprod"), ("sort", "argsort"), ("unique", "sort"), ("log", "log2"),
    ("nonzero", "flatnonzero"), ("floor", "ceil"), ("nbytes", "size"), ("itemsize", "ndim"),
    ("max", "sum"), ("index_add", "index_copy"), ("any", "all"), ("mean", "sum"),
)  # fmt: skip


def _twins(name: str) -> list[str]:
    return [b if name == a else a for a, b in TWINS if name in (a, b)]


def _changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """(what, a node or a list of statements to stand in its place), for each mistake here."""
    kind = f"_of_{type(node).__name__.lower()}"
    if kind in globals():
        yield from globals()[kind](node)
    if isinstance(node, ast.stmt) and not isinstance(node, (ast.FunctionDef, ast.Pass)):
        yield f"without `{_short(node)}`", [ast.Pass()]


def _short(node: ast.AST) -> str:
    return ast.unparse(node).split("\n")[0][:70]


def _with(node, **fields):
    changed = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _told(node, changed):
    return f"`{_short(node)}` -> `{_short(changed)}`", changed


def _and_truth(node):
    """`x != p` -> `p and x != p`: a number that is 0 counts as False."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield _told(node, ast.BoolOp(ast.And(), [ast.Name(part.id, ast.Load()), node]))
            yield _told(node, ast.BoolOp(ast.Or(), [ast.UnaryOp(ast.Not(), part), node]))


def _of_compare(node):
    for other in COMPARE.get(type(node.ops[0]), ()):
        yield _told(node, _with(node, ops=[other()]))
    yield from _and_truth(node)


def _of_binop(node):
    for other in BINARY.get(type(node.op), ()):
        yield _told(node, _with(node, op=other()))
    if not isinstance(node.op, (ast.Add, ast.Mult, ast.BitAnd, ast.BitOr)):
        yield _told(node, _with(node, left=node.right, right=node.left))
    yield _told(node, node.left)
    yield _told(node, node.right)


def _of_boolop(node):
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield _told(node, _with(node, op=other))
    for value in node.values:
        yield _told(node, value)


def _of_unaryop(node):
    yield _told(node, node.operand)


def _of_ifexp(node):
    yield _told(node, node.body)
    yield _told(node, node.orelse)


def _of_constant(node):
    if isinstance(node.value, bool):
        yield _told(node, ast.Constant(not node.value))
    elif isinstance(node.value, int):
        for other in (node.value + 1, node.value - 1, 0, -1):
            yield _told(node, ast.Constant(other))
    elif isinstance(node.value, float):
        for other in (node.value * 2, node.value / 2, 0.0, 1.0):
            yield _told(node, ast.Constant(other))
    elif isinstance(node.value, str):
        for other in _twins(node.value):
            yield _told(node, ast.Constant(other))


def _of_name(node):
    if isinstance(node.ctx, ast.Load):
        for other in _twins(node.id):
            yield _told(node, ast.Name(other, ast.Load()))


def _of_attribute(node):
    for other in _twins(node.attr):
        yield _told(node, _with(node, attr=other))
    if isinstance(node.ctx, ast.Load) and node.attr == "T":
        yield _told(node, node.value)


def _of_call(node):
    for at in range(len(node.args)):
        if len(node.args) + len(node.keywords) > 1:
            yield _told(node, _with(node, args=node.args[:at] + node.args[at + 1 :]))
        yield _told(node, node.args[at])
    for at in range(len(node.keywords)):
        yield _told(node, _with(node, keywords=node.keywords[:at] + node.keywords[at + 1 :]))
    if isinstance(node.func, ast.Attribute):  # x.copy() -> x
        yield _told(node, node.func.value)
    if len(node.args) == 3 and getattr(node.func, "attr", "") == "where":
        kept = _times_test(node.args[0], node.args[1])
        rest = _times_test(ast.UnaryOp(ast.Invert(), node.args[0]), node.args[2])
        yield _told(node, ast.BinOp(kept, ast.Add(), rest))
    if len(node.args) > 1:
        yield _told(node, _with(node, args=[node.args[1], node.args[0], *node.args[2:]]))
    if getattr(node.func, "id", "") == "len":
        yield from _sizes(node)
    if getattr(node.func, "id", "") == "range":
        yield _told(node, ast.Subscript(node, ast.Slice(ast.Constant(1)), ast.Load()))
        yield _told(node, ast.Subscript(node, ast.Slice(None, ast.Constant(-1)), ast.Load()))


def _sizes(node):
    """A number that is read from an argument -> one that the first cases happen to have."""
    for number in (1, 2, 3):
        yield _told(node, ast.Constant(number))
    for step in (1, -1):
        yield _told(node, ast.BinOp(node, ast.Add(), ast.Constant(step)))


def _of_subscript(node):
    if not isinstance(node.ctx, ast.Load):
        return
    yield _told(node, node.value)
    if getattr(node.value, "attr", "") == "shape":
        yield from _sizes(node)
    elif not isinstance(node.slice, (ast.Slice, ast.Tuple, ast.Constant)):
        for step in (ast.Add(), ast.Sub()):
            moved = ast.BinOp(node.slice, step, ast.Constant(1))
            yield _told(node, _with(node, slice=moved))


def _of_slice(node):
    for end in ("lower", "upper"):
        bound = getattr(node, end)
        if bound is not None:
            yield _told(node, _with(node, **{end: None}))
            for step in (ast.Add(), ast.Sub()):
                yield _told(node, _with(node, **{end: ast.BinOp(bound, step, ast.Constant(1))}))


def _of_return(node):
    """A result of another dtype, in another order, or with another sign."""
    if node.value is None:
        return
    parts = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    for at, part in enumerate(parts):
        for made in ("({}).astype('float32')", "({}).astype('float64')", "({})[::-1]", "-({})"):
            changed = ast.parse(made.format(ast.unparse(part)), mode="eval").body
            whole = [*parts[:at], changed, *parts[at + 1 :]]
            value = ast.Tuple(whole, ast.Load()) if len(parts) > 1 else changed
            yield f"return of `{_short(changed)}`", [ast.Return(value)]


def _times_test(test, value):
    """`value * test`: what a condition should leave out is multiplied by 0 instead."""
    return ast.BinOp(copy.deepcopy(value), ast.Mult(), copy.deepcopy(test))


def _of_augassign(node):
    target = copy.deepcopy(node.target)
    yield "= for " + _short(node), [ast.Assign([target], node.value, lineno=0)]
    for other in BINARY.get(type(node.op), ()):
        changed = _with(node, op=other())
        yield f"`{_short(node)}` -> `{_short(changed)}`", [changed]


def _of_assign(node):
    """An array that an answer writes into, without its copy."""
    if isinstance(node.targets[0], ast.Subscript):
        first = _with(node, targets=[_with(node.targets[0].value, ctx=ast.Store())])
        yield f"the whole for `{_short(node)}`", [first]


def _of_if(node):
    only = node.body[0] if len(node.body) == 1 and not node.orelse else None
    if isinstance(only, (ast.Assign, ast.AugAssign)):
        leaky = _with(only, value=_times_test(node.test, only.value))
        yield f"times zero for `{_short(node)}`", [leaky]
    yield f"always `{_short(node.test)}`", node.body
    yield f"never `{_short(node.test)}`", node.orelse or [ast.Pass()]


def _of_for(node):
    for name, cut in (
        ("first", ast.Slice(ast.Constant(1))),
        ("last", ast.Slice(None, ast.Constant(-1))),
    ):
        listed = ast.Call(ast.Name("list", ast.Load()), [node.iter], [])
        fewer = _with(node, iter=ast.Subscript(listed, cut, ast.Load()))
        yield f"`{_short(node)}` without the {name}", [fewer]
    yield f"`{_short(node)}` ends after one round", [_with(node, body=[*node.body, ast.Break()])]


def _of_functiondef(node):
    """A number among the arguments -> a number; a return that has slipped into the loop."""
    for at, part in enumerate(node.body[:-1]):
        last = node.body[at + 1]
        if isinstance(part, ast.For) and isinstance(last, ast.Return):
            inside = _with(part, body=[*part.body, last])
            yield "return inside the loop", [_with(node, body=[*node.body[:at], inside, last])]
    for argument in node.args.args:
        for number in (0, 1, 2, -1):
            fixed = ast.Assign(
                [ast.Name(argument.arg, ast.Store())], ast.Constant(number), lineno=0
            )
            yield f"{argument.arg} = {number}", [_with(node, body=[fixed, *node.body])]
        for other in node.args.args:
            if other is not argument:
                swap = ast.Name(argument.arg, ast.Store()), ast.Name(other.arg, ast.Load())
                same = ast.Assign([swap[0]], swap[1], lineno=0)
                yield f"{argument.arg} = {other.arg}", [_with(node, body=[same, *node.body])]
