"""The addresses and node ports of Services. Called by ``admission``."""

from tests.fakes.kubernetes.apiserver.errors import cause, invalid
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.state import State

NODE_PORTS = range(30000, 32768)


def admit(state: State, new: Json, old: Json | None) -> None:
    """Give a service a cluster IP and its node ports, or let it keep them."""
    spec = new["spec"]
    if old is None:
        new["status"] = {"loadBalancer": {}}
    if spec["type"] == "ExternalName":
        return
    _keep(spec, old["spec"] if old else {})
    if not spec.get("clusterIP"):
        spec["clusterIP"] = next(state.free_addresses())
    elif old is None and spec["clusterIP"] != "None":
        _check_free(state, new)
    spec["clusterIPs"] = [spec["clusterIP"]]
    if spec["type"] in ("NodePort", "LoadBalancer"):
        taken = {
            port.get("nodePort")
            for service in state.store.all("services")
            for port in service["spec"].get("ports") or ()
        }
        free = (port for port in NODE_PORTS if port not in taken)
        for port in spec.get("ports") or ():
            port["nodePort"] = port.get("nodePort") or next(free)


def _keep(spec: Json, old: Json) -> None:
    """Keep what was allocated before, for clients that send only what they set."""
    if old.get("clusterIP") and not spec.get("clusterIP"):
        spec["clusterIP"] = old["clusterIP"]
    before = {(port["port"], port["protocol"]): port for port in old.get("ports") or ()}
    for port in spec.get("ports") or ():
        node_port = before.get((port["port"], port["protocol"]), {}).get("nodePort")
        if node_port and spec["type"] != "ClusterIP" and "nodePort" not in port:
            port["nodePort"] = node_port


def _check_free(state: State, service: Json) -> None:
    address = service["spec"]["clusterIP"]
    if address not in state.free_addresses():
        why = f'Invalid value: "{address}": failed to allocate IP {address}: it is taken, or not in'
        told = cause("spec.clusterIPs", "Invalid", f"{why} {state.services}")
        raise invalid("Service", service["metadata"]["name"], [told])
