"""
The outputs of one run as a notebook keeps them.

Fed by :mod:`caesarion.notebooks.cell_run` with what a kernel's run shows, in which text of streams
comes in pieces and earlier outputs may be cleared or updated. Pure: no I/O.
"""

from collections import defaultdict
from typing import Any

from caesarion.kernels.terminal import Terminal

Output = dict[str, Any]


class RunOutputs:
    """The outputs of a run so far, each as nbformat 4 has it."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        # How many of them were taken, and whether one of those has changed since.
        self._taken = 0
        self._changed = False
        self._terminal = Terminal()
        self._settled = ""
        self._displays: defaultdict[str, list[int]] = defaultdict(list)

    def feed(self, output: Output) -> None:
        """Take an output, an update of earlier ones, or a clearing."""
        kind = output["output_type"]
        if kind == "clear_output":
            self.outputs.clear()
            self._displays.clear()
            self._changed = True
        elif kind == "update_display_data":
            for place in self._displays.get(_display_id(output), ()):
                self._replace(place, {**self.outputs[place], "data": output["data"]})
        elif kind == "stream":
            self._write(output["name"], output["text"])
        else:
            if display_id := _display_id(output):
                self._displays[display_id].append(len(self.outputs))
            kept = {key: value for key, value in output.items() if key != "transient"}
            self.outputs.append({"metadata": {}, **kept} if "data" in kept else kept)

    def take(self) -> tuple[list[Output], bool]:
        """Return what is new since the last call, and True; or all outputs, and False."""
        new, appends = self.outputs[0 if self._changed else self._taken :], not self._changed
        self._taken, self._changed = len(self.outputs), False
        return new, appends

    def _write(self, name: str, text: str) -> None:
        last = self.outputs[-1] if self.outputs else {}
        if last.get("output_type") != "stream" or last["name"] != name:
            self._terminal, self._settled = Terminal(), ""
            self.outputs.append({"output_type": "stream", "name": name, "text": ""})
        self._terminal.write(text)
        self._settled += "".join(self._terminal.settled())
        shown = self._settled + self._terminal.text()
        stream = {"output_type": "stream", "name": name, "text": shown}
        self._replace(len(self.outputs) - 1, stream)

    def _replace(self, place: int, output: Output) -> None:
        self.outputs[place] = output
        self._changed = self._changed or place < self._taken


def _display_id(output: Output) -> str:
    return str((output.get("transient") or {}).get("display_id", ""))
