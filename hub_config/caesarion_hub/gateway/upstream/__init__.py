"""
The providers: model servers elsewhere that speak the OpenAI protocol.

``Router`` is one :class:`~caesarion_hub.gateway.upstream.backend.Backend` over all of
them: it finds who has a model, asks again what may be asked again, turns to
another for the same model, and leaves one alone that keeps failing. Its law: of
what the caller sent nothing but the body goes up; nothing that tells of a key
or an account comes down. Floors, top to bottom::

    providers          the backend: whom to ask, in which order, how often
    catalogue          the models of all, for a minute
    endpoint           one upstream: one attempt, judged
    wire | breaker     a request out, an answer in | who is left alone
    refusals | breaks  what a provider says instead | no answer, or half of one
    failure            what to tell, and what may be tried instead
    routing | sse      who has a model | a stream is whole events
    settings           the upstreams, from variables and values
    upstream           what the operator says of one of them
"""
