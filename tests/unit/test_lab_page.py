"""Which extensions JupyterLab's page loads, and which files a browser keeps."""

from typing import Any

from caesarion import lab_page

CHAT, DIFF = {"name": "jupyterlab-chat-extension"}, {"name": "jupyterlab-diff"}


def page(disabled: list[str]) -> Any:
    """Return what is left of the page of a server with these two extensions."""
    settings: dict[str, Any] = {
        "base_url": "/",
        "page_config_hook": lambda handler, page: {**page, "hubUser": handler},
    }
    lab_page.install(settings)
    shared = {"federated_extensions": [CHAT, DIFF], "disabledExtensions": disabled}
    answer = settings["page_config_hook"]("ada", shared)
    assert answer.pop("hubUser") == "ada"
    assert shared["federated_extensions"] == [CHAT, DIFF]
    return answer["federated_extensions"]


def test_an_unused_extension_is_loaded_only_if_it_was_enabled() -> None:
    assert page(["jupyterlab-diff"]) == [CHAT]
    assert page([]) == [CHAT, DIFF]


def test_another_extension_is_loaded_also_if_it_is_disabled() -> None:
    # Others import its modules.
    assert page(["jupyterlab-chat-extension"]) == [CHAT, DIFF]


def test_files_are_kept_below_the_servers_own_address() -> None:
    settings: dict[str, Any] = {
        "base_url": "/user/ada/",
        "static_immutable_cache": ["/user/ada/static/lab/", "/lab/extensions/one/static"],
    }
    lab_page.install(settings)
    assert "/user/ada/lab/extensions/one/static" in settings["static_immutable_cache"]
    assert "/user/ada/static/lab/" in settings["static_immutable_cache"]
