"""
A bound on the work that a piece of code makes, however it is written.

Called by the other modules of this package at each step whose number the code decides.
"""


class TooMuchError(Exception):
    """A piece of code takes more steps than its classes are worth."""


class Budget:
    """Steps that are left; a step takes some microseconds at most."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Take ``steps``, or raise :class:`TooMuchError`."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchError
