"""
Policy: what may a request ask for, and what does it cost?

All functions here are pure: no I/O, no clock of their own.
"""
