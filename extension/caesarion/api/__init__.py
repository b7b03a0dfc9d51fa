"""
The HTTP API of a user's server: one module per subject, over one base handler.

Called by programs and by the labextension; documented in ``docs/http.md``.
"""
