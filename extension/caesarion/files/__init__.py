"""
Files: uploads, the files attached to messages, and what is in them.

``names``, ``opening`` and ``multipart`` are parts; ``preview`` runs ``inspection``, a process of
its own. Invariant: a file is stored whole or not at all, and never outside its folder.
"""
