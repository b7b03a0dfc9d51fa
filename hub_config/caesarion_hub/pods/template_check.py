"""
What stands in braces in the operator's texts: KubeSpawner puts in what is the user's.

Called by ``configuration``. Pure. KubeSpawner would fail every start over a
text that it cannot read, such as JSON in a variable of the environment.
"""

import json
from collections.abc import Iterator, Mapping
from string import Formatter

USUAL = ("username", "servername", "user_server", "unescaped_username", "userid")
KNOWN = {
    *USUAL,
    *("unescaped_servername", "hubnamespace", "namespace", "pod_name", "pvc_name"),
    *("safe_username", "safe_servername", "safe_user_server"),
    *("escaped_username", "escaped_servername", "escaped_user_server"),
}
"""What ``KubeSpawner._expand_user_properties`` knows."""


def problems(key: str, texts: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each of ``texts`` that KubeSpawner could not read."""
    for name, text in texts.items():
        if not is_readable(text):
            yield (
                f"{key}.{name} is {json.dumps(text, ensure_ascii=False)}; what is in braces must "
                f"be one of {', '.join(USUAL)}. Write {{{{ and }}}} for braces themselves."
            )


def is_readable(text: str) -> bool:
    """Return whether all that is in braces is known."""
    try:
        fields = [field for _, field, _, _ in Formatter().parse(text) if field is not None]
    except ValueError:
        return False
    return KNOWN.issuperset(fields)
