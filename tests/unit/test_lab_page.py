"""Which extensions JupyterLab's page loads, and which files a browser keeps."""

import json
from pathlib import Path
from typing import Any
from unittest import mock

from caesarion import lab_page
from jsonschema import Draft7Validator
from jupyterlab_server.settings_utils import get_settings

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


def test_what_a_user_has_set_is_checked_but_no_schema_is(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}}
    for folder, text in (("schemas", json.dumps(schema)), ("user", '{"size": "large"}')):
        suffix = ".json" if folder == "schemas" else ".jupyterlab-settings"
        file = tmp_path / folder / "one" / f"plugin{suffix}"
        file.parent.mkdir(parents=True)
        file.write_text(text)

    lab_page.install({"base_url": "/"})
    with mock.patch.object(Draft7Validator, "check_schema", side_effect=AssertionError):
        listed, warnings = get_settings(
            "", str(tmp_path / "schemas"), str(tmp_path / "user"), overrides={}
        )

    assert [(one["schema"], one["settings"]) for one in listed["settings"]] == [(schema, {})]
    (warning,) = warnings
    assert "'large' is not of type 'integer'" in warning
