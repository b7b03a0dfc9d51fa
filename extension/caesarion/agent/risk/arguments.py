"""
What the arguments of a call do, whatever is called: open, import, evaluate or name something.

Called by :mod:`caesarion.agent.risk.calls`.
"""

import ast
import re
from collections.abc import Iterable

from caesarion.agent.risk import table, texts
from caesarion.agent.risk.names import Names
from caesarion.events import RiskClass

_WRITING = re.compile(r"^(?=[^:|]*[wax+])[rwaxbtU+]{1,4}([:|]\w*)?$")


def of_any(call: ast.Call, names: Names) -> set[RiskClass]:
    """Return the classes of the arguments of a call of whatever function."""
    found: set[RiskClass] = set()
    for argument in call.args:
        if texts.is_address(names.text(argument)):
            found.add("network")
    for keyword in _named(call, names):
        text = names.text(keyword.value)
        if not _imports_nothing(keyword, names):
            found.add("processes")
        elif keyword.arg == "mode" and text and _WRITING.match(text):
            found.add("files")
        elif keyword.arg in table.REMOTE and not names.is_local(keyword.value):
            found.add("network")
        if texts.is_address(text):
            found.add("network")
    return found


def _named(call: ast.Call, names: Names) -> list[ast.keyword]:
    """Return the named arguments of a call, those too that stand in a mapping."""
    named = []
    for keyword in call.keywords:
        match keyword.value:
            case ast.Dict(keys, values) if keyword.arg is None:
                pairs = zip(keys, values, strict=True)
                named += [ast.keyword(names.whole_text(key), value) for key, value in pairs]
            case _:
                named.append(keyword)
    return named


def opening(modes: Iterable[ast.expr], call: ast.Call, names: Names) -> set[RiskClass]:
    """Return the class of the opening of a file, one of whose ``modes`` may be its mode."""
    named = [keyword.value for keyword in call.keywords if keyword.arg in ("mode", None)]
    several = [argument for argument in call.args if isinstance(argument, ast.Starred)]
    known = [names.whole_text(mode) for mode in (*modes, *named, *several)]
    is_writing = any(text is None or _WRITING.match(text) for text in known)
    return {"files"} if is_writing else set()


def is_opened_for_writing(call: ast.Call, names: Names) -> bool:
    """Return whether an argument behind the first looks like the mode of a file to write."""
    return any(_WRITING.match(names.text(argument) or "") for argument in call.args[1:])


def is_known_engine(node: ast.expr, names: Names) -> bool:
    """Return whether a backend or an engine imports nothing that is unknown."""
    if isinstance(node, ast.Constant) and not isinstance(node.value, str):
        return True
    text = names.whole_text(node)
    return text is not None and texts.is_known_engine(text)


def are_plain_settings(keys: Iterable[ast.expr | None], names: Names) -> bool:
    """Return whether the names of settings are known to import and start nothing."""
    known = [names.whole_text(key) for key in keys]
    return all(key and key.partition(".")[0] in table.PLAIN_SETTINGS for key in known)


def aggregates(node: ast.expr, names: Names) -> bool:
    """Return whether functions that a table is to apply are known, those too that are named."""
    names.spend()
    match node:
        case ast.Constant(str(text)):
            return text in table.AGGREGATES
        case ast.List(parts) | ast.Tuple(parts) | ast.Set(parts):
            return all(aggregates(part, names) for part in parts)
        case ast.Dict(_, values):
            return all(aggregates(value, names) for value in values)
        case ast.Name(name) if name in names.bound:
            return names.holds(name, lambda value: aggregates(value, names))
    return is_known_function(node, names)


def is_aggregation(call: ast.Call, names: Names) -> bool:
    """Return whether an aggregation calls known functions alone."""
    if any(isinstance(one, ast.Starred) for one in call.args):
        return False
    for keyword in call.keywords:
        match keyword.value:
            case _ if keyword.arg in table.OPTIONS:
                continue
            case ast.Tuple([_, *functions]) if keyword.arg:  # A new column from an old one.
                if not all(aggregates(function, names) for function in functions):
                    return False
            case value if keyword.arg is None or not aggregates(value, names):
                return False
    return all(aggregates(argument, names) for argument in call.args[:1])


def is_known_function(function: ast.expr, names: Names) -> bool:
    """Return whether a function that another one calls is looked at elsewhere in the code."""
    match function:
        case ast.Name(name):
            if name in names.bound:
                return names.holds(name, lambda value: are_known_functions(value, names))
            is_builtin = name in table.BUILTINS
            return is_builtin or name in names.defined or bool(names.path(function))
        case ast.Attribute(_, method):
            is_plain = table.METHODS.get(method, "reads") in ("reads", "writes names")
            return is_plain and method not in ("open", "load", "extract")
        case ast.Call(maker):
            return is_rooted(maker, names)
        case ast.Starred() | ast.Subscript():
            return False
    return True


def are_known_functions(node: ast.expr, names: Names) -> bool:
    """Return whether functions that are called back are looked at elsewhere, in a table, too."""
    match node:
        case ast.Dict(_, values):
            return all(are_known_functions(value, names) for value in values)
        case ast.List(parts) | ast.Tuple(parts):
            return all(are_known_functions(part, names) for part in parts)
    return is_known_function(node, names)


def is_from_elsewhere(node: ast.expr, names: Names) -> bool:
    """Return whether ``node`` is a name that is bound elsewhere, maybe to a function."""
    return isinstance(node, ast.Name) and not (names.is_own(node.id) or names.path(node))


def is_judged(node: ast.expr, caller: str, names: Names) -> bool:
    """Return whether ``caller`` gets a function that is judged by arguments, which it hides."""
    path = names.path(node)
    top, _, rest = path.partition(".")
    if top == "sympy":
        return not caller.startswith("sympy.") and rest not in table.CONSTANTS
    if path in table.JUDGED_PATHS or path.startswith(("IPython.display.", "statsmodels.formula.")):
        return True
    return isinstance(node, ast.Attribute) and node.attr in table.JUDGED


def is_rooted(node: ast.expr, names: Names) -> bool:
    """Return whether an expression begins with what a module has, such as ``pl.col('a').sum``."""
    while isinstance(node, ast.Attribute | ast.Call):
        node = node.value if isinstance(node, ast.Attribute) else node.func
    return bool(names.path(node))


def _imports_nothing(keyword: ast.keyword, names: Names) -> bool:
    """Return whether an argument neither names what is unknown nor is evaluated."""
    if keyword.arg is None and isinstance(keyword.value, ast.Name):
        return names.bound.get(keyword.value.id) is None or names.holds(
            keyword.value.id, lambda value: _is_plain_mapping(value, names)
        )
    if keyword.arg in table.NAMING:
        return is_known_engine(keyword.value, names)
    if keyword.arg == "rc" and isinstance(keyword.value, ast.Dict):
        return are_plain_settings(keyword.value.keys, names)
    if keyword.arg in table.AGGREGATING:
        return aggregates(keyword.value, names)
    return keyword.arg != "formula" or texts.is_formula(names.whole_text(keyword.value))


def _is_plain_mapping(node: ast.expr, names: Names) -> bool:
    call = ast.Call(node, [], [ast.keyword(None, node)])
    return isinstance(node, ast.Dict) and all(
        one.arg is not None and _imports_nothing(one, names) for one in _named(call, names)
    )
