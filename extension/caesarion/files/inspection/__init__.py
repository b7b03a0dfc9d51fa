"""
The process that reads a file's content and describes it in a few lines of text.

Started by :mod:`caesarion.files.preview` as ``python -m caesarion.files.inspection``, with
the file as its standard input. One module for each kind of file; ``digest`` chooses.

Invariant: nothing in the server imports this package. Other people's parsers meet other
people's files here, within limits of memory and time, and their failures end here.
"""
