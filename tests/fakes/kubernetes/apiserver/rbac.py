"""
Role-based access control, really evaluated: may this user do that?

``handlers`` asks for every request, ``reviews`` on behalf of ``kubectl auth
can-i``, ``admission`` before somebody gives away more than they have. Reads
the roles and bindings in the store, changes nothing. See
https://kubernetes.io/docs/reference/access-authn-authz/rbac/.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tests.fakes.kubernetes.apiserver.calls import Call, User
from tests.fakes.kubernetes.apiserver.errors import ApiError, forbidden
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.store import Store

GROUP = "rbac.authorization.k8s.io"
ROLES = f"roles.{GROUP}"
CLUSTER_ROLES = f"clusterroles.{GROUP}"
MASTERS = "system:masters"


@dataclass(frozen=True)
class Access:
    """
    What somebody wants to do: a verb on a resource, or on a ``path`` that is none.

    ``resource`` has its subresource: ``pods/log``.
    """

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""


def access_of(call: Call) -> Access:
    """Return what a call needs; a list by ``metadata.name`` may be allowed by that name."""
    name = call.name or call.selection.name
    resource = call.resource
    # A Role may name the namespace that it is in.
    namespace = call.name if resource.qualified == "namespaces" else call.namespace
    return Access(call.verb, resource.group, call.asked, namespace, name)


def is_allowed(store: Store, user: User, access: Access) -> bool:
    """Tell whether any role that a user has allows something."""
    if MASTERS in user.groups:
        return True
    return any(rule_allows(rule, access) for rule in rules_of(store, user, access.namespace))


def authorize(store: Store, user: User, access: Access) -> None:
    """Raise 403 in the real server's words, which name user, verb, resource and scope."""
    if is_allowed(store, user, access):
        return
    if access.path:
        message = f'forbidden: User "{user.name}" cannot {access.verb} path "{access.path}"'
        raise ApiError(403, message)
    scope = f'in the namespace "{access.namespace}"' if access.namespace else "at the cluster scope"
    plural = access.resource.partition("/")[0]
    raise forbidden(
        f"{plural}.{access.group}" if access.group else plural,
        access.name,
        f'User "{user.name}" cannot {access.verb} resource "{access.resource}"'
        f' in API group "{access.group}" {scope}',
    )


def rules_of(store: Store, user: User, namespace: str) -> Iterator[Json]:
    """Yield the rules that bind a user in a namespace, the cluster's among them."""
    for binding in store.all(f"clusterrolebindings.{GROUP}"):
        if _is_subject(binding, user):
            yield from _role_rules(store, binding["roleRef"], "")
    if namespace:
        for binding in store.all(f"rolebindings.{GROUP}", namespace):
            if _is_subject(binding, user):
                yield from _role_rules(store, binding["roleRef"], namespace)


def _role_rules(store: Store, reference: Json, namespace: str) -> list[Json]:
    if reference["kind"] == "Role":
        role = store.get(ROLES, namespace, reference["name"])
    else:
        role = store.get(CLUSTER_ROLES, "", reference["name"])
    return (role or {}).get("rules") or []


def _is_subject(binding: Json, user: User) -> bool:
    return any(_is(subject, binding, user) for subject in binding.get("subjects") or ())


def _is(subject: Json, binding: Json, user: User) -> bool:
    match subject["kind"]:
        case "User":
            return bool(subject["name"] == user.name)
        case "Group":
            return subject["name"] in user.groups
        case _:
            namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
            return user.name == f"system:serviceaccount:{namespace}:{subject['name']}"


def rule_allows(rule: Json, access: Access) -> bool:
    """Tell whether a PolicyRule allows something."""
    if not _has(rule, "verbs", access.verb):
        return False
    if access.path:
        return any(_matches(url, access.path) for url in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames") or ()
    return (
        _has(rule, "apiGroups", access.group)
        and _has_resource(rule, access.resource)
        and (not names or access.name in names)
    )


def _has(rule: Json, field: str, value: str) -> bool:
    values = rule.get(field) or ()
    return value in values or "*" in values


def _has_resource(rule: Json, resource: str) -> bool:
    _, slash, subresource = resource.partition("/")
    wildcards = ["*", f"*/{subresource}"] if slash else ["*"]
    return any(one in (rule.get("resources") or ()) for one in (resource, *wildcards))


def _matches(url: str, path: str) -> bool:
    return path.startswith(url[:-1]) if url.endswith("*") else path == url


def check_escalation(store: Store, call: Call, obj: Json) -> None:
    """Raise 403 if somebody writes a role, or binds one, that may more than they may."""
    if MASTERS in call.user.groups or call.resource.group != GROUP:
        return
    namespace = call.namespace
    if "roleRef" in obj:
        wanted, verb = _role_rules(store, obj["roleRef"], namespace), "bind"
        plural, name = f"{obj['roleRef']['kind'].lower()}s", obj["roleRef"]["name"]
    else:
        wanted, verb = obj.get("rules") or [], "escalate"
        plural, name = call.resource.plural, obj["metadata"]["name"]
    if is_allowed(store, call.user, Access(verb, GROUP, plural, namespace, name)):
        return
    held = list(rules_of(store, call.user, namespace))
    for access in (access for rule in wanted for access in _accesses(rule, namespace)):
        if not any(rule_allows(rule, access) for rule in held):
            why = (
                f'user "{call.user.name}" is attempting to grant RBAC permissions not currently'
                f" held: {access.verb} {access.resource or access.path}"
            )
            raise forbidden(call.resource.qualified, obj["metadata"]["name"], why)


def _accesses(rule: Json, namespace: str) -> Iterator[Access]:
    """Yield all that a rule allows, one by one; "*" stands for itself."""
    for verb in rule["verbs"]:
        for url in rule.get("nonResourceURLs") or ():
            yield Access(verb, path=url)
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                for name in rule.get("resourceNames") or [""]:
                    yield Access(verb, group, resource, namespace, name)
