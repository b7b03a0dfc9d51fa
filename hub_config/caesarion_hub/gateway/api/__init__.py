"""
The gateway's HTTP API: OpenAI's protocol, the audit's outcomes, health and metrics.

The way of a request: authentication, policy, reservation in the store, upstream, response,
settlement. Modules, from top to bottom::

    application   the routes, and what their handlers share
    completions   chat completions and the list of models
    outcomes      the outcomes of tool calls, for the audit
    status        health, readiness, metrics
    handler       base classes of the handlers: authentication, errors, streaming
    body          request bodies in memory, bounded together
    metering      limits, reservation and settlement around the backend
    response      one response: what it used, and its tool calls for the audit
    request       parses and checks the body of a request
    metrics       Prometheus metrics
"""
