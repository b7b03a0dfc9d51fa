"""
Translates the values' profiles into KubeSpawner's ``profile_list``.

Called by ``configuration``. Pure. KubeSpawner checks an override only when the
first user chooses it; here unknown traits and invalid values are refused at the
hub's start, in sentences for the operator.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import PydanticCustomError
from slugify import slugify
from traitlets import HasTraits, TraitError

from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.values import Profile, ValuesError
from caesarion_hub.values.fields import CORES, MEMORY, bytes_of, cores_of

AMOUNTS = {
    "cpu_guarantee": (cores_of, CORES),
    "cpu_limit": (cores_of, CORES),
    "cpu_start_limit": (cores_of, CORES),
    "mem_guarantee": (bytes_of, MEMORY),
    "mem_limit": (bytes_of, MEMORY),
}
"""The traits whose amounts are written as elsewhere in the values: ``2Gi``, ``500m``."""

FREE_TEXT = "{value}"
"""The placeholder in an override for the user's own text."""


def profile_list(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """Return ``KubeSpawner.profile_list``; raise ValuesError with a sentence for each problem."""
    made = [profile.model_dump(exclude_unset=True) for profile in profiles]
    sentences = list(_duplicates(made))
    for place, overrides in all_overrides(made):
        for name, value in overrides.items():
            try:
                overrides[name] = _convert(name, value)
            except ValueError as problem:
                sentences.append(f"{_key(place, name)} {problem}")
            except KeyError:
                sentences.append(f"Unknown key '{_key(place, name)}'. {_suggestion(name)}")
            if remedy := PodSpawner.unsupported_traits.get(name):
                sentences.append(f"{_key(place, name)} is not supported. {remedy}")
    if sentences:
        raise ValuesError("\n".join(sentences))
    return made


def all_overrides(made: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every table of overrides with its key in the values."""
    for number, profile in enumerate(made):
        place = f"singleuser.profileList[{number}]"
        yield place, profile.get("kubespawner_override", {})
        for name, option in profile.get("profile_options", {}).items():
            inside = f"{place}.profile_options.{name}"
            for choice, table in option.get("choices", {}).items():
                yield f"{inside}.choices.{choice}", table.get("kubespawner_override", {})
            unlisted = option.get("unlisted_choice") or {}
            yield f"{inside}.unlisted_choice", unlisted.get("kubespawner_override", {})


def _convert(name: str, value: Any) -> Any:
    """Return ``value`` as the trait needs it; KeyError: no such trait, ValueError: invalid."""
    trait = PodSpawner.class_traits(config=True)[name]
    if FREE_TEXT in json.dumps(value):
        return value
    try:
        if value is not None or not trait.allow_none:
            value = AMOUNTS[name][0](value) if name in AMOUNTS else value
            trait.validate(HasTraits(), value)
    except (TraitError, PydanticCustomError) as problem:
        must_be = AMOUNTS[name][1] if name in AMOUNTS else trait.info()
        raise ValueError(f"is {json.dumps(value)}; it must be {must_be}.") from problem
    return value


def _duplicates(made: list[dict[str, Any]]) -> Iterator[str]:
    slugs = [profile.get("slug") or slugify(profile["display_name"]) for profile in made]
    for number, slug in enumerate(slugs):
        if slug in slugs[:number]:
            first = slugs.index(slug)
            yield (
                f"singleuser.profileList[{number}] and [{first}] have the same slug, '{slug}'. "
                "Give one of them another."
            )
    defaults = [number for number, profile in enumerate(made) if profile.get("default")]
    if len(defaults) > 1:
        yield (
            f"singleuser.profileList[{defaults[1]}].default and that of [{defaults[0]}] are "
            "both true; only one profile may be the default."
        )


def _key(place: str, name: str) -> str:
    return f"{place}.kubespawner_override.{name}"


def _suggestion(name: str) -> str:
    traits = PodSpawner.class_trait_names(config=True)
    near = difflib.get_close_matches(name, traits, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else "It must be a trait of KubeSpawner."
