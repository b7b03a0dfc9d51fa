"""
A fake of Terraform's Google provider: the real schema, and no cloud behind it.

Terraform speaks to it as to the real one, by gRPC (plugin protocol 5); it is attached by
``TF_REATTACH_PROVIDERS``, see :mod:`tests.terraform`, which starts
``python provider.py SCHEMA.json SOCKET`` with the deploy tools' own Python and ends it by closing
its standard input. Terraform itself refuses unknown resources, arguments and types by the schema
that :mod:`tests.fakes.terraform.schema` has read.

What the real provider computes is unknown in a plan and made up in an apply. Nothing else is
checked: not the values of an argument, not what Google would allow. A destroy is refused where
the real provider refuses it without asking Google: ``deletion_protection`` and
``deletion_policy``. Calls that no test needs are unimplemented, and say so.
"""

import json
import signal
import sys
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tfplugin_proto import tfplugin5_5_pb2 as proto
from tfplugin_proto import tfplugin5_5_pb2_grpc as service

UNKNOWN = msgpack.ExtType(0, b"\0")
"""Terraform's value that is known only after the apply."""

Values = dict[str, Any]


class Provider(service.ProviderServicer):  # type: ignore[misc]
    """Answers Terraform's calls; without state, for Terraform sends all of it."""

    def __init__(self, schema: dict[str, Any]):
        self.settings = schema["provider"]
        self.resources = {name: block for name, block in schema.items() if name != "provider"}
        self.project = ""

    def GetSchema(self, request: Any, context: Any) -> Any:
        return proto.GetProviderSchema.Response(
            provider=proto.Schema(block=_block(self.settings)),
            resource_schemas={
                name: proto.Schema(block=_block(block)) for name, block in self.resources.items()
            },
        )

    def PrepareProviderConfig(self, request: Any, context: Any) -> Any:
        return proto.PrepareProviderConfig.Response(prepared_config=request.config)

    def Configure(self, request: Any, context: Any) -> Any:
        self.project = _unpack(request.config)["project"]
        return proto.Configure.Response()

    def ValidateResourceTypeConfig(self, request: Any, context: Any) -> Any:
        return proto.ValidateResourceTypeConfig.Response()

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:
        state = _pack(json.loads(request.raw_state.json))
        return proto.UpgradeResourceState.Response(upgraded_state=state)

    def ReadResource(self, request: Any, context: Any) -> Any:
        return proto.ReadResource.Response(new_state=request.current_state)

    def PlanResourceChange(self, request: Any, context: Any) -> Any:
        planned = _unpack(request.proposed_new_state)
        if planned is not None and _unpack(request.prior_state) is None:
            _leave_unknown(self.resources[request.type_name], planned)
        return proto.PlanResourceChange.Response(planned_state=_pack(planned))

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:
        planned, prior = _unpack(request.planned_state), _unpack(request.prior_state)
        if planned is None:
            if refusal := _refusal_to_destroy(request.type_name, prior):
                error = proto.Diagnostic(severity=proto.Diagnostic.ERROR, summary=refusal)
                return proto.ApplyResourceChange.Response(
                    new_state=request.prior_state, diagnostics=[error]
                )
        else:
            self._make_up(self.resources[request.type_name], planned, request.type_name)
        return proto.ApplyResourceChange.Response(new_state=_pack(planned))

    def Stop(self, request: Any, context: Any) -> Any:
        return proto.Stop.Response()

    def _make_up(self, block: Values, values: Values, resource: str) -> None:
        account = f"{values.get('account_id')}@{self.project}.iam.gserviceaccount.com"
        known = {
            "address": "203.0.113.10",
            "email": account,
            "id": f"{resource}/{values.get('name') or values.get('account_id') or 'made-up'}",
            "member": f"serviceAccount:{account}",
            "private_ip_address": "10.64.0.3",
            "project": self.project,
        }
        for name, attribute in block["attributes"].items():
            if values[name] == UNKNOWN:
                values[name] = known.get(name, _made_up(name, attribute["type"]))
        for name, nested in block["blocks"].items():
            for inner in _each(values[name], nested):
                self._make_up(nested["block"], inner, resource)


def _made_up(name: str, kind: Any) -> Any:
    """Return some value of a type: a collection has one element, but a map none."""
    match kind:
        case "string":
            return f"made-up-{name.replace('_', '-')}"
        case "number":
            return 1
        case "bool":
            return False
        case ["map", _]:
            return {}
        case ["list" | "set", element]:
            return [_made_up(name, element)]
        case ["object", fields]:
            return {field: _made_up(field, of) for field, of in fields.items()}
    raise ValueError(f"No value of the type {kind!r} can be made up.")


def _refusal_to_destroy(resource: str, prior: Values) -> str | None:
    for protection, value in (("deletion_protection", True), ("deletion_policy", "PREVENT")):
        if prior.get(protection) == value:
            return (
                f"Cannot destroy {resource} {prior['name']!r}: {protection} is {json.dumps(value)}."
            )
    return None


def _leave_unknown(block: Values, values: Values) -> None:
    for name, attribute in block["attributes"].items():
        if attribute.get("computed") and values[name] is None:
            values[name] = UNKNOWN
    for name, nested in block["blocks"].items():
        for inner in _each(values[name], nested):
            _leave_unknown(nested["block"], inner)


def _each(value: Any, nested: Values) -> list[Values]:
    """Return the blocks of that name, of which there may be one, many or an unknown number."""
    if value is None or value == UNKNOWN:
        return []
    return [value] if nested["nesting"] == "single" else value


def _block(block: Values) -> Any:
    return proto.Schema.Block(
        attributes=[
            proto.Schema.Attribute(
                name=name,
                type=json.dumps(attribute["type"]).encode(),
                **{
                    flag: True for flag in ("required", "optional", "computed") if flag in attribute
                },
            )
            for name, attribute in block["attributes"].items()
        ],
        block_types=[
            proto.Schema.NestedBlock(
                type_name=name,
                block=_block(nested["block"]),
                nesting=nested["nesting"].upper(),
                min_items=nested["minimum"],
                max_items=0 if nested["nesting"] == "single" else nested["maximum"],
            )
            for name, nested in block["blocks"].items()
        ],
    )


def _unpack(value: Any) -> Any:
    return msgpack.unpackb(value.msgpack) if value.msgpack else json.loads(value.json)


def _pack(value: Any) -> Any:
    return proto.DynamicValue(msgpack=msgpack.packb(value))


def serve(schema: Path, socket: Path, until: Callable[[], object]) -> None:
    """Serve on a Unix socket until ``until`` returns."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=4),
        options=[("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)],
    )
    service.add_ProviderServicer_to_server(Provider(json.loads(schema.read_text())), server)
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    print("ready", flush=True)
    until()
    server.stop(None).wait()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Path(sys.argv[1]), Path(sys.argv[2]), sys.stdin.read)
