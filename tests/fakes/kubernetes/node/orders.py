"""
From a container's spec and its image to the order that ``containers`` carries out.

Called by ``lifecycle`` at every start. Here the security context is applied:
the user, the groups, the capabilities and the read-only root.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.node import roots
from tests.fakes.kubernetes.node.containers import DOCKERS, Order, User
from tests.fakes.kubernetes.node.environment import (
    ConfigError,
    expand,
    make_environment,
    on_own_address,
)
from tests.fakes.kubernetes.node.images import Image
from tests.fakes.kubernetes.node.objects import Objects
from tests.fakes.kubernetes.node.place import Place


async def make(place: Place, container: Json, root: Path) -> Order:
    """
    Return the order for a container whose root is to be at ``root``.

    Raises :class:`ConfigError` if it cannot be made.
    """
    pod, image = place.pod, place.registry.find(container["image"])
    objects = Objects(place.node.api, pod["metadata"]["namespace"])
    services = place.node.cache.all("services")
    given = await make_environment(container, pod, services, objects.find)
    argv = make_argv(container, image, given)
    if not argv:
        raise ConfigError("no command specified")
    user = make_user(pod, container, image)
    hostname = pod["spec"].get("hostname", pod["metadata"]["name"])[:63]
    environment = {
        "PATH": roots.default_path(image),
        "HOME": roots.home_of(image, user.uid),
        "HOSTNAME": hostname,
        **image.environment,
        **given,
    }
    mounts = list(make_mounts(container, place.volumes))
    return Order(
        argv=[on_own_address(word, place.address) for word in argv],
        env={name: on_own_address(text, place.address) for name, text in environment.items()},
        cwd=container.get("workingDir") or image.folder,
        hostname=hostname,
        user=user,
        mounts=[
            *roots.make_root(image, root, place.node.local),
            roots.bind(place.hosts, "/etc/hosts", read_only=True),
            {"kind": "file", "target": "/etc/resolv.conf", "content": "search svc.cluster.local\n"},
            {"kind": "file", "target": "/etc/hostname", "content": f"{hostname}\n"},
            *mounts,
            *roots.make_visible(image, [mount["target"] for mount in mounts]),
        ],
        read_only=bool(_security(container).get("readOnlyRootFilesystem")),
        forked=image.forked,
    )


def make_argv(container: Json, image: Image, variables: dict[str, str]) -> list[str]:
    """Return the command line: a command of the pod's own does without the image's arguments."""
    command, arguments = container.get("command"), container.get("args")
    words = list(command or image.entrypoint)
    words += arguments or ([] if command else image.command)
    return [expand(word, variables) for word in words]


def make_user(pod: Json, container: Json, image: Image) -> User:
    """Return who runs a container; raises :class:`ConfigError` if that may not be root."""
    of_pod, own = _security(pod["spec"]), _security(container)
    both = {**of_pod, **own}
    uid = both.get("runAsUser", image.uid)
    if both.get("runAsNonRoot") and uid == 0:
        raise ConfigError("container has runAsNonRoot and image will run as root")
    gid = both.get("runAsGroup", image.gid)
    groups = {*of_pod.get("supplementalGroups", []), of_pod.get("fsGroup", gid), gid}
    dropped = (own.get("capabilities") or {}).get("drop") or []
    return User(
        uid=uid,
        gid=gid,
        groups=tuple(sorted(groups)),
        capabilities=() if "ALL" in dropped else DOCKERS,
        no_new_privileges=own.get("allowPrivilegeEscalation") is False,
    )


def make_mounts(container: Json, volumes: Mapping[str, Path]) -> Iterator[Json]:
    """Yield the container's volumes, outer folders before those inside them."""
    mounts = container.get("volumeMounts") or []
    for mount in sorted(mounts, key=lambda mount: mount["mountPath"].count("/")):
        source = volumes[mount["name"]]
        if inner := mount.get("subPath"):
            source = source / inner
            if not source.exists():
                source.mkdir(parents=True)
                _inherit(source, volumes[mount["name"]])
        yield roots.bind(source, mount["mountPath"], mount.get("readOnly", False))


def _inherit(folder: Path, volume: Path) -> None:
    """Give a new folder in a volume to those whom the volume belongs to."""
    owner = volume.stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    folder.chmod(owner.st_mode & 0o7777)


def _security(spec: Json) -> Json:
    return spec.get("securityContext") or {}
