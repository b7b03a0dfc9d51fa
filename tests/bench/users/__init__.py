"""
Simulates many users with open chats on a hub, and tells what they wait and what it costs.

    python -m tests.bench users --count 200

Without ``--hub`` the hub is this checkout's on the fake cluster (``cluster``), and users'
servers are stand-ins; with it, it is a running one, and they are real. ``command`` reads the
arguments, ``crowd`` is the users, ``hub`` what they ask, ``parts`` what it costs, ``report`` the
text, and ``comparison`` the small run of ``make bench``.
"""
