"""What pods read from the API: Secrets, ConfigMaps, tokens and volumes' claims."""

import base64
from collections.abc import Mapping

from tests.fakes.kubernetes.client import Api, ApiError, Json

TOKEN_SECONDS = 3600 * 24


class Objects:
    """The objects of one namespace, asked for afresh each time."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    @property
    def ca(self) -> str:
        return self._api.ca

    async def find(self, plural: str, name: str) -> Mapping[str, bytes] | None:
        """Return what a Secret or a ConfigMap holds, by key; None if there is none."""
        thing = await self.get(plural, name)
        if thing is None:
            return None
        data: Json = thing.get("data") or {}
        if plural == "secrets":
            return {key: base64.b64decode(text) for key, text in data.items()}
        binary = {
            key: base64.b64decode(text) for key, text in (thing.get("binaryData") or {}).items()
        }
        return {key: text.encode() for key, text in data.items()} | binary

    async def get(self, plural: str, name: str, namespaced: bool = True) -> Json | None:
        """Return an object, None if there is none."""
        try:
            return await self._api.get(plural, self._namespace if namespaced else None, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def token(self, account: str, audience: str | None, pod: Json) -> str:
        """Return a token of a service account that is good as long as the pod is there."""
        metadata = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod"} | {
            key: metadata[key] for key in ("name", "uid")
        }
        spec: Json = {"expirationSeconds": TOKEN_SECONDS, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": spec,
        }
        answer = await self._api.create(
            "serviceaccounts", self._namespace, request, account, "token"
        )
        return str(answer["status"]["token"])
