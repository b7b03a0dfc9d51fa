"""
What names and texts in a piece of code mean, as far as it can be seen.

Called by :mod:`caesarion.agent.risk.look` and :mod:`caesarion.agent.risk.calls`.
"""

import ast
import re
from collections.abc import Callable, Collection

from caesarion.agent.risk import table
from caesarion.agent.risk.budget import Budget
from caesarion.agent.risk.submodules import SUBMODULES
from caesarion.agent.risk.texts import is_path
from caesarion.events import RiskClass

_OPENING = re.compile(r"(^|_)(exec|eval|open|popen|spawn)(_|$)")

# Characters of a text that cost a step when it is asked for, as it is searched then; made up.
_CHARACTERS = 20


class Names(ast.NodeVisitor):
    """
    The names of a piece of code: those it imports, binds, and defines as functions or classes.

    ``modules`` are those that are imported, or from which names are. ``bound`` has the
    expressions that each name was bound to, None where there is none to see.
    """

    def __init__(self, tree: ast.Module, budget: Budget) -> None:
        self.spend = budget.spend
        self._held: dict[tuple[str, str], bool] = {}
        self.imported: dict[str, str] = {}
        self.modules: set[str] = set()
        self.bound: dict[str, list[ast.expr | None]] = {}
        self.defined: set[str] = set()
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        """Visit a node, which is a step."""
        self.spend()
        super().visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Keep the modules."""
        for one in node.names:
            self._keep_module(one.name)
            name = one.name if one.asname else one.name.partition(".")[0]
            self.imported[one.asname or name] = name

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Keep the names and their modules."""
        self._keep_module(node.module or "")
        for one in node.names:
            self.imported[one.asname or one.name] = f"{node.module or ''}.{one.name}"

    def _keep_module(self, name: str) -> None:
        if not any(map(_leads_away, name.split(".")[1:])):
            self.modules.add(name)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Keep a function, whose body is looked at where it stands."""
        self.defined.add(node.name)
        self.generic_visit(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as ast calls it

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """Keep a class."""
        self.defined.add(node.name)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        """Keep a parameter."""
        self._bind(node.arg, None)

    def visit_Assign(self, node: ast.Assign) -> None:
        """Keep what names are assigned from."""
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Call):
                self._bind_each(target, node.value)
            elif not isinstance(target, ast.Name):
                self.visit(target)
            elif isinstance(node.value, ast.Lambda):
                self.defined.add(target.id)
            else:
                self._bind(target.id, node.value)
        self.visit(node.value)

    def _bind_each(self, target: ast.Tuple, value: ast.Call) -> None:
        """Keep names that share what a call returns."""
        for one in target.elts:
            if isinstance(one, ast.Name):
                self._bind(one.id, value)
            else:
                self.visit(one)

    def visit_For(self, node: ast.For) -> None:
        """Keep what a name runs through."""
        self._loop(node.target, node.iter)
        for statement in (*node.body, *node.orelse):
            self.visit(statement)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        """Keep what a name runs through."""
        self._loop(node.target, node.iter)
        for condition in node.ifs:
            self.visit(condition)

    def _loop(self, target: ast.expr, values: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, values)
        else:
            self.visit(target)
        self.visit(values)

    def visit_Name(self, node: ast.Name) -> None:
        """Keep a name that is bound in another way."""
        if not isinstance(node.ctx, ast.Load):
            self._bind(node.id, None)

    def _bind(self, name: str, value: ast.expr | None) -> None:
        self.bound.setdefault(name, []).append(value)

    def is_own(self, name: str) -> bool:
        """Return whether the code binds or defines a name."""
        return name in self.bound or name in self.defined

    def path(self, node: ast.AST) -> str:
        """Return the dotted name of what ``node`` is in a module; empty if it is in none."""
        self.spend()
        match node:
            case ast.Attribute(value, attribute):
                path = self.path(value)
                return f"{path}.{attribute}" if path else ""
            case ast.Name(name) if name in self.imported:
                return self.imported[name]
            case ast.Name(name) if not self.is_own(name):
                known = table.ALIASES.get(name) or table.FUNCTIONS.get(name)
                return known or (name if _is_module(name) else "")
        return ""

    def text(self, node: ast.expr | None) -> str | None:
        """Return the text that ``node`` is, or an f-string begins with; None if unknown."""
        match node:
            case ast.Constant(str(value)) | ast.JoinedStr([ast.Constant(str(value)), *_]):
                self.spend(1 + len(value) // _CHARACTERS)
                return value
            case ast.Name(name):
                values = self.bound.get(name, [])
                if len(values) == 1 and isinstance(values[0], ast.Constant):
                    return self.text(values[0])
        return None

    def whole_text(self, node: ast.expr | None) -> str | None:
        """Return the text that ``node`` is; None if it is unknown, be it in a part."""
        return None if isinstance(node, ast.JoinedStr) else self.text(node)

    def is_local(self, source: ast.expr | None) -> bool:
        """Return whether ``source``, from which something is read, is no address for sure."""
        self.spend()
        match source:
            case ast.Constant(str()):
                return is_path(self.text(source) or "", is_whole=True)
            case ast.JoinedStr([ast.Constant(str(first)), *rest]):
                texts = [self.text(part) or "" for part in rest if isinstance(part, ast.Constant)]
                is_end_plain = not any("::" in text or "://" in text for text in texts)
                return is_end_plain and is_path(first, is_whole=not rest)
            case ast.Name(name):
                return self.holds(name, self.is_local)
            case ast.BinOp(left, ast.Div(), _):
                return self.is_local(left)
            case ast.List(parts) | ast.Tuple(parts):
                return all(map(self.is_local, parts))
            case ast.Call(ast.Name("sorted" | "list"), [first, *_]):
                return self.is_local(first)
            case ast.Call(ast.Attribute(_, method)) if method in table.LOCAL_METHODS:
                return True
            case ast.Call(function, given):
                path = self.path(function)
                is_kept = path in table.KEEPING and not all(map(self.is_local, given))
                return path in table.LOCAL and not is_kept
        return False

    def holds(self, name: str, is_so: Callable[[ast.expr], bool]) -> bool:
        """
        Return whether a condition holds for all that ``name`` is bound to, of which there is some.

        It is asked once for each name, as there are as many ways to a name as the code wants.
        In itself it does not hold.
        """
        key = (name, is_so.__qualname__)
        if key not in self._held:
            self._held[key] = False
            values = self.bound.get(name, [])
            self._held[key] = bool(values) and all(
                value is not None and is_so(value) for value in values
            )
        return self._held[key]


def class_of(path: str, imported: Collection[str]) -> RiskClass:
    """
    Return the class of a dotted name in a module: that of its longest part that is known.

    What lies further than the public names of a module that is known, or of the standard library
    and ``imported``, can be anything: modules have those that they import as attributes, and one
    leads to the interpreter.
    """
    prefixes = [path.rsplit(".", count)[0] for count in range(path.count(".") + 1)]
    judged = next((one for one in prefixes if one in table.MODULES), "")
    found = table.MODULES.get(judged, "reads" if is_harmless(prefixes[-1]) else "processes")
    if found != "reads":
        return "processes" if any(map(_leads_away, _behind(judged, path))) else found
    usual = {one for one in imported if one.partition(".")[0] in table.STANDARD}
    known = (one for one in prefixes if one == judged or one in SUBMODULES or one in usual)
    return "reads" if _is_near(_behind(next(known, prefixes[-1]), path)) else "processes"


def _behind(module: str, path: str) -> list[str]:
    """Return the names in ``path`` behind ``module``, and behind what is called as it is."""
    rest = path.removeprefix(module).strip(".").split(".")
    return rest[1:] if rest[0] in ("", module.rpartition(".")[2]) else rest


def leads_out(name: str) -> bool:
    """Return whether an attribute, of whatever object, leads to processes or the interpreter."""
    if name.startswith("__") and name.endswith("__"):
        return name not in table.DUNDERS
    return table.METHODS.get(name) == "processes"


def _is_near(rest: list[str]) -> bool:
    """Return whether names behind a known module are a public one, or in a class or an object."""
    if any(map(_leads_away, rest)) or any(map(_opens, rest)):
        return False
    # A class is no module; of anything else there are only methods that are known.
    return len(rest) < 2 or rest[0][:1].isupper() or all(name in table.METHODS for name in rest[1:])


def _leads_away(name: str) -> bool:
    """Return whether an attribute of a module is private, or a module that it has imported."""
    if name in table.DUNDERS:
        return False
    is_module = name in table.STANDARD and name not in table.ALSO_FUNCTIONS
    return is_module or name.startswith("_") or leads_out(name)


def _opens(name: str) -> bool:
    return bool(_OPENING.search(name)) and name not in table.READERS


def is_private(module: str, name: str) -> bool:
    """Return whether ``name`` is no public name of a module that may be called ``module``."""
    return module in table.STANDARD and _leads_away(name)


def is_harmless(module: str) -> bool:
    """Return whether a module is known, and can be imported without harm."""
    return module in table.HARMLESS or module in table.STANDARD


def _is_module(name: str) -> bool:
    """Return whether a name that nothing in the code binds is that of a module."""
    return (name in table.HARMLESS or name in table.MODULES) and name not in table.WORDS
