"""
The model gateway: a Hub service that speaks the OpenAI protocol.

``python -m caesarion_hub.gateway`` runs it, managed by the hub or on its own. Users' servers
call it with their own Hub token; it calls the provider with the provider's key, which is in
this process and nowhere else. Without a provider it answers itself, as the demo model.

The packages, from the top: ``api`` and ``pages`` are its HTTP routes, ``store`` keeps
requests, budgets and the audit log, ``upstream`` calls the providers, ``policy`` decides what
a request may ask for and what it costs. Imports go down only.
"""
