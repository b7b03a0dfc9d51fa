"""
What calls in a piece of code do: of functions in modules, of methods, of builtins.

Called by :mod:`caesarion.agent.risk.look`, which looks at the arguments itself.
"""

import ast
import re

from caesarion.agent.risk import arguments, commands, evaluated, table, texts
from caesarion.agent.risk.names import Names, class_of, leads_out
from caesarion.events import RiskClass

_SWITCHING = re.compile(r"(^|_)(backend|renderer|plugin|engine)s?($|_)")

# What IPython's transformation makes of ``!`` and ``%``.
SHELLS = ("system", "getoutput", "run_line_magic", "run_cell_magic")


def of_builtin(name: str, call: ast.Call, names: Names) -> set[RiskClass]:
    """Return the classes of a call of a builtin, beside those of its mention."""
    match name:
        case "open":
            return arguments.opening(call.args[1:2], call, names)
        case "setattr" | "delattr" if call.args and names.path(call.args[0]):
            return {"processes"}
        case "getattr" | "setattr" | "delattr":
            attribute = names.text(call.args[1]) if len(call.args) > 1 else None
            is_plain = attribute and attribute.isidentifier() and attribute not in table.NAMING
            return set() if is_plain else {"processes"}
        case "type" if len(call.args) != 1 or call.keywords:
            return {"processes"}  # It makes a class, whose methods others call.
        case "help" if any(names.text(one) is not None for one in call.args):
            return {"processes"}  # Of modules, which it imports.
        case "print":
            files = [one.value for one in call.keywords if one.arg == "file"]
            return {"files" for file in files if not names.path(file).startswith("sys.")}
    return set()


def in_module(path: str, call: ast.Call, names: Names) -> set[RiskClass]:
    """Return the classes of a call of what is at ``path`` in a module."""
    found, first = class_of(path, names.modules), call.args[0] if call.args else None
    name = path.rpartition(".")[2]
    if path in table.OPENING:
        return arguments.opening(call.args[1:2], call, names)
    if path in table.DATABASES:
        databases = [*call.args[:1], *(one.value for one in call.keywords)]
        return set() if all(names.text(one) == ":memory:" for one in databases) else {"files"}
    if path in table.STYLES:
        return _style(first, names)
    if path in table.SETTINGS:
        plainly: set[RiskClass] = {"writes names"} if name in ("update", "setdefault") else set()
        return plainly if _sets_plainly(path, call, names) else {"processes"}
    if found == "reads" and path.startswith(("IPython.display.", "ipywidgets.HTML")):
        return _displayed(path, call, names)
    if found == "processes" and commands.installs(_words(call, names)):
        return {"processes", "installs"}
    if found != "reads":
        return {found}
    if path == "numpy.load" and len(call.args) > 1:
        return {"processes"} if len(call.args) > 2 else {"files"}  # Of what is pickled, or mapped.
    if path == "abc.ABCMeta":
        return {"processes"}  # It makes a class, whose methods others call.
    if name == "main":
        return {"processes"}  # As from the command line.
    if name.startswith("fetch_"):
        return {"network"}
    top = path.partition(".")[0]
    if name in ("load", "load_model") and top not in ("numpy", "json"):
        return {"processes"}  # Of a module by its name, or of what is pickled.
    if top == "sympy" and not evaluated.is_safe_sympy(path, call, names):
        return {"processes"}
    if path.startswith("statsmodels.formula.") and (
        first is not None and not texts.is_formula(names.whole_text(first))
    ):
        return {"processes"}
    if top == "lxml" and name == "parse":
        return set() if names.is_local(first) else {"network"}
    if top == "duckdb" and name in ("query", "from_query"):
        return texts.sql(names.whole_text(first))
    classes = _of_name(name, call, names, in_doubt="reads")
    if "writ" in name.lower() and path not in table.WRITERS:
        classes = classes | {"files"}
    if (name[:1].isupper() or "open" in name) and arguments.is_opened_for_writing(call, names):
        classes = classes | {"files"}
    return classes


def of_method(name: str, call: ast.Call, names: Names) -> set[RiskClass]:
    """Return the classes of a call of a method, of whatever object."""
    first, count = call.args[0] if call.args else None, len(call.args)
    if name in SHELLS:
        known = [text for one in call.args if (text := names.whole_text(one)) is not None]
        is_known = len(known) == count
        return commands.classes_of(" ".join(known)) if is_known else {"processes"}
    if isinstance(call.func, ast.Attribute) and is_hidden(first, call.func.value, names):
        return {"processes"}
    if name in ("load", "loads", "load_model"):
        return {"processes"}  # It may be pickle's, which runs code.
    if isinstance(call.func, ast.Attribute):
        if name in table.OF_CLIENTS and _is_client(call.func.value):
            return {"network"}
        if name == "show" and _is_image(call.func.value, names):
            return {"processes"}  # It starts a viewer.
    if name == "sort" and not call.args:
        return {"writes names"}  # A list, or an array; a table is sorted by something.
    if name == "extract" and not _is_text_accessor(call.func):
        return {"files"}  # Of an archive.
    if name in ("eval", "query"):
        return set()  # Their texts are looked at.
    if name in ("rename", "replace"):
        # Of a path with one argument; of a table or a text with two, a mapping, or names.
        is_path = count == 1 and not isinstance(first, ast.Dict) and not call.keywords
        is_path = is_path or any(one.arg in ("target", None) for one in call.keywords)
        return {"files"} if is_path else set()
    return _of_name(name, call, names, in_doubt="writes names")


def evaluates(call: ast.Call, names: Names) -> list[str] | None:
    """
    Return the texts that a method of a table evaluates; None if one of them is unknown.

    ``query`` is a method of databases, too, and judged as theirs where it gets SQL.
    """
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if method not in ("eval", "query") or names.path(call.func):
        return []
    named = [one.value for one in call.keywords if one.arg not in table.OPTIONS]
    parts = [names.whole_text(one) for one in (*call.args, *named) if not _is_flag(one)]
    return None if None in parts else [part for part in parts if part is not None]


def is_drawn(name: str) -> bool:
    """Return whether a notebook asks an object for ``name``, and may run what it gets as script."""
    return name.startswith(("_repr_", "_ipython_display_"))


def passes_unknown(call: ast.Call, names: Names) -> bool:
    """Return whether a call lets a function be called of which nobody knows what it does."""
    path = names.path(call.func)
    name = path or (call.func.id if isinstance(call.func, ast.Name) else "")
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    given = [*call.args, *(one.value for one in call.keywords)]
    if any(arguments.is_judged(one, path, names) for one in given):
        return True
    if path.rpartition(".")[0].rpartition(".")[2][:1].isupper() and method in table.JUDGED:
        return True  # A method of a class, whose arguments are others.
    passed = [one.value for one in call.keywords if one.arg in table.CALLED]
    if not all(arguments.are_known_functions(one, names) for one in passed):
        return True
    passed = []
    position = table.CALLERS.get(name, table.CALLING_METHODS.get(method))
    if position is not None:
        named = [one.value for one in call.keywords if one.arg in ("func", "function")]
        passed = [*call.args[position : position + 1], *named]
        if any(one.arg is None for one in call.keywords):
            return True
    if method == "assign":
        passed = [one.value for one in call.keywords]
        return any(arguments.is_from_elsewhere(one, names) for one in passed)
    if name in table.SORTERS or method.startswith("sort"):
        passed = [one.value for one in call.keywords if one.arg == "key"]
    if method in table.NAMED and not all(arguments.aggregates(one, names) for one in passed):
        return True
    if method in table.AGGREGATIONS and not arguments.is_aggregation(call, names):
        return True
    return not all(arguments.is_known_function(function, names) for function in passed)


def is_hidden(key: ast.expr | None, container: ast.expr, names: Names) -> bool:
    """Return whether ``key`` may be a name of the interpreter's in a table of all names."""
    match container:
        case ast.Call(ast.Name("globals" | "locals" | "vars"), []) if key is not None:
            text = names.text(key)
            return text is None or leads_out(text)
    return False


def _displayed(path: str, call: ast.Call, names: Names) -> set[RiskClass]:
    """Return the classes of what is shown in the user's page."""
    first = call.args[0] if call.args else None
    given = {one.arg: one.value for one in call.keywords}
    if path in table.MARKUP:
        return texts.markup(names.whole_text(first))
    if not given.keys() <= table.SHOWN:
        return {"processes"}  # Some are put into the markup as they are.
    if not path.rpartition(".")[2][:1].isupper():
        return set()
    if path in table.LINKS and len(call.args) > 1:
        return {"processes"}  # The others are markup.
    shown = [names.text(one) for one in (*call.args, *given.values())]
    if any(text is not None and texts.breaks_markup(text) for text in shown):
        return {"processes"}
    if path in table.FRAMES:
        return {"network"} if texts.is_address(names.text(first)) else {"processes"}
    data = [*call.args[:1], *(given[key] for key in ("data", "filename") if key in given)]
    is_loaded = path in table.MEDIA and not all(map(names.is_local, data))
    is_addressed = any(texts.is_address(text) for text in shown) or "url" in given
    return {"network"} if is_loaded or is_addressed else set()


def _style(style: ast.expr | None, names: Names) -> set[RiskClass]:
    if isinstance(style, ast.Dict):
        return set() if arguments.are_plain_settings(style.keys, names) else {"processes"}
    text = names.whole_text(style)
    return set() if text is not None and not texts.is_address(text) else {"network"}


def _sets_plainly(path: str, call: ast.Call, names: Names) -> bool:
    """Return whether settings of a library are such that import and start nothing."""
    first = call.args[0] if call.args else None
    if isinstance(first, ast.Dict):
        return arguments.are_plain_settings(first.keys, names) and not call.keywords
    if path in table.SWITCHES:
        given = [*call.args, *(one.value for one in call.keywords if one.arg != "force")]
        return all(arguments.is_known_engine(one, names) for one in given)
    named = [one for one in call.keywords if one.arg is None]
    return first is not None and not named and arguments.are_plain_settings(call.args[::2], names)


def _is_text_accessor(function: ast.expr) -> bool:
    match function:
        case ast.Attribute(ast.Attribute(_, "str")):
            return True
    return False


def _is_flag(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not isinstance(node.value, str)


def _of_name(name: str, call: ast.Call, names: Names, in_doubt: RiskClass) -> set[RiskClass]:
    """Return the classes of a call of a method or a function that is called ``name``."""
    first = call.args[0] if call.args else None
    if name in table.SQL:
        return texts.sql(names.whole_text(first))
    if name in table.READERS or (_is_reader(name) and call.args):
        return set() if names.is_local(_source(call)) else {"network"}
    if name in table.WITH_TARGET:
        given = {keyword.arg for keyword in call.keywords}
        return {"files"} if first or given & table.TARGETS or None in given else set()
    if name == "open":
        is_method = in_doubt != "reads"  # As of a path, whose mode comes first.
        return arguments.opening(call.args[0 if is_method else 1 : 2], call, names)
    if name in table.EVALUATING and any("(" in (names.text(one) or "") for one in call.args):
        return {"processes"}
    if name in table.RELATIONS and any(
        texts.is_remote_sql(names.text(one) or "") for one in call.args
    ):
        return {"network"}
    if (_SWITCHING.search(name) or (name == "show" and names.text(first))) and call.args:
        is_known = all(arguments.is_known_engine(one, names) for one in call.args[:1])
        return set() if is_known else {"processes"}
    if name not in table.METHODS and name.startswith(table.WRITING):
        return {"files"}
    return {table.METHODS.get(name, in_doubt)}


def _is_client(receiver: ast.expr) -> bool:
    """Return whether a name looks like that of a client of HTTP."""
    return isinstance(receiver, ast.Name) and receiver.id.lower().endswith(table.CLIENTS)


def _is_image(receiver: ast.expr, names: Names) -> bool:
    match receiver:
        case ast.Name(name) if name in names.bound:
            return any(value and _is_image(value, names) for value in names.bound[name])
        case ast.Name(name):
            return name in table.IMAGES
        case ast.Attribute(value) | ast.Call(value):
            return names.path(receiver).startswith("PIL.") or _is_image(value, names)
    return False


def _is_reader(name: str) -> bool:
    return name.startswith(("read_", "scan_")) and name not in table.METHODS


def _source(call: ast.Call) -> ast.expr | None:
    """Return what a function reads that takes a file or an address."""
    named = (
        keyword.value
        for keyword in call.keywords
        if keyword.arg and keyword.arg.startswith(("filepath", "path", "io", "source", "fname"))
    )
    return call.args[0] if call.args else next(named, None)


def _words(call: ast.Call, names: Names) -> str:
    """Return all texts in the arguments of a call."""
    texts_in = []
    for argument in call.args:
        for node in ast.walk(argument):
            names.spend()
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts_in.append(node.value)
    return " ".join(texts_in)
