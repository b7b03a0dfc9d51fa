"""
The forms in which an upstream's models take requests: set in the values, or learned.

Called by ``endpoint``; :mod:`caesarion_dialects.adaptation` says what a form is, and learns one
from a refusal.
"""

from collections import OrderedDict
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import lru_cache

from caesarion_dialects import RequestForm

from caesarion_hub.values.gateway import ModelParameters

MAX_MODELS = 1000
"""Models whose form an upstream remembers; a made-up number."""


class KnownForms:
    """The forms of an upstream's models: those that the values set, and what was learned."""

    def __init__(self, parameters: dict[str, ModelParameters]) -> None:
        self._parameters = parameters
        self._configured = lru_cache(MAX_MODELS)(self._configure)
        self._forms: OrderedDict[str, RequestForm] = OrderedDict()

    def form(self, model: str) -> RequestForm:
        """Return the form for ``model``."""
        if (known := self._forms.get(model)) is not None:
            self._forms.move_to_end(model)
            return known
        return self._configured(model)

    def _configure(self, model: str) -> RequestForm:
        """Return the form that the values set for ``model``."""
        form = RequestForm()
        for pattern, said in self._parameters.items():
            if fnmatchcase(model, pattern):
                form = replace(
                    form,
                    dropped=form.dropped | frozenset(said.drop),
                    output_limit=said.output_limit or form.output_limit,
                    system_role=said.system_role or form.system_role,
                )
        return form

    def remember(self, model: str, form: RequestForm) -> None:
        """Keep ``form`` for the next requests; the model that was asked longest ago goes."""
        self._forms[model] = form
        self._forms.move_to_end(model)
        if len(self._forms) > MAX_MODELS:
            self._forms.popitem(last=False)
