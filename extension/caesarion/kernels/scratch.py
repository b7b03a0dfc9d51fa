"""
Runs that leave no names behind: the kernel executes them in a copy of the user's namespace.

Used by :mod:`caesarion.kernels.kernel`, which sends the function below to the kernel as text
before such a run, and waits for it: a kernel that cannot do this must not get the code. The
copy is shallow: objects are the user's own, and so are files, modules, and the working folder.

Invariant: when the run has ended, whatever ended it, the user's namespace is in its place, and
the callbacks that put it there are gone.
"""

import inspect

KEY = "caesarion_scratch"
"""The key of a request's metadata whose value names the run that the kernel was prepared for."""


def prepare_call(token: str) -> tuple[str, str, str, str]:
    """Return source, name and arguments of the function that prepares a kernel for one run."""
    return inspect.getsource(use_copy_once), use_copy_once.__name__, KEY, token


def use_copy_once(_namespace: dict[str, object], key: str, token: str) -> bool:
    """
    Let the request whose metadata has ``token`` as ``key`` run in a copy of the namespace.

    Sent to the kernel as text, so it imports nothing of ours. IPython 9 keeps what the user has
    in two attributes of its shell, ``user_module`` and ``user_ns``, and remembers results in the
    display hook and the history, by the number of the last cell: this run has no number.
    """
    import sys
    import threading
    import types
    from typing import Any

    from IPython import get_ipython

    shell: Any = get_ipython()
    saved: dict[str, Any] = {}

    def request() -> Any:
        return shell.get_parent()

    def remembered(what: str) -> Any:
        return getattr(shell.history_manager, what, {})

    def begin(info: Any) -> None:
        if saved or request().get("metadata", {}).get(key) != token:
            return
        module: types.ModuleType = shell.user_module
        names, hidden = shell.user_ns, dict(shell.user_ns_hidden)
        copy = types.ModuleType(module.__name__)
        copy.__dict__.update(module.__dict__)
        copied = copy.__dict__ if names is module.__dict__ else dict(names)
        if "_oh" in copied:
            copied["_oh"] = copied["Out"] = hidden["_oh"] = hidden["Out"] = dict(copied["_oh"])
        if "__annotations__" in copied:
            copied["__annotations__"] = dict(copied["__annotations__"])
        saved.update(
            info=info,
            request=request()["header"]["msg_id"],
            attributes={
                "user_module": module,
                "user_ns": names,
                "user_ns_hidden": shell.user_ns_hidden,
            },
            # What ``_`` was; IPython no longer updates it if this and the namespace differ.
            hook={name: getattr(shell.displayhook, name) for name in ("_", "__", "___")},
            reprs=dict(remembered("output_hist_reprs")),
            outputs={count: list(shown) for count, shown in remembered("outputs").items()},
            # Of ``from __future__ import ...``.
            flags=shell.compile.flags,
        )
        if sys.modules.get(module.__name__) is module:
            saved["main"] = module
            sys.modules[module.__name__] = copy  # Where pickle looks for classes.
        shell.user_module, shell.user_ns, shell.user_ns_hidden = copy, copied, hidden

    def end(result: Any = None) -> None:
        # Magics such as %%capture run cells within this one, which have other information.
        # A cell that was cancelled has no result.
        if saved and (result is None or result.info is saved["info"]):
            restore()

    def end_if_over() -> None:
        # The end above may have been interrupted, or missed: this comes before any other code.
        # Subshells run in other threads, at the same time.
        if (
            saved
            and threading.current_thread() is threading.main_thread()
            and request()["header"]["msg_id"] != saved["request"]
        ):
            restore()

    def restore() -> None:
        for name, value in saved["attributes"].items():
            setattr(shell, name, value)
        if "main" in saved:
            sys.modules[shell.user_module.__name__] = saved["main"]
        for name, value in saved["hook"].items():
            setattr(shell.displayhook, name, value)
        for kept, what in (("reprs", "output_hist_reprs"), ("outputs", "outputs")):
            remembered(what).clear()
            remembered(what).update(saved[kept])
        shell.compile.flags = saved["flags"]
        unregister()
        saved.clear()

    callbacks = [
        ("pre_run_cell", begin),
        ("post_run_cell", end),
        ("pre_execute", end_if_over),
        ("post_execute", end_if_over),
    ]

    def unregister() -> None:
        # Also those of a run that never began.
        for event, callback in callbacks:
            for known in list(shell.events.callbacks[event]):
                if getattr(known, "__qualname__", "") == callback.__qualname__:
                    shell.events.unregister(event, known)

    unregister()
    for event, callback in callbacks:
        shell.events.register(event, callback)
    return True
