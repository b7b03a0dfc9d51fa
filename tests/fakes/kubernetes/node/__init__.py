"""
The node of the fake cluster: scheduler, kubelet, service proxy and cluster DNS.

A client of the Kubernetes API and nothing else, so it serves any API server.
Pods are local processes: see ``sandbox`` for what keeps them apart, and what
does not.
"""
