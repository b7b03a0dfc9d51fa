"""
The kinds of servers that people choose from on the spawn page.

Called by ``configuration``. Pure: the values' profiles in KubeSpawner's shape,
with the amounts as KubeSpawner takes them.
"""

from collections.abc import Sequence
from typing import Any

from caesarion_hub.values import Profile


def profile_list(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """Return ``KubeSpawner.profile_list``."""
    return [profile.model_dump(exclude_unset=True) for profile in profiles]
