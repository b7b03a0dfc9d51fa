"""
Texts that functions evaluate: SymPy's arguments, which may be code in Python.

Called by :mod:`caesarion.agent.risk.calls`.
"""

import ast

from caesarion.agent.risk import table
from caesarion.agent.risk.names import Names

_LABELS = table.words("title xlabel ylabel zlabel label line_color surface_color legend")
_NUMBERS = table.words("int float len range abs sum min max complex")
_NAMED = table.words("name label func")


def is_safe_sympy(path: str, call: ast.Call, names: Names) -> bool:
    """Return whether a call of SymPy's gets no text, or one that only names symbols."""
    naming = path.rpartition(".")[2] in table.NAMERS
    for keyword in call.keywords:
        if keyword.arg == "cls":
            naming = naming and names.path(keyword.value).rpartition(".")[2] in table.NAMERS
        is_label = keyword.arg in _LABELS and isinstance(keyword.value, ast.Constant)
        if not is_label and not is_no_text(keyword.value, names):
            return False
    is_plain = (is_no_text(one, names) or (naming and names.text(one)) for one in call.args)
    return all(is_plain)


def is_no_text(node: ast.AST, names: Names) -> bool:
    """Return whether an expression is, and has in it, no text for sure."""
    names.spend()
    match node:
        case ast.Constant(value):
            return not isinstance(value, str)
        case ast.Name(name) if name in names.bound:
            return names.holds(name, lambda value: is_no_text(value, names))
        case ast.Name():
            return _is_of_numbers(names.path(node))
        case ast.Attribute(value, attribute):
            is_text = attribute in _NAMED or hasattr(str, attribute)
            path = names.path(node)
            return _is_of_numbers(path) if path else not is_text and is_no_text(value, names)
        case ast.Call(ast.Name(name)) if name in _NUMBERS and not names.is_own(name):
            return name != "sum" or all(is_no_text(one, names) for one in node.args)
        case ast.Call(function):
            return is_no_text(function, names)
        case ast.Subscript(value):
            return is_no_text(value, names)
        case ast.UnaryOp(_, operand):
            return is_no_text(operand, names)
        case ast.BinOp() | ast.Compare() | ast.List() | ast.Tuple() | ast.Set() | ast.Dict():
            parts = ast.iter_child_nodes(node)
            return all(is_no_text(one, names) for one in parts if isinstance(one, ast.expr))
    return isinstance(node, ast.Lambda)


def _is_of_numbers(path: str) -> bool:
    """Return whether what a module has is neither a text nor makes one."""
    top, _, rest = path.partition(".")
    name = rest.rpartition(".")[2]
    return top in ("sympy", "numpy", "math") and name not in table.PRINTERS
