"""
deploy/terraform: real Terraform plans, applies and destroys it, with a fake Google behind.

The small example is applied and destroyed by test_page.py.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm import EXAMPLES, RefusedError, render
from tests.terraform import Terraform, copy, resources

Copy = Callable[[str], Terraform]

GIVEN: dict[str, Any] = {
    "project_id": "my-project",
    "host_name": "caesarion.example.org",
    "administrators": ["user:ada@example.org"],
}
BUDGET: dict[str, Any] = {
    "billing_account": "012345-6789AB-CDEF01",
    "monthly_budget": 1000,
    "budget_emails": ["ops@example.org"],
}


@pytest.fixture(scope="module")
def copied(google: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """Copies and initializes a configuration of deploy/terraform."""
    return lambda configuration: copy(tmp_path_factory.mktemp("deploy"), google, configuration)


@pytest.fixture(scope="module")
def production(copied: Copy) -> Terraform:
    """The production example, applied from its plan."""
    terraform = copied("examples/production")
    terraform("plan", "-out=plan", **GIVEN, **BUDGET)
    terraform("apply", "plan")
    return terraform


@pytest.fixture(scope="module")
def root(copied: Copy) -> Terraform:
    """The root module, alone."""
    return copied(".")


@pytest.fixture(scope="module")
def complaints(root: Terraform) -> str:
    """All that Terraform says of wrong values, every variable in one plan."""
    with pytest.raises(RefusedError) as raised:
        root("plan", "-no-color", **{name: value for name, value, _ in WRONG})
    return str(raised.value)


def test_the_modules_plan_what_their_tests_say(root: Terraform) -> None:
    assert "Success! 10 passed, 0 failed." in root("test", "-no-color")


def test_what_was_applied_needs_no_change(production: Terraform) -> None:
    printed = production("plan", "-no-color", "-detailed-exitcode", **GIVEN, **BUDGET)
    assert "No changes." in printed


WRONG = (
    ("project_id", "My Project", "The project_id 'My Project' is no id of a project"),
    ("region", "europe-west1-b", "The region 'europe-west1-b' is no region"),
    ("name", "x", "The name 'x' does not fit: 2 to 20 lower-case letters"),
    (
        "host_name",
        "https://hub.example.org",
        "The host_name 'https://hub.example.org' is no host name",
    ),
    ("namespace", "Hub", "The namespace 'Hub' does not fit: at most 57 lower-case letters"),
    ("administrators", ["ada"], 'The administrators ["ada"] must be one or more of user:NAME'),
    ("ranges", {"control_plane": "172.16.0.0/24"}, "'172.16.0.0/24', must be a /28."),
    (
        "authorized_networks",
        {"all": "0.0.0.0/0"},
        'The authorized_networks {"all":"0.0.0.0/0"} must be IPv4 ranges',
    ),
    ("release_channel", "FAST", "The release_channel 'FAST' must be RAPID, REGULAR, STABLE"),
    (
        "maintenance_window",
        {"hours": 5, "days": ["SU"]},
        "A maintenance_window of 5 hours on 1 days is refused by GKE: 4 to 24 hours, and 48 hours",
    ),
    (
        "pools",
        {"users": {"min_nodes": 3, "max_nodes": 2}},
        '"users":[3,2]}: min_nodes must be 0 or more and at most max_nodes.',
    ),
    ("database", {"tier": "large"}, "The tier 'large' of the database is none of PostgreSQL's"),
    (
        "backups",
        {"retention_days": 90, "delete_after_days": 30},
        "Backups are locked for 90 days and deleted after 30",
    ),
    (
        "budget",
        {"billing_account": "1", "amount": 1000},
        "The billing_account '1' must look like 012345-6789AB-CDEF01",
    ),
)


@pytest.mark.parametrize(("name", "value", "sentence"), WRONG, ids=[name for name, *_ in WRONG])
def test_a_wrong_value_is_told_with_its_remedy(
    complaints: str, name: str, value: object, sentence: str
) -> None:
    assert sentence in complaints


ALSO_WRONG = {
    "zones": (["us-east1-b"], 'The zones ["us-east1-b"] are not all in the region'),
    "ranges": ({"pods": "10.4.0.0"}, "must be IPv4 ranges in CIDR notation"),
    "maintenance_window": ({"start": "Saturday"}, "'Saturday', must be a time in UTC such as"),
    "pools": ({"core": {"min_nodes": 0}}, "The pool core has min_nodes 0: the hub needs a node"),
    "database": ({"backups_kept": 0}, "The database keeps 0 backups: give 1 to 365."),
    "budget": ({**BUDGET, "billing_account": "012345-6789AB-CDEF01", "amount": 0.5}, "amount 0.5"),
}


def test_a_second_check_of_a_variable_has_a_sentence_of_its_own(root: Terraform) -> None:
    with pytest.raises(RefusedError) as raised:
        root(
            "plan", "-no-color", **GIVEN, **{name: value for name, (value, _) in ALSO_WRONG.items()}
        )
    for _, sentence in ALSO_WRONG.values():
        assert sentence in str(raised.value)


@pytest.fixture(scope="module")
def values(production: Terraform) -> dict[str, Any]:
    """What the production example prints as values of the chart."""
    table: dict[str, Any] = json.loads(production("output", "-json", "values"))
    return table


def test_the_chart_takes_the_values_that_terraform_prints(values: dict[str, Any]) -> None:
    gke = yaml.safe_load((EXAMPLES / "gke.yaml").read_text("utf-8"))
    manifests = render(gke, values, release="caesarion", namespace="caesarion")

    hub = manifests.one("Deployment", "caesarion-hub")["spec"]["template"]["spec"]
    assert hub["nodeSelector"] == {"pool": "core"}
    image = "europe-west1-docker.pkg.dev/my-project/caesarion/hub:"
    assert hub["containers"][0]["image"].startswith(image)
    assert manifests.hub_values()["hub"]["db"]["url"] == (
        "postgresql+psycopg2://caesarion@10.64.0.3:5432/hub?sslmode=require"
    )
    for component in ("hub", "gateway"):
        policy = manifests.one("NetworkPolicy", f"caesarion-{component}")
        database = {"to": [{"ipBlock": {"cidr": "10.64.0.3/32"}}], "ports": [{"port": 5432}]}
        assert database in policy["spec"]["egress"]


def test_users_pods_go_where_their_pools_let_them(
    production: Terraform, values: dict[str, Any]
) -> None:
    singleuser = values["singleuser"]
    nodes = resources(production.state)["module.cluster.google_container_node_pool.this"]
    pools = {pool["name"]: pool["node_config"][0] for pool in nodes}
    standard, spot, gpu = singleuser["profileList"]
    assert standard == {"display_name": "Standard", "default": True}
    places = {
        "users": (singleuser["nodeSelector"], singleuser["extraTolerations"]),
        "users-spot": place(spot),
        "gpu": place(gpu),
    }
    for name, (selector, tolerations) in places.items():
        assert pools[name]["labels"] == selector
        tolerated = {(one["key"], one.get("value")) for one in tolerations}
        assert {(taint["key"], taint["value"]) for taint in pools[name]["taint"]} <= tolerated
    assert ("nvidia.com/gpu", None) in {(one["key"], one.get("value")) for one in places["gpu"][1]}


def place(profile: dict[str, Any]) -> tuple[Any, Any]:
    """Return a profile's selector and tolerations."""
    override = profile["kubespawner_override"]
    return override["node_selector"], override["tolerations"]


def test_no_password_and_no_key_is_in_the_state(production: Terraform) -> None:
    kinds = {address.split(".")[-2] for address in resources(production.state)}
    assert len(kinds) > 20
    assert not kinds & {"google_sql_user", "google_service_account_key"}


def test_a_destroy_of_everything_stops_before_it_begins(production: Terraform) -> None:
    before = resources(production.state)
    with pytest.raises(RefusedError) as raised:
        production("destroy", "-auto-approve", "-no-color", **GIVEN, **BUDGET)
    for kept in (
        'module.database.google_sql_database.this["hub"]',
        "module.backups.google_storage_bucket.this",
    ):
        assert f"Resource module.caesarion.{kept} has lifecycle.prevent_destroy set" in str(
            raised.value
        )
    assert resources(production.state) == before


def test_the_cluster_is_not_deleted_before_it_is_unlocked(production: Terraform) -> None:
    cluster = "-target=module.caesarion.module.cluster"
    with pytest.raises(RefusedError, match="'caesarion': deletion_protection is true"):
        production("destroy", "-auto-approve", "-no-color", cluster, **GIVEN, **BUDGET)
    assert "module.cluster.google_container_cluster.this" in resources(production.state)


WITHOUT_SENSE = """
resource "google_compute_disk" "a" {}
resource "google_storage_bucket" "a" {
  name = "a"
}
resource "google_service_account" "a" {
  account_id = "a"
  key        = 1
}
resource "google_storage_bucket" "b" {
  name     = "b"
  location = "EU"
  versioning {
    enabled = [1]
  }
}
"""


def test_terraform_refuses_with_the_fake_what_the_real_schema_refuses(
    google: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "main.tf").write_text(WITHOUT_SENSE)
    terraform = Terraform(tmp_path, google)
    terraform("init", "-input=false")
    with pytest.raises(RefusedError) as raised:
        terraform("validate", "-no-color")
    for refusal in (
        'does not support resource type "google_compute_disk"',
        'The argument "location" is required',
        'An argument named "key" is not expected here',
        'Inappropriate value for attribute "enabled": bool required',
    ):
        assert refusal in str(raised.value)
