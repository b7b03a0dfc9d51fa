"""What keeps ``make up`` from starting; imports nothing of ours."""


class UpError(Exception):
    """``make up`` cannot go on; ``str`` of it is a sentence with the remedy, for the newcomer."""
