"""
The api service: the door for programs, with the REST API of sessions and sandboxes, and E2B's.

``python -m caesarion_hub.api`` runs it, managed by the hub or as a Deployment of its own. It
keeps nothing, so there may be any number of it, and it has no right of its own: each call
reaches the hub and the user's server with the caller's own Hub token, so scopes, budgets,
approvals and audit hold as everywhere.

From the top: ``application`` puts the routes together; ``rest`` and ``e2b`` are the two shapes
that programs speak; ``servers`` passes a call on to a user's server, which it starts if it
sleeps; ``streams`` are the answers that come in pieces; ``hub`` is the hub's API, and ``errors``
the one shape in which calls fail.
"""
