"""
A walk through a piece of code that collects the classes of what it does.

Called by :mod:`caesarion.agent.risk`; asks :mod:`caesarion.agent.risk.calls` about calls. A
mention counts as much as a call, since what is mentioned can be called under another name.
"""

import ast
import re

from caesarion.agent.risk import arguments, calls, table, texts
from caesarion.agent.risk.budget import Budget
from caesarion.agent.risk.names import Names, class_of, is_harmless, is_private, leads_out
from caesarion.events import RiskClass


def look(tree: ast.Module, budget: Budget) -> set[RiskClass]:
    """Return the classes of everything in ``tree``."""
    return _Look(tree, budget).found


def parse(code: str) -> ast.Module:
    """Return the tree of code in a notebook."""
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, "<code>", "exec", flags)
    assert isinstance(tree, ast.Module)
    return tree


class _Look(ast.NodeVisitor):
    def __init__(self, tree: ast.Module, budget: Budget) -> None:
        self.found: set[RiskClass] = set()
        self._budget = budget
        self._names = Names(tree, budget)
        # Above 0 in functions, classes and comprehensions, whose names are their own.
        self._depth = 0
        self.visit(tree)

    def visit(self, node: ast.AST) -> None:
        """Visit a node, which is a step."""
        self._budget.spend()
        super().visit(node)

    def _bind(self) -> None:
        if self._depth == 0:
            self.found.add("writes names")

    def _visit_inside(self, node: ast.AST) -> None:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._bind()
        if calls.is_drawn(node.name):
            self.found.add("processes")  # What it returns may be a script in the user's page.
        for decorator in node.decorator_list:
            self._called(decorator)
        self._visit_inside(node)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - as ast calls it

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bind()
        for decorator in node.decorator_list:
            self._called(decorator)
        self._visit_inside(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_inside(node)

    def visit_ListComp(self, node: ast.expr) -> None:
        self._visit_inside(node)

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815

    def visit_Global(self, node: ast.Global) -> None:
        self.found.add("writes names")

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.found.add("writes names")  # In a comprehension, too.
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._bind()
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._bind()

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self._bind()
        self.generic_visit(node)

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            # Nobody knows what an object from elsewhere does at the end of the block.
            if not isinstance(item.context_expr, ast.Call) and not self._is_made_here(item):
                self.found.add("processes")
        self.generic_visit(node)

    visit_AsyncWith = visit_With  # noqa: N815 - as ast calls it

    def _is_made_here(self, item: ast.withitem) -> bool:
        return isinstance(item.context_expr, ast.Name) and self._names.is_own(item.context_expr.id)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind()
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for one in node.names:
            self._import(one.name)
            # A module under its own name, or the usual one, replaces nothing of the user's.
            if one.asname and table.ALIASES.get(one.asname) != one.name:
                self._bind()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self._import(node.module or "" if node.level == 0 else "")
        self._bind()

    def _import(self, module: str) -> None:
        top = module.partition(".")[0]
        is_program = "__main__" in module.split(".")
        if is_program or top in table.STARTING or not (is_harmless(top) or top in table.MODULES):
            self.found.add("processes")  # Nobody knows what another does when it is imported.

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bind()
        elif path := self._names.path(node):
            self._mention(path)
        elif not self._names.is_own(node.id):
            known = table.BUILTINS.get(node.id, "reads")
            self.found.add(table.PASSED.get(node.id, known))

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            # The environment is that of every process that is started later.
            path = self._names.path(node.value)
            is_plain = path != "os.environ"
            if _is_settings(path):
                is_plain = arguments.are_plain_settings([node.slice], self._names)
            self.found.add("writes names" if is_plain else "processes")
        if calls.is_hidden(node.slice, node.value, self._names):
            self.found.add("processes")
        if _is_settings(self._names.path(node.value)):
            self.visit(node.slice)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        path = self._names.path(node)
        if calls.is_drawn(node.attr):
            self.found.add("processes")
        if not isinstance(node.ctx, ast.Load):
            module = path.rpartition(".")[0]
            is_module = "." not in module or module in table.MODULES
            # A module whose function is replaced does something else for everybody, and the name
            # of a backend is that of a module, which is imported.
            is_grave = (module and is_module) or not table.NAMING.isdisjoint(
                (node.attr, *path.split("."))
            )
            is_grave = is_grave or _is_settings(path)
            self.found.add("processes" if is_grave else "writes names")
        elif path:
            self._mention(path)
            self.found.add(table.MENTIONED.get(node.attr, "reads"))
            return
        elif self._is_out(node.value, node.attr):
            self.found.add("processes")
        else:
            self.found.add(table.MENTIONED.get(node.attr, "reads"))
        self.visit(node.value)

    def _is_out(self, value: ast.expr, name: str) -> bool:
        """Return whether the attribute ``name`` leads out of ``value``, maybe a module."""
        names = self._names
        is_private_name = (
            isinstance(value, ast.Name)
            and not names.is_own(value.id)
            and is_private(value.id, name)
        )
        return leads_out(name) or is_private_name

    def _mention(self, path: str) -> None:
        """Judge the mention of a name in a module, or of a module itself."""
        # Under another name, nobody would see which settings are set.
        is_out = leads_out(path.rpartition(".")[2]) or _is_settings(path)
        self.found.add("processes" if is_out else class_of(path, self._names.modules))

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and (
            calls.is_drawn(node.value) or texts.has_script(node.value)
        ):
            self.found.add("processes")

    def visit_Call(self, node: ast.Call) -> None:
        self._called(node.func, node)
        if not isinstance(node.func, ast.Name) or self._names.path(node.func):
            self.found |= arguments.of_any(node, self._names)
        self._evaluated(node)
        if calls.passes_unknown(node, self._names):
            self.found.add("processes")
        for argument in node.args:
            self.visit(argument)
        for keyword in node.keywords:
            self.visit(keyword.value)
            if calls.is_drawn(keyword.arg or ""):
                self.found.add("processes")
            if isinstance(keyword.value, ast.Constant) and keyword.value.value is False:
                continue
            if keyword.arg in ("inplace", "out"):
                self.found.add("writes names")
            elif keyword.arg in ("allow_pickle", "shell", "eval_str", "usetex"):
                self.found.add("processes")

    def _evaluated(self, call: ast.Call) -> None:
        """Judge the texts that a method of a table evaluates, as they are code."""
        evaluated = calls.evaluates(call, self._names)
        if evaluated is None:
            self.found.add("processes")
        for text in evaluated or ():
            if re.search("@|__", text):
                self.found.add("processes")
                continue
            self._budget.spend(len(text))
            try:
                tree = parse(re.sub("`[^`]*`", "column", text.strip()))
            except SyntaxError:
                self.found |= texts.sql(text) if texts.is_sql(text) else {"processes"}
            else:
                self.found |= look(tree, self._budget)

    def _called(self, function: ast.expr, call: ast.Call | None = None) -> None:
        """Judge a call of ``function``; without a ``call`` it is a decorator."""
        names = self._names
        match function:
            case _ if path := names.path(function):
                found = (
                    calls.in_module(path, call, names) if call else {class_of(path, names.modules)}
                )
                self.found |= found
                if leads_out(path.rpartition(".")[2]):
                    self.found.add("processes")
            case ast.Name(name):
                self._function_called(name, function, call)
            case ast.Attribute(value, name):
                if self._is_out(value, name) and name not in calls.SHELLS:
                    self.found.add("processes")
                elif call:
                    self.found |= calls.of_method(name, call, names)
                if not (name in calls.SHELLS and _is_shell(value)):
                    self.visit(value)
            case ast.Lambda():
                self.visit(function)
            case _:
                if call or not isinstance(function, ast.Call):
                    self.found.add("processes")  # Nobody knows what it is.
                self.visit(function)

    def _function_called(self, name: str, function: ast.Name, call: ast.Call | None) -> None:
        if name in self._names.defined:
            return  # Its body is looked at where it stands.
        if name in self._names.bound or name not in table.BUILTINS:
            self.found.add("processes")  # Defined elsewhere, it may do anything.
            return
        if not call:
            self.visit(function)
            return
        self.found.add(table.BUILTINS[name])
        self.found |= calls.of_builtin(name, call, self._names)
        if name == "getattr" and len(call.args) > 1 and (text := self._names.text(call.args[1])):
            self.visit(ast.Attribute(call.args[0], text, ast.Load()))


def _is_shell(node: ast.expr) -> bool:
    match node:
        case ast.Call(ast.Name("get_ipython"), [], []):
            return True
    return False


def _is_settings(path: str) -> bool:
    return path.endswith(".rcParams")
