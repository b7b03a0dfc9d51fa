"""
JupyterLab's page: it loads no extension of no use here, browsers keep the files of the others,
and it does not wait until the schemas of all settings are checked.

Called by :mod:`caesarion.extension`, whose labextension disables the same extensions.
"""

from collections.abc import Callable, MutableMapping
from typing import Any

from jsonschema import Draft7Validator, validators
from jupyter_server.utils import url_path_join
from jupyterlab_server import settings_utils

Page = dict[str, Any]
Hook = Callable[[Any, Page], Page]

UNUSED = frozenset(
    {
        "@jupyter-ai-contrib/live-content",
        "@jupyter-ai/acp-client",
        "@jupyter-ai/router",
        "jupyterlab-ai-commands",
        "jupyterlab-cell-input-footer-extension",
        "jupyterlab-commands-toolkit",
        "jupyterlab-diff",
    }
)
"""What jupyter-ai brings for agents that are none of ours, and for features that are off."""


def install(settings: MutableMapping[str, Any]) -> None:
    """Shape the pages of the server with these settings, once all its extensions are there."""
    settings["page_config_hook"] = _leaving_out(settings.get("page_config_hook"))
    settings["static_immutable_cache"] = _with_base(
        settings["base_url"], settings.get("static_immutable_cache", [])
    )
    # jupyterlab_server 2.28 checks each schema for each page, which is four fifths of the time of
    # a request that all of the page waits for. They are those of installed packages. What users
    # set is checked against them as before.
    trusting = validators.extend(Draft7Validator)  # type: ignore[no-untyped-call]
    trusting.check_schema = lambda schema: None
    settings_utils.Validator = trusting  # type: ignore[attr-defined]


def _leaving_out(hook: Hook | None) -> Hook:
    """
    Return a hook that drops unused extensions from the page, unless a user has enabled them.

    JupyterLab 4.6 fetches and runs every labextension that is installed, and only then skips
    the plugins that are disabled: these were a quarter of the page's requests.
    """

    def leave_out(handler: Any, page: Page) -> Page:
        page = hook(handler, page) if hook else page
        dropped = UNUSED.intersection(page["disabledExtensions"])
        loaded = [one for one in page["federated_extensions"] if one["name"] not in dropped]
        return {**page, "federated_extensions": loaded}

    return leave_out


def _with_base(base_url: str, kept: list[str]) -> list[str]:
    """
    Return the paths whose files browsers keep, also as they are below the server's base URL.

    The names of those files change with their content. jupyterlab_server 2.28 lists those of
    labextensions without the base URL: below a hub a page that is loaded again would ask for
    each of them whether it has changed.
    """
    return [*kept, *(url_path_join(base_url, path) for path in kept)]
