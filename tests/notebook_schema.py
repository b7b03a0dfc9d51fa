"""
The schema of notebooks, compiled when this is imported: nbformat does so for the first notebook.

Imported by :mod:`tests.imports`, so that not each server of the tests takes half a second.
"""

from nbformat.v4 import new_notebook

new_notebook()
