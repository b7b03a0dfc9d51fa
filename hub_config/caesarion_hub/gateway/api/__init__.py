"""
The gateway's HTTP API: OpenAI's protocol, the audit's outcomes, health and metrics.

The way of a request: authentication, policy, reservation in the store, upstream, response,
settlement. Modules, from top to bottom::

    application   the routes: admission, body, answer, errors
    completions   chat completions and the list of models
    outcomes      the outcomes of tool calls, for the audit
    status        health, readiness, metrics
    handler       the base of the handlers; sends an answer
    server        HTTP: connections, and requests with their ids
    body          request bodies in memory, bounded together
    metering      limits, reservation and settlement around the backend
    response      one response: what it used, and its tool calls for the audit
    request       parses and checks the body of a request
    metrics       Prometheus metrics
    turns         the agent's recent turns, for the metrics
"""
