"""
The demo model: answers by a few rules when no provider is set, and says so.

It lets a newcomer see the whole system at work, and tests cross the real wire.
``model`` is what the gateway calls; ``turn`` reads a request, ``rules`` answer
it (with ``plot``, ``files`` and ``reading``), ``chunks`` makes the protocol of
the answer. All but ``model`` is pure.
"""
