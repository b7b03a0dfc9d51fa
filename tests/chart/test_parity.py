"""What stands beside zero-to-jupyterhub: docs/parity.md, and the values and gateway for its hub."""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from caesarion import __version__
from caesarion.config import CaesarionUploads
from caesarion_hub import auth, spawner
from caesarion_hub.pods.pod_security import violations
from caesarion_hub.values.gateway import Gateway
from traitlets.config import Config

from tests.helm import CHART, ROOT, Manifest, render
from tests.validation import validate
from tests.values import make_cluster_values

SCHEMA = json.loads((CHART / "values.schema.json").read_text("utf-8"))

WHERE = {"The same name, the same meaning": 1, "Renamed": 2, "Only in Caesarion": 1}
"""The column of each table that names a value of ours."""

HELMS_OWN = {"global"}


def named() -> set[str]:
    """Return the values of ours that the document names."""
    text = (ROOT / "docs" / "parity.md").read_text("utf-8")
    keys = set()
    for title, column in WHERE.items():
        table = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
        for line in table.splitlines():
            if line.startswith("| `"):
                keys |= set(re.findall("`([^`]+)`", line.split("|")[column]))
    return keys


def keys(place: dict[str, Any] = SCHEMA, path: str = "") -> Iterator[str]:
    for part in [place, *place.get("allOf", [])]:
        if "$ref" in part:
            place = SCHEMA["definitions"][part["$ref"].rpartition("/")[2]]
    for key, inner in place.get("properties", {}).items():
        yield f"{path}{key}"
        yield from keys(inner, f"{path}{key}.")


def test_the_document_names_no_value_that_is_not_there() -> None:
    assert named() - set(keys()) == set()


def test_the_document_names_every_value_or_a_table_that_it_is_in() -> None:
    known = named()
    every = set(keys())
    leaves = {key for key in every if not any(other.startswith(f"{key}.") for other in every)}
    forgotten = {key for key in leaves if not any(f"{key}.".startswith(f"{k}.") for k in known)}
    assert forgotten == HELMS_OWN


def beside() -> tuple[dict[str, Any], list[Manifest]]:
    helm = ROOT / "helm"
    values = yaml.safe_load((helm / "z2jh-values.yaml").read_text("utf-8"))
    manifests = yaml.safe_load_all((helm / "z2jh-gateway.yaml").read_text("utf-8"))
    return values, list(manifests)


def test_a_server_of_another_hub_is_told_the_same_and_its_token_may_do_the_same() -> None:
    values, _ = beside()
    c = Config()
    for part in (auth, spawner):
        gateway = {"gatewayUrl": "http://caesarion-gateway"}
        part.configure(c, make_cluster_values(cluster=gateway, api={"enabled": False}))
    assert values["singleuser"]["cmd"] == c.Spawner.cmd[0]
    environment = values["singleuser"]["extraEnv"]
    folder = environment.pop(CaesarionUploads.variable("folder"))
    assert folder.startswith("/home/jovyan/")
    ours = {
        name: value
        for name, value in c.Spawner.environment.items()
        if name.startswith("CAESARION_") and name != CaesarionUploads.variable("folder")
    }
    assert environment == ours
    scopes = values["hub"]["config"]["Spawner"]["server_token_scopes"]
    assert scopes == c.Spawner.server_token_scopes
    (role,) = c.JupyterHub.load_roles.get_value([])
    assert values["hub"]["loadRoles"] == {role["name"]: {"scopes": role["scopes"]}}


def test_the_gateway_beside_another_hub_is_the_charts_but_for_its_keys() -> None:
    _, (deployment, service) = beside()
    no_ledger = {"gateway": {"database": {"pvc": {"enabled": False}}}}
    ours = render(no_ledger).one("Deployment", "caesarion-gateway")["spec"]["template"]["spec"]
    theirs = deployment["spec"]["template"]["spec"]
    (container,), (other,) = ours.pop("containers"), theirs.pop("containers")
    variables = {entry["name"]: entry for entry in container.pop("env")}
    others = {entry["name"]: entry for entry in other.pop("env")}
    assert others.pop("JUPYTERHUB_API_URL")["value"] == "http://hub:8081/hub/api"
    assert others.pop("JUPYTERHUB_API_TOKEN")["valueFrom"] == {
        "secretKeyRef": {"name": "hub", "key": "hub.services.gateway.apiToken"}
    }
    # In the chart the model stands with the other values.
    assert others.pop("CAESARION_GATEWAY_DEFAULT_MODEL")["value"] == Gateway().model
    assert others.pop("OPENAI_API_KEY")["valueFrom"]["secretKeyRef"]["optional"] is True
    assert others.items() <= variables.items()
    # What stands in the chart's values would be a Secret of the operator's there.
    for name in ("values", "audit"):
        volume, mount = ours["volumes"].pop(1), container["volumeMounts"].pop(1)
        assert volume["name"] == mount["name"] == name
    assert other == container
    del ours["topologySpreadConstraints"]
    assert theirs == ours
    assert violations("restricted", {**theirs, "containers": [other]}) == []
    assert service["spec"]["selector"].items() <= (
        deployment["spec"]["template"]["metadata"]["labels"].items()
    )


def test_kubernetes_takes_the_gateway_beside_another_hub() -> None:
    _, manifests = beside()
    for manifest in manifests:
        validate(manifest, "1.33")


def test_the_images_beside_another_hub_are_of_this_version() -> None:
    values, (deployment, _) = beside()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"caesarion/hub:{__version__}"
    assert values["singleuser"]["image"] == {"name": "caesarion/singleuser", "tag": __version__}
