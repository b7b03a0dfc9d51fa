"""
Policy: what may a request ask for, and what does it cost?

All functions here are pure: no I/O, no clock of their own. Modules, from top to bottom::

    limits    what a caller may ask: models, lengths, choices
    budgets   what a request may reserve of the budgets that apply
    fields    the known fields of a request, and their types
    prices    tokens of a request, costs of an answer
"""
