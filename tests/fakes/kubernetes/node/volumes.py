"""
A pod's volumes, as folders of the host that ``sandbox`` binds into containers.

Called by ``pods``. A volume is made when its pod starts and stays as it is: a
real kubelet carries later changes of Secrets and ConfigMaps into running pods
within minutes, this one does not.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.node.environment import field_of, on_own_address
from tests.fakes.kubernetes.node.objects import Objects

KINDS = ("configMap", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret")
DRIVER = "folders.fake.caesarion.org"
"""The CSI driver whose volumes are folders of the host: see ``controllers.volumes``."""


class MountError(Exception):
    """A volume cannot be made now; the message is a kubelet's, after its volume's name."""


async def make_volume(volume: Json, pod: Json, objects: Objects, folder: Path) -> Path:
    """Return the folder of a volume, made in ``folder`` if it is the pod's own."""
    kind = next((kind for kind in KINDS if kind in volume), None)
    if kind is None:
        known = ", ".join(KINDS)
        raise MountError(f"the fake node knows no such volume, only {known}")
    source, group = volume[kind] or {}, _security(pod).get("fsGroup")
    if kind == "hostPath":
        return Path(source["path"])
    if kind == "persistentVolumeClaim":
        return _own(await _claimed(source["claimName"], objects), group)
    texts = {} if kind == "emptyDir" else await _texts(kind, source, pod, objects)
    _write(folder, texts, source.get("defaultMode", 0o644), group, _security(pod))
    return _own(folder, group)


async def _claimed(name: str, objects: Objects) -> Path:
    claim = await objects.get("persistentvolumeclaims", name)
    if claim is None or claim.get("status", {}).get("phase") != "Bound":
        raise MountError(f'PersistentVolumeClaim "{name}" is not bound')
    volume = await objects.get("persistentvolumes", claim["spec"]["volumeName"], namespaced=False)
    if volume is None:
        raise MountError(f'persistentvolume "{claim["spec"]["volumeName"]}" not found')
    source = volume["spec"].get("csi", {})
    if source.get("driver") != DRIVER:
        raise MountError(f"the fake node knows volumes of the driver {DRIVER} only")
    return Path(source["volumeHandle"])


async def _texts(kind: str, source: Json, pod: Json, objects: Objects) -> Mapping[str, bytes]:
    """Return what the files of a volume hold, by path."""
    if kind == "projected":
        texts: dict[str, bytes] = {}
        for part in source.get("sources") or []:
            texts |= await _projected(part, pod, objects)
        return texts
    plural, key = ("secrets", "secretName") if kind == "secret" else ("configmaps", "name")
    texts = dict(await _items(plural, source[key], source, objects))
    address = pod["status"]["podIP"]
    for path, text in texts.items():  # see on_own_address for why
        if b"//0.0.0.0:" in text:
            texts[path] = on_own_address(text.decode(), address).encode()
    return texts


async def _projected(part: Json, pod: Json, objects: Objects) -> Mapping[str, bytes]:
    if "serviceAccountToken" in part:
        wanted = part["serviceAccountToken"]
        account = pod["spec"].get("serviceAccountName", "default")
        token = await objects.token(account, wanted.get("audience"), pod)
        return {wanted["path"]: token.encode()}
    if "downwardAPI" in part:
        return {
            item["path"]: field_of(pod, item["fieldRef"]["fieldPath"]).encode()
            for item in part["downwardAPI"]["items"]
        }
    for key, plural in (("secret", "secrets"), ("configMap", "configmaps")):
        if key in part:
            return await _items(plural, part[key]["name"], part[key], objects)
    raise MountError(f"the fake node cannot project {', '.join(part)}")


async def _items(plural: str, name: str, source: Json, objects: Objects) -> Mapping[str, bytes]:
    held = await objects.find(plural, name)
    if held is None:
        if source.get("optional"):
            return {}
        raise MountError(f'{plural.removesuffix("s")} "{name}" not found')
    if not source.get("items"):
        return held
    try:
        return {item["path"]: held[item["key"]] for item in source["items"]}
    except KeyError as error:
        raise MountError(f"references non-existent secret key: {error.args[0]}") from error


def _write(
    folder: Path, texts: Mapping[str, bytes], mode: int, group: int | None, security: Json
) -> None:
    """Make a volume's folder; without a group its files are the pod's user's, who reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755 if texts else 0o777)
    for path, text in texts.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)
        file.chmod(mode | (0o440 if group is not None else 0))
        os.chown(file, 0 if group is not None else security.get("runAsUser", 0), group or 0)


def _own(folder: Path, group: int | None) -> Path:
    """Give a volume to the pod's group, as ``fsGroup`` says."""
    if group is not None and folder.stat().st_gid != group:
        for path in (folder, *folder.rglob("*")):
            if path.is_symlink():
                continue
            os.chown(path, -1, group)
            more = 0o2070 if path.is_dir() else 0o060
            path.chmod(stat.S_IMODE(path.stat().st_mode) | more)
    return folder


def _security(pod: Json) -> Json:
    return pod["spec"].get("securityContext") or {}
