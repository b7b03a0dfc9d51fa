"""
Volumes for claims: a folder of the host for each, in the one storage class there is.

Called by ``controllers.__main__``. A claim of another class stays pending, as
it would where nobody provisions for it.
"""

import shutil
from pathlib import Path

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.controllers.world import World, leaves
from tests.fakes.kubernetes.node.volumes import DRIVER

CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": "standard",
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": DRIVER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}
"""To be created with the cluster: claims that come before their class get none."""


async def reconcile(world: World) -> None:
    """Make volumes for claims that wait, and remove those whose claim is gone."""
    for claim in world.cache.all("persistentvolumeclaims"):
        if claim.get("status", {}).get("phase", "Pending") == "Pending" and not leaves(claim):
            await _bind(world, claim)
    claims = {one["metadata"]["uid"] for one in world.cache.all("persistentvolumeclaims")}
    for volume in world.cache.all("persistentvolumes"):
        ours = volume["spec"].get("csi", {}).get("driver") == DRIVER
        if ours and volume["spec"]["claimRef"]["uid"] not in claims:
            await world.delete("persistentvolumes", volume)
            shutil.rmtree(_folder(volume), ignore_errors=True)


async def _bind(world: World, claim: Json) -> None:
    name = claim["spec"].get("storageClassName", "")
    found = world.cache.find("storageclasses", None, name)
    if found is None or found["provisioner"] != DRIVER:
        key = f"unprovisioned {claim['metadata']['uid']}"
        if key not in world.memory:
            world.memory[key] = 0
            message = f'storageclass.storage.k8s.io "{name}" not found'
            world.events.warning(claim, "PersistentVolumeClaim", "ProvisioningFailed", message)
        return
    volume = make_volume(claim, world.folder)
    _folder(volume).mkdir(parents=True, exist_ok=True)
    if not world.cache.find("persistentvolumes", None, volume["metadata"]["name"]):
        made = await world.create("persistentvolumes", volume)
        await world.set_status("persistentvolumes", made, {"phase": "Bound"})
    bound = await world.merge(
        "persistentvolumeclaims",
        claim,
        {
            "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": volume["metadata"]["name"]},
        },
    )
    status = {
        "phase": "Bound",
        "accessModes": claim["spec"]["accessModes"],
        "capacity": claim["spec"]["resources"]["requests"],
    }
    await world.set_status("persistentvolumeclaims", bound, status)
    message = f"Successfully provisioned volume {volume['metadata']['name']}"
    world.events.normal(claim, "PersistentVolumeClaim", "ProvisioningSucceeded", message)


def _folder(volume: Json) -> Path:
    return Path(volume["spec"]["csi"]["volumeHandle"])


def make_volume(claim: Json, folder: Path) -> Json:
    """Return the volume for a claim."""
    metadata = claim["metadata"]
    name = f"pvc-{metadata['uid']}"
    keys = ("name", "namespace", "uid")
    reference = {"kind": "PersistentVolumeClaim", "apiVersion": "v1"}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": claim["spec"]["resources"]["requests"],
            "accessModes": claim["spec"]["accessModes"],
            "storageClassName": claim["spec"]["storageClassName"],
            "persistentVolumeReclaimPolicy": "Delete",
            "claimRef": reference | {key: metadata[key] for key in keys},
            "csi": {"driver": DRIVER, "volumeHandle": str(folder / name)},
        },
    }
