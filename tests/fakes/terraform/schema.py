"""
The schema of hashicorp/google, read from a package that was generated from it.

Called by the Makefile: ``python schema.py WHEEL FILE.json``. Terraform's registry has the
provider as a program of 100 MB and its schema nowhere else; ``cdktn-provider-google`` has one
JavaScript class for each resource and each nested block, whose comments and types say all that
the schema says, but for what is sensitive or deprecated, and the provider's own checks of values.
:mod:`tests.fakes.terraform.provider` serves the file.
"""

import json
import re
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import IO, Any, cast

RESOURCES = (
    "artifact_registry_repository",
    "artifact_registry_repository_iam_member",
    "billing_budget",
    "certificate_manager_certificate",
    "certificate_manager_certificate_map",
    "certificate_manager_certificate_map_entry",
    "certificate_manager_dns_authorization",
    "compute_firewall",
    "compute_global_address",
    "compute_instance",
    "compute_instance_iam_member",
    "compute_network",
    "compute_router",
    "compute_router_nat",
    "compute_subnetwork",
    "container_cluster",
    "container_node_pool",
    "iap_tunnel_instance_iam_member",
    "monitoring_notification_channel",
    "project_iam_member",
    "project_service",
    "service_account",
    "service_account_iam_member",
    "service_networking_connection",
    "sql_database",
    "sql_database_instance",
    "storage_bucket",
    "storage_bucket_iam_member",
)
"""Those that deploy/terraform uses; Terraform refuses all others."""

CLASS = re.compile(r"^class (\w+) extends .*?^}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(
    r"// (?P<name>\w+) - computed: (?P<computed>\w+), optional: (?P<optional>\w+),"
    r" required: (?P<required>\w+)\n"
    r"(?:\s*_\w+ = new (?:\w+\.)?(?P<nested>\w+)\(this, \"\w+\"(?:, (?P<set>true|false))?\);\n|"
    r"\s*_\w+;\n)?"
    r"(?:\s*/\*\*\n\s*\* @deprecated [^\n]*\n\s*\*/)?"
    r"\s*get \w+\(\) \{\n\s*return (?P<getter>[^;]*);"
)
COMMENT = re.compile(r"// \w+ - computed: ")
SETTING = re.compile(
    r"^ {12}(\w+): \{\n.*\n\s*isBlock: false,\n\s*type: \"(\w+)\",\n\s*storageClassType: \"(\w+)\"",
    re.MULTILINE,
)
SCALARS = {"string": "string", "number": "number", "boolean": "bool"}
GETTERS = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "BooleanMap": ["map", "bool"],
}

Block = dict[str, Any]
"""``attributes``: name to type and flags; ``blocks``: name to nesting, minimum, maximum, block."""


def read(wheel: IO[bytes]) -> dict[str, Block]:
    """Return the provider's configuration, under "provider", and each resource by its type."""
    sources: dict[str, str] = {}
    wanted = {name.replace("_", "-") for name in RESOURCES} | {"provider"}
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with outer.open(name) as packed, tarfile.open(fileobj=packed, mode="r|gz") as inner:
            for member in inner:
                folder, _, file = member.name.removeprefix("package/lib/").partition("/")
                if folder in wanted and file.endswith(".js"):
                    text = cast(IO[bytes], inner.extractfile(member)).read().decode()
                    sources[folder] = sources.get(folder, "") + text
    if missing := wanted - sources.keys():
        raise LookupError(f"The package has no {', '.join(sorted(missing))}.")
    return {
        folder if folder == "provider" else f"google_{folder.replace('-', '_')}": block_of(text)
        for folder, text in sorted(sources.items())
    }


def block_of(source: str) -> Block:
    """Return the block of the one class in ``source`` that is a resource or a provider."""
    classes = {found[1]: found[0] for found in CLASS.finditer(source)}
    (top,) = (
        text
        for text in classes.values()
        if re.match(r"class \w+ extends cdktn\.Terraform(Resource|Provider) ", text)
    )
    return _block(top, classes)


def _block(text: str, classes: dict[str, str]) -> Block:
    block: Block = {"attributes": {}, "blocks": {}}
    fields = list(FIELD.finditer(text))
    if len(fields) != len(COMMENT.findall(text)):
        raise ValueError(f"Not every field can be read of {text.partition(' extends')[0]!r}.")
    settings = {name: (kind, of) for name, kind, of in SETTING.findall(text)}
    for field in fields:
        flags = {
            flag: True for flag in ("computed", "optional", "required") if field[flag] == "true"
        }
        name, nested = field["name"], field["nested"]
        if name == "alias":  # Terraform's own.
            continue
        if nested is None or nested in GETTERS:
            if kind := _type(field["getter"], nested, settings.get(name)):
                block["attributes"][name] = {"type": kind, **flags}
            continue
        many = nested.endswith("List")
        inner = _block(
            classes[nested.removesuffix("List") + "OutputReference" if many else nested], classes
        )
        nesting = "set" if field["set"] == "true" else "list"
        if "computed" in flags:  # A block cannot be computed, so this is a list of objects.
            block["attributes"][name] = {"type": [nesting, _object(inner)], **flags}
        else:
            block["blocks"][name] = {
                "nesting": "single" if name == "timeouts" else nesting,
                "minimum": int("required" in flags),
                "maximum": 0 if many else 1,
                "block": inner,
            }
    return block


def _type(getter: str, nested: str | None, setting: tuple[str, str] | None) -> Any:
    """Return the type, as in Terraform's JSON, of a getter or a setting; None for a block."""
    if nested:
        return GETTERS[nested]
    if found := re.search(r"this\.get(\w+)Attribute\(", getter):
        kind = GETTERS[found[1]]
        return ["set", kind[1]] if getter.startswith("cdktn.Fn.tolist(") else kind
    if setting is None:
        return None
    collection, of = setting
    element = SCALARS[re.sub("(List|Map)$", "", of)]
    return element if collection == "simple" else [collection, element]


def _object(block: Block) -> list[Any]:
    fields = {name: attribute["type"] for name, attribute in block["attributes"].items()}
    for name, nested in block["blocks"].items():
        fields[name] = [nested["nesting"], _object(nested["block"])]
    return ["object", fields]


if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as file:
        Path(sys.argv[2]).write_text(json.dumps(read(file)))
