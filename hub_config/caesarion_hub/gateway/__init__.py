"""
The model gateway: a Hub service that speaks the OpenAI protocol.

``python -m caesarion_hub.gateway`` runs it, managed by the hub or on its own.
Users' servers call it with their own Hub token; it calls the provider with the
provider's key, which lives in this process and nowhere else. Without a
provider it answers by itself, as the demo model. Floors, top to bottom::

    __main__         reads the settings, listens, stops
    handlers         the HTTP routes
    hub              who asks
    config           the settings
    provider | demo  the models elsewhere | the model here
    backend          what provider and demo have in common
    errors | scrub   import nothing of ours
"""
