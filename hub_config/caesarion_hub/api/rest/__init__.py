"""
The REST API: chat, sessions, sandboxes, files and runs, one module per subject.

``docs/api.md`` and the OpenAPI document at ``/services/api/openapi.json`` describe it. All
errors have one shape, ``{"error": {"code", "message"}}``.
"""
