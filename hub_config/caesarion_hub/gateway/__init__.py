"""
The model gateway: a Hub service that speaks the OpenAI protocol.

``python -m caesarion_hub.gateway`` runs it, managed by the hub or on its own.
Users' servers call it with their own Hub token; it calls the provider with the
provider's key, which lives in this process and nowhere else. Without a
provider it answers by itself, as the demo model. Floors, top to bottom::

    __main__                reads the settings, listens, stops
    handlers | pages        the HTTP routes | for people
    audit                   the operator's command
    meter                   each request let in, watched, settled
    hub | answering         who asks | one answer under way
    config                  the settings
    provider | demo         the models elsewhere | the model here
    journal | limits | tap  the way into the ledger | who may ask what | what an answer says
    metrics                 what Prometheus is told
    ledger                  requests, budgets and the audit, in transactions
    room | recording        what is left | the audit's chain in the database
    budgets | chain | usage pure: windows and refusals | hashes | tokens and money
    backend                 what provider and demo have in common
    database | tables       connections, locks, migrations
    errors | logs | scrub   import nothing of ours
"""
