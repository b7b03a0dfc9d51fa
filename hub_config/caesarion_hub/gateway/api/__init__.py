"""
The gateway's HTTP API: who asks, what is a request, and how does its answer leave?

The way of a request: authentication, policy, reservation in the store, upstream, response,
settlement.
"""
