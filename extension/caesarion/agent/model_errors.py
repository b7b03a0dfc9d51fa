"""
Why the model did not answer, as sentences for the user.

Called by :mod:`caesarion.agent.model`, the only module that sees the SDK's errors. Pure.
The words within an error are the endpoint's own, found by :mod:`caesarion_dialects.errors`.
"""

from caesarion_dialects import Failure, errors

from caesarion.agent.endpoint import Endpoint
from caesarion.config import CaesarionModel
from caesarion.errors import ImagesRefused, ModelError

# The gateway's own sentences are whole, and are passed on as they are: its types, its codes.
_GATEWAYS_OWN = frozenset(
    ("budget_error", "rate_limit_error", "upstream_error", "model_not_allowed")
)

_GARBLED = (
    "The model's endpoint sent something that cannot be read{}. Ask again; if it stays so, "
    "CaesarionModel.base_url is not an OpenAI-compatible endpoint."
)
LOST = "The connection to the model was lost before its answer was complete. Ask again."


def silence(endpoint: Endpoint) -> str:
    """Return the sentence for an endpoint that sent nothing for too long."""
    if endpoint.is_gateway:
        return f"The gateway was silent for {endpoint.silence:g} seconds. Ask again."
    return (
        f"The model was silent for {endpoint.silence:g} seconds. "
        "Ask again, or raise CaesarionModel.timeout."
    )


def unreachable(settings: CaesarionModel) -> str:
    """Return the sentence for an endpoint that cannot be connected to."""
    return (
        f"The model's endpoint {settings.base_url} could not be reached. "
        "Ask again in a moment; if it stays so, tell whoever runs this server."
    )


# How requests with an image are refused by providers that cannot read it, or take none.
_FOR_IMAGES = frozenset((400, 404, 413, 415, 422))


def refused(status: int, body: bytes, settings: CaesarionModel, *, with_images: bool) -> ModelError:
    """Return the error for a request that was answered with an error's ``status``."""
    words = errors.words(body) or "it gave no reason."
    if status == 401:
        # Some endpoints repeat the token that they refuse.
        words = words.replace(settings.token, "***")
        return ModelError(f"The model's endpoint does not accept this server's token: {words}")
    if not _GATEWAYS_OWN.isdisjoint((errors.field(body, "type"), errors.field(body, "code"))):
        return ModelError(words)
    if status == 429:
        return ModelError(f"The model is asked for too much at the moment: {words}")
    sentence = f"The model answered {status}: {words}"
    if with_images and status in _FOR_IMAGES:
        return ImagesRefused(
            f"{sentence} The images that came with the question are not sent again: ask again to "
            "go on without them. If the model takes no images, set CaesarionModel.max_images to 0."
        )
    return ModelError(sentence)


def broken(failure: Failure) -> str:
    """Return the sentence for an answer that is none, or not whole."""
    words = errors.words(failure.said)
    match failure.kind:
        case "error":
            return f"The model broke off: {words or 'it gave no reason.'}"
        case "cut":
            return LOST
        case _:
            return _GARBLED.format(f": {words.rstrip('.')}" if words else "")
