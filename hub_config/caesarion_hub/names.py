"""Names that several parts of the hub's side must spell alike; imports nothing of ours."""

GATEWAY_SCOPE = "access:services!service=gateway"
"""Lets a user, and the user's server, ask the model."""

RUN_VARIABLE = "CAESARION_RUN"
"""Marks every process that one start of ``make up`` brought into being."""

GATEWAY_KEY_FILE_VARIABLE = "CAESARION_GATEWAY_KEY_FILE"
"""Tells the gateway where the provider's key lies."""

GATEWAY_VALUES_FILE = "gateway.yaml"
"""Where ``make up`` leaves the gateway's section of the values, in the folder of its state."""

NETWORK_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
"""How this machine reaches the outside: whoever calls the outside inherits these."""
