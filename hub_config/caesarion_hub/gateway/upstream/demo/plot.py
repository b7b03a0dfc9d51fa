"""
Code that plots an expression of x, once the expression is checked. Pure.

Called by ``rules``.
"""

import ast
import re

_CURVES = {"sine": "sin(x)", "cosine": "cos(x)", "tangent": "tan(x)", "parabola": "x**2"}
_FUNCTIONS = frozenset({"sin", "cos", "tan", "exp", "log", "sqrt", "abs", "sinh", "cosh", "tanh"})
_CONSTANTS = frozenset({"pi", "e"})
_LONGEST = 200

_CODE = """\
import matplotlib.pyplot as plt
import numpy as np

def _plot(x):
    plt.plot(x, {expression})
    plt.title({title!r})
    plt.xlabel("x")
    plt.grid(True)
    plt.show()

_plot(np.linspace({domain}, 500))"""


def expression_of(words: str) -> str | None:
    """
    Return the expression of x that ``words`` ("a sine wave", "sin(x)*x") name, or None.

    It holds numbers, x, pi, e, ``+ - * / **`` and some functions of one argument;
    no power of a power, which could take for ever.
    """
    text = words.strip().strip("`").rstrip(" .?!").lower()
    text = re.sub(r"^(?:(?:me|an?|the|some|graph of|plot of|curve of|function)\s+)+", "", text)
    text = re.sub(r"^(?:y|f\(x\))\s*=\s*", "", text)
    text = re.sub(r"\s+(?:wave|curve|function)s?$", "", text)
    text = _CURVES.get(text, text).replace("^", "**")
    if text in _FUNCTIONS:
        text = f"{text}(x)"
    try:
        tree = ast.parse(text if len(text) <= _LONGEST else "", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return ast.unparse(tree) if "x" in names and _is_plain(tree.body) else None


def plot_code(expression: str) -> str:
    """Return Python that plots a checked expression, leaving the user's variables alone."""
    tree = ast.parse(expression, mode="eval")
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    domain = "-10, 10"
    if names & {"log", "sqrt"}:
        domain = "0.01, 10"
    elif names & {"sin", "cos", "tan"}:
        domain = "-2 * np.pi, 2 * np.pi"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id != "x":
            node.id = f"np.{node.id}"
    return _CODE.format(expression=ast.unparse(tree), title=expression, domain=domain)


def _is_plain(node: ast.expr, powers: int = 0) -> bool:
    match node:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() | float() as value):
            return abs(value) <= 1e6
        case ast.Name(id=name):
            return name == "x" or name in _CONSTANTS
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            return _is_plain(operand, powers)
        case ast.BinOp(op=ast.Pow(), left=left, right=right):
            return powers == 0 and _is_plain(left, 1) and _is_plain(right, 1)
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), left=left, right=right):
            return _is_plain(left, powers) and _is_plain(right, powers)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
            return name in _FUNCTIONS and _is_plain(argument, powers)
        case _:
            return False
