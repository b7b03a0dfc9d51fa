"""
Kernels: where code runs, and what comes of it.

:mod:`~caesarion.kernels.registry` finds or starts a kernel; :mod:`~caesarion.kernels.kernel` is one
live kernel and :mod:`~caesarion.kernels.run` one execution in it, over a
:mod:`~caesarion.kernels.connection` to its :mod:`~caesarion.kernels.process`.
:mod:`~caesarion.kernels.outputs` keeps what a run shows: text as a
:mod:`~caesarion.kernels.terminal` has it, and :mod:`~caesarion.kernels.plain_text` for the model.
:mod:`~caesarion.kernels.variables` looks into a kernel, by :mod:`~caesarion.kernels.inspector`.
"""
