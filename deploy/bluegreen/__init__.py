"""
Blue-green: two releases of the chart behind one HTTPRoute, and the way from one to the other.

``route`` makes the HTTPRoute and reads it (pure), ``cluster`` calls helm and kubectl,
``smoke`` is a visit to a release by a real user, ``flow`` the order of it all, ``__main__``
the command line: ``python3 -m deploy.bluegreen --help``. docs/delivery.md says when to use it.

Runs on a bare machine of a pipeline: Python's standard library, helm and kubectl.
"""
