"""
E2B's shape: what its SDKs call, for ``E2B_API_URL`` and ``E2B_SANDBOX_URL``.

``control`` makes and ends sandboxes; ``code`` runs code in contexts, which are kernels;
``files`` and ``rpc`` are the sandbox's files and commands, the latter in the Connect protocol.
What is not there answers in E2B's own shape of errors, ``{"code": <number>, "message"}``.
"""
