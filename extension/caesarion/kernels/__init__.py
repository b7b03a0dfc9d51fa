"""
Kernels: where does code run, and what came of it?

:mod:`~caesarion.kernels.registry` finds or starts a kernel, :mod:`~caesarion.kernels.kernel`
runs code in it, :mod:`~caesarion.kernels.connection` speaks Jupyter's messaging protocol.
"""
