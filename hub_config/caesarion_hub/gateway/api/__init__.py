"""
The gateway's HTTP API: OpenAI's protocol, the audit's outcomes, health and metrics.

The way of a request: authentication, policy, reservation in the store, upstream, response,
settlement.
"""
