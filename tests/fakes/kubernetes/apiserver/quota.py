"""
ResourceQuotas: what a namespace uses, and whether there is room for one more.

``admission`` checks what is created or grows, ``housekeeping`` keeps the
quotas' status. Usage is counted from the objects themselves each time.
"""

from collections.abc import Iterable
from decimal import Decimal

from tests.fakes.kubernetes.apiserver.errors import forbidden, not_implemented
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resource
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.quantities import quantity, total, written

Usage = dict[str, Decimal]

QUOTAS = "resourcequotas"
COUNTED = ("pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "resourcequotas")
COMPUTE = ("cpu", "memory", "ephemeral-storage")


def usage_of(resource: Resource, obj: Json) -> Usage:
    """Return what one object takes from the quotas of its namespace."""
    usage = {f"count/{resource.qualified}": Decimal(1)}
    if resource.qualified in COUNTED:
        usage[resource.plural] = Decimal(1)
    if resource.qualified == "pods":
        if obj.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return {}
        for field in ("requests", "limits"):
            amounts = total(obj["spec"], field)
            usage |= {f"{field}.{name}": amount for name, amount in amounts.items()}
            if field == "requests":
                usage |= {name: amounts[name] for name in COMPUTE if name in amounts}
    elif resource.qualified == "persistentvolumeclaims":
        spec = obj["spec"]
        asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage", 0)
        name = spec.get("storageClassName")
        usage["requests.storage"] = quantity(asked)
        if name:
            prefix = f"{name}.storageclass.storage.k8s.io/"
            usage |= {f"{prefix}requests.storage": quantity(asked)}
            usage |= {f"{prefix}persistentvolumeclaims": Decimal(1)}
    elif resource.qualified == "services":
        kind = obj["spec"].get("type")
        if kind == "LoadBalancer":
            usage["services.loadbalancers"] = Decimal(1)
        if kind in ("NodePort", "LoadBalancer"):
            usage["services.nodeports"] = Decimal(len(obj["spec"].get("ports") or ()))
    return usage


def used(state: State, namespace: str, quota: Json) -> Usage:
    """Return what a namespace uses now of all that a quota limits."""
    hard = quota["spec"].get("hard") or {}
    usage = dict.fromkeys(hard, Decimal(0))
    for resource in state.resources.stored():
        if not resource.namespaced or not _concerns(resource, hard):
            continue
        for obj in state.store.all(resource.qualified, namespace):
            if _is_in_scope(quota, resource, obj):
                for name, amount in usage_of(resource, obj).items():
                    if name in usage:
                        usage[name] += amount
    return usage


def _concerns(resource: Resource, hard: Iterable[str]) -> bool:
    if resource.qualified in ("pods", "persistentvolumeclaims", "services"):
        return True
    return resource.plural in hard or f"count/{resource.qualified}" in hard


def check(state: State, resource: Resource, new: Json, old: Json | None) -> None:
    """Raise 403 if an object takes more than a quota of its namespace has left."""
    namespace, name = new["metadata"]["namespace"], new["metadata"]["name"]
    for quota in state.store.all(QUOTAS, namespace):
        if not _is_in_scope(quota, resource, new):
            continue
        hard = quota["spec"].get("hard") or {}
        if resource.qualified == "pods" and old is None:
            _check_asks(quota, hard, new)
        before = usage_of(resource, old) if old else {}
        wanted = {
            key: amount - before.get(key, Decimal(0))
            for key, amount in usage_of(resource, new).items()
            if key in hard
        }
        usage = used(state, namespace, quota)
        over = [
            key
            for key, amount in wanted.items()
            if amount > 0 and usage[key] + amount > quantity(hard[key])
        ]
        if over:
            why = (
                f"exceeded quota: {quota['metadata']['name']},"
                f" requested: {_told(wanted, over)}, used: {_told(usage, over)},"
                f" limited: {','.join(f'{key}={hard[key]}' for key in over)}"
            )
            raise forbidden(resource.qualified, name, why)


def _told(usage: Usage, keys: list[str]) -> str:
    return ",".join(f"{key}={written(usage[key], key)}" for key in keys)


def _check_asks(quota: Json, hard: Json, pod: Json) -> None:
    """Refuse a pod that does not say how much it wants of what is limited."""
    missing = []
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        for key in hard:
            field, _, name = key.rpartition(".")
            field, name = (field, name) if field in ("requests", "limits") else ("requests", key)
            if name in COMPUTE and name not in (resources.get(field) or {}):
                missing.append(f"{key} for: {container['name']}")
    if missing:
        why = f"failed quota: {quota['metadata']['name']}: must specify {'; '.join(missing)}"
        raise forbidden("pods", pod["metadata"]["name"], why)


def status_of(state: State, namespace: str, quota: Json) -> Json:
    """Return the status of a quota: its limits and what is used of them."""
    hard = quota["spec"].get("hard") or {}
    usage = used(state, namespace, quota)
    return {"hard": hard, "used": {key: written(amount, key) for key, amount in usage.items()}}


def check_scopes(quota: Json) -> None:
    """Raise 501 for a scope that :func:`check` would not honour."""
    scopes = list(quota["spec"].get("scopes") or ())
    expressions = (quota["spec"].get("scopeSelector") or {}).get("matchExpressions") or ()
    scopes += [one["scopeName"] for one in expressions if one["scopeName"] != "PriorityClass"]
    if scopes:
        raise not_implemented(f"The scope {scopes[0]} of a ResourceQuota")


def _is_in_scope(quota: Json, resource: Resource, obj: Json) -> bool:
    expressions = (quota["spec"].get("scopeSelector") or {}).get("matchExpressions") or ()
    if not expressions:
        return True
    if resource.qualified != "pods":
        return False
    priority = obj["spec"].get("priorityClassName", "")
    return all(_selects(one, priority) for one in expressions)


def _selects(expression: Json, priority: str) -> bool:
    values = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return priority in values
        case "NotIn":
            return priority not in values
        case "Exists":
            return bool(priority)
        case _:
            return not priority
