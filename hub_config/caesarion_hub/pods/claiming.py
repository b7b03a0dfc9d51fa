"""
Starts a server by claiming a warm pod, if there is one that is the same as its own would be.

Base class of ``spawner``, over ``objects``; takes pods from ``warm``. A claim has these steps, and
each leaves a pod with one owner at most if the hub dies after it: the pod's name is saved in the
server's state; one patch makes its labels the user's, which the API server grants one hub only; one
request gives the server its identity. A pod that is still warm stays in the pool. One that is its
user's by its labels, but whose server has no identity, is not adopted by the next hub but deleted.
"""

import json
from enum import Enum, auto
from typing import Any, ClassVar
from uuid import uuid4

from kubernetes_asyncio.client import ApiException
from traitlets import Integer, Unicode

from caesarion_hub import claims, sandboxes
from caesarion_hub.pods.api import describe_error
from caesarion_hub.pods.objects import PodObjects
from caesarion_hub.pods.reflector import RELEASE, PodReflector, Resource, shared_reflector
from caesarion_hub.pods.spawn_errors import SpawnFailed
from caesarion_hub.pods.warm import stand_ins
from caesarion_hub.pods.warm.metrics import FAILED_CLAIMS
from caesarion_hub.pods.warm.pool import Place, WarmPool
from caesarion_hub.pods.warm.template import (
    CLAIM,
    ColdStartError,
    Identity,
    NoTemplateError,
    nonce_of,
)

TRIES = 3
"""Warm pods that a start tries to claim before it makes its own."""

INVALID = (400, 422)
"""The API server's statuses for a patch that it would refuse for every pod."""

MERGE_PATCH = "application/merge-patch+json"


class Outcome(Enum):
    """What came of the claim of a pod."""

    CLAIMED = auto()
    FAILED = auto()
    INVALID = auto()
    """It failed for what it says, and would with every pod."""


class ClaimingPods(PodObjects):
    """A server's pod: claimed from the pool, or else its own."""

    warm_replicas = Integer(
        0, config=True, help="How many warm pods wait for a user at a time; 0 for none."
    )

    warm_profile = Unicode(
        "", config=True, help="The slug of the profile that warm pods have; empty for the default."
    )

    pool: ClassVar[WarmPool | None] = None
    """The warm pods, shared by all spawners; None if there are none."""

    _claim = ""
    """The id of the claim by which this server got its pod, if that was a warm one."""

    _is_claiming = False
    """Whether it was this process that claimed the pod."""

    @classmethod
    async def keep_warm(cls, hub: Any) -> None:
        """Keep warm pods from now on, if the configuration says so; ``hub`` is the application."""
        if not hub.config.PodSpawner.get("warm_replicas"):
            return
        first, *_ = spawners = stand_ins.make_spawners(hub)
        template = None
        try:
            template = await stand_ins.make_template(spawners, sandboxes=hub.sandboxes_enabled)
        except Exception as problem:
            hub.log.warning(
                "singleuser.warm keeps no servers ready: %s.",
                f"{problem}".rstrip("."),
                exc_info=not isinstance(problem, NoTemplateError | SpawnFailed),
            )
        place = Place(
            first.namespace,
            first.common_labels.get(RELEASE, ""),
            first.warm_replicas,
            first.start_timeout,
        )
        reflector = await shared_reflector(PodReflector, first.namespace, hub.log)
        cls.pool = WarmPool(place, template, reflector, first.api, first._get_pod_url, hub.log)
        cls.pool.start()

    @property
    def is_claimed(self) -> bool:
        """Whether this start has claimed a warm pod."""
        return bool(self._claim)

    async def _obtain_pod(self, pod: Resource) -> None:
        """Claim a warm pod that is as ``pod`` would be, or create ``pod``."""
        if not await self._claim_any(pod):
            await super()._obtain_pod(pod)

    async def _claim_any(self, pod: Resource) -> bool:
        pool = self.pool
        if pool is None or pool.template is None:
            return False
        own = sandboxes.environment(self.name, self.user_options)
        try:
            identity = pool.template.identity(pod, own)
        except ColdStartError as difference:
            self.log.debug("Starting cold: warm pods have another %s.", difference)
            return False
        for warm in pool.offers(TRIES):
            self._use_pod(warm["metadata"]["name"])
            self._claim, self._is_claiming = uuid4().hex, True
            self._save_state()
            outcome = await self._claim_pod(pool, warm, identity)
            if outcome is Outcome.CLAIMED:
                return True
            self.clear_state()
            if outcome is Outcome.INVALID:
                break
        return False

    async def _claim_pod(self, pool: WarmPool, warm: Resource, identity: Identity) -> Outcome:
        """Make a warm pod this server's, or delete the pod if that fails."""
        metadata, outcome = warm["metadata"], Outcome.FAILED
        try:
            claimed = await self.api.patch_namespaced_pod(
                metadata["name"],
                metadata["namespace"],
                identity.patch(metadata["resourceVersion"], self._claim),
                _content_type=MERGE_PATCH,
            )
            nonce = nonce_of(json.loads(claimed))
            await claims.claim(self._get_pod_url(warm), nonce, identity.environment)
        except ApiException as problem:
            if problem.status == 409:  # another hub has it, or its status has changed
                pool.give_back(warm)
                return Outcome.FAILED
            if problem.status in INVALID:
                outcome = Outcome.INVALID
            reason = describe_error(problem)
        except TimeoutError as problem:
            reason = describe_error(problem)
        except claims.ClaimError as problem:
            FAILED_CLAIMS.inc()
            if isinstance(problem, claims.InvalidClaimError):
                outcome = Outcome.INVALID
            reason = f"{problem}"
        else:
            return Outcome.CLAIMED
        self.log.warning("%s was not claimed: %s", metadata["name"], reason)
        await pool.discard(warm)
        return outcome

    def owns(self, pod: Resource) -> bool:
        """
        Return whether the pod of this server's name is this server's.

        A hub that died in a claim may have left the name of a pod that is still warm, or that
        another start has claimed since.
        """
        if self._is_claiming:
            return True  # the copy may be older than the claim
        annotations = pod["metadata"].get("annotations") or {}
        return bool(annotations.get(CLAIM, "") == self._claim)

    def _use_pod(self, name: str) -> None:
        self.pod_name = name
        self.dns_name = self.dns_name_template.format(namespace=self.namespace, name=name)

    def get_state(self) -> dict[str, Any]:
        """Return the state that a restarted hub needs, also during a start."""
        state: dict[str, Any] = super().get_state()
        return {**state, "claim": self._claim} if self._claim else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the state that an earlier hub saved."""
        super().load_state(state)
        self._claim = state.get("claim", "")

    def clear_state(self) -> None:
        """Forget the pod: the next one has its usual name again."""
        super().clear_state()
        self._claim, self._is_claiming = "", False
