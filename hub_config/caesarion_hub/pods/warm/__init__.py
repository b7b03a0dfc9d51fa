"""
Pods that wait for a user: ready servers without an identity, which a start claims.

Used by ``claiming``, which is part of the spawner. Modules, from top to bottom::

    stand_ins   the pods of two users who do not exist, to compare
    pool        creates, replaces and hands out the pods that wait
    supply      how many to create, and which to delete
    template    what all users' pods have in common, and what is one user's
    metrics     what Prometheus reads about them
"""
