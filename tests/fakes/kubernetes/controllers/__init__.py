"""
The controllers of the fake cluster: what turns Deployments into pods, and the like.

A client of the Kubernetes API and nothing else. Each module has one function,
``reconcile(world)``, which compares what is with what should be, for all objects
of its kind, and makes the next step; it is called again whenever something has
changed. What has no controller here, ``refusals`` says so of.
"""
