"""
The upstreams: model servers elsewhere that speak the OpenAI protocol, and the demo model.

``Router`` is one :class:`~caesarion_hub.gateway.upstream.backend.Backend` over all of
them. It selects the upstreams for a model, retries, fails over, and skips an upstream
whose circuit breaker is open. Two invariants: of a client's request only the body is sent
upstream, and nothing that identifies a key or an account is sent back. Modules, from top
to bottom::

    router           selects upstreams, retries, fails over
    model_list       one list of models, cached for a minute
    endpoint         one upstream: one request, adapted, and its answer
    answer           its answer, read piece by piece
    client           HTTP to one upstream
    circuit_breaker  whether an upstream may be asked
    known_forms      how each model takes requests
    refusals, connection_errors   what a failure becomes for the client
    redaction        takes the key out of what comes back
    errors           UpstreamError: what may be retried, and where
    backend          the interface of an upstream and of the demo model
    settings         the upstreams, from variables and values
    demo             the demo model

What model servers send is read by :mod:`caesarion_dialects`.
"""
