"""The kinds of servers to choose from: what is refused, and what a choice does to the pod."""

from typing import Any

import pytest
import yaml
from caesarion_hub.pods.spawn_errors import SpawnFailed
from caesarion_hub.values import ValuesError

from tests.hub import REPOSITORY
from tests.spawners import make_spawner, without_cluster

__all__ = ["without_cluster"]
pytestmark = pytest.mark.usefixtures("without_cluster")

EXAMPLE = yaml.safe_load((REPOSITORY / "helm/examples/profiles.yaml").read_text("utf-8"))


async def resources_of(options: dict[str, Any]) -> Any:
    """Return the container's resources and the pod's spec after a choice."""
    spawner = make_spawner(**EXAMPLE)
    spawner.user_options = options
    await spawner.load_user_options()
    pod = await spawner.get_pod_manifest()
    return pod.spec.containers[0], pod.spec


async def test_who_chooses_nothing_gets_the_default() -> None:
    container, _ = await resources_of({})
    assert container.resources.limits == {"cpu": 2.0, "memory": 2 * 2**30}
    assert container.resources.requests == {"cpu": 0.1, "memory": 2**29}


async def test_a_size_and_an_image_of_ones_own_are_chosen_within_a_profile() -> None:
    container, _ = await resources_of(
        {"profile": "large", "size": "2-huge", "with-image--unlisted-choice": "r/mine:1"}
    )
    assert container.image == "r/mine:1"
    assert container.resources.limits == {"cpu": 8.0, "memory": 32 * 2**30}


async def test_a_gpu_is_asked_for_where_gpus_are() -> None:
    container, spec = await resources_of({"profile": "gpu"})
    assert container.resources.limits["nvidia.com/gpu"] == "1"
    assert spec.node_selector == {"accelerator": "nvidia"}
    assert [toleration.key for toleration in spec.tolerations] == ["nvidia.com/gpu"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"profile": "giant"},
            "No such profile: giant. Options include: small, large, gpu. "
            "Choose again on the spawn page.",
        ),
        (
            {"profile": "large", "size": "giant"},
            "There is no choice 'giant'. Choose again on the spawn page.",
        ),
        (
            {"profile": "large", "with-image--unlisted-choice": "no image; rm -rf"},
            "Received unlisted_choice for with-image that failed validation regex. "
            "Choose again on the spawn page.",
        ),
    ],
)
async def test_what_cannot_be_chosen_is_told(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpawnFailed) as caught:
        await resources_of(options)
    assert caught.value.jupyterhub_message == sentence


PROFILE = {"display_name": "P"}


@pytest.mark.parametrize(
    ("profiles", "sentences"),
    [
        (
            [{**PROFILE, "kubespawner_override": {"mem_limt": "2Gi"}}],
            [
                "Unknown key 'singleuser.profileList[0].kubespawner_override.mem_limt'. "
                "Did you mean 'mem_limit'?"
            ],
        ),
        (
            [{**PROFILE, "kubespawner_override": {"zzz": 1}}],
            [
                "Unknown key 'singleuser.profileList[0].kubespawner_override.zzz'. "
                "It must be a trait of KubeSpawner."
            ],
        ),
        (
            [{**PROFILE, "kubespawner_override": {"cpu_limit": "many", "image": 7}}],
            [
                'singleuser.profileList[0].kubespawner_override.cpu_limit is "many"; it must be '
                "a number of cores such as 0.5, 2 or 500m.",
                "singleuser.profileList[0].kubespawner_override.image is 7; it must be "
                "a unicode string.",
            ],
        ),
        (
            [
                {
                    **PROFILE,
                    "profile_options": {
                        "size": {
                            "display_name": "Size",
                            "choices": {
                                "big": {
                                    "display_name": "Big",
                                    "kubespawner_override": {"mem_limit": "big"},
                                }
                            },
                        }
                    },
                }
            ],
            [
                "singleuser.profileList[0].profile_options.size.choices.big.kubespawner_override"
                '.mem_limit is "big"; it must be an amount such as 2Gi, 512Mi or a whole number '
                "of bytes."
            ],
        ),
        (
            [PROFILE, {"display_name": "p"}],
            [
                "singleuser.profileList[1] and [0] have the same slug, 'p'. "
                "Give one of them another."
            ],
        ),
        (
            [{**PROFILE, "default": True}, {"display_name": "Q", "default": True}],
            [
                "singleuser.profileList[1].default and that of [0] are both true; "
                "only one profile may be the default."
            ],
        ),
    ],
)
async def test_what_kubespawner_would_stumble_over_is_refused_before(
    profiles: list[dict[str, Any]], sentences: list[str]
) -> None:
    with pytest.raises(ValuesError) as caught:
        make_spawner(singleuser={"profileList": profiles})
    assert str(caught.value).splitlines() == sentences


async def test_the_form_asks_in_the_order_of_the_values() -> None:
    form = make_spawner(**EXAMPLE).options_form
    places = [form.index(f'value="{slug}"') for slug in ("small", "large", "gpu")]
    assert places == sorted(places)
    assert form.count("checked") - form.count(":checked") - form.count(".checked") == 1


async def test_what_a_user_has_written_is_no_template_and_no_markup() -> None:
    spawner = make_spawner(**EXAMPLE)
    spawner.user_options = {"profile": "large", "with-image--unlisted-choice": '"><b>{{ 7 * 7 }}'}
    assert 'value="&#34;&gt;&lt;b&gt;&#123;&#123; 7 * 7 }}"' in spawner.options_form


async def test_without_profiles_there_is_nothing_to_ask() -> None:
    assert make_spawner().options_form == ""
