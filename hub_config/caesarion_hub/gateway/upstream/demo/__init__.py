"""
The demo model: answers by a few rules if no provider is set, and says so.

A newcomer sees the whole system at work with it, and tests use it over HTTP. ``model`` is the
backend, called by the gateway; ``turn`` reads a request; ``rules`` answers it with ``chart``,
``plot``, ``files``, ``notebook`` (``cell``, ``corrections``), ``plan`` and ``results``; ``chunks``
writes the answer in OpenAI's protocol. All modules but ``model`` are pure.
"""
