"""
Makes the pods of two users who do not exist, from which a warm pod's template is taken.

Called by ``claiming``. They are real spawners with the hub's configuration, and differ in all that
users differ in: name, number, name of the server. Nothing about them is saved. The operator's hooks
are not called for them: a hook that changes a pod makes its start a cold one.
"""

from typing import Any

from jupyterhub import orm
from jupyterhub.user import User
from jupyterhub.utils import url_path_join

from caesarion_hub.pods.api import serialized
from caesarion_hub.pods.warm.template import ColdStartError, Json, NoTemplateError, Template
from caesarion_hub.sandboxes import PREFIX

SERVERS = {"stand-in-1": f"{PREFIX}1a2b3c", "stand-in-22": ""}
"""The users' names, and those of their servers."""


def make_spawners(hub: Any) -> list[Any]:
    """Return a spawner for a sandbox of one user, and one for the server of another."""
    return [
        _make_spawner(hub, -number, name, server)
        for number, (name, server) in enumerate(SERVERS.items(), 1)
    ]


def _make_spawner(hub: Any, number: int, name: str, server_name: str) -> Any:
    owner = orm.User(id=number, name=name)
    for each in {"", server_name}:  # JupyterHub's User saves the server "" unless there is one
        orm.Spawner(name=each, display_name=each, user=owner)
    user = User(owner, hub.users.settings, hub.db)
    spawner = user.spawners[server_name]
    # With what the database would fill in.
    spawner.orm_spawner.server = orm.Server(
        proto="http",
        ip="",
        port=80,
        cookie_name=name,
        base_url=url_path_join(user.base_url, server_name, "/"),
    )
    spawner.api_token = f"the token of {name}"
    spawner.admin_access = hub.users.settings.get("admin_access", False)
    spawner.user_options = {"profile": spawner.warm_profile} if spawner.warm_profile else {}
    return spawner


async def make_template(spawners: list[Any], *, sandboxes: bool) -> Template:
    """
    Return the template of warm pods, whose homes go with them.

    Raises NoTemplateError if pods of users differ in more than a claim can deliver, or if all
    users' servers have volumes and there are no ``sandboxes``.
    """
    pods = []
    for spawner in spawners:
        await spawner.load_user_options()
        with_volume = await _manifest(spawner)
        spawner.drop_volume()
        pods.append(await _manifest(spawner))
    template = Template.of(*pods)
    if not sandboxes:
        try:
            template.identity(with_volume)
        except ColdStartError as difference:
            raise NoTemplateError(
                "every server has a volume, which a running pod cannot be given, and sandboxes "
                "are off"
            ) from difference
    return template


async def _manifest(spawner: Any) -> Json:
    return serialized(await spawner.get_pod_manifest())
