"""The example for a collector of logs takes apart what the proxy really writes."""

import json
import re

import yaml
from caesarion_hub import logs

from tests.helm import EXAMPLES

ALLOY = yaml.safe_load((EXAMPLES / "beside/alloy.yaml").read_text("utf-8"))["alloy"]
PIPELINE: str = ALLOY["configMap"]["content"]

# configurable-http-proxy 5 on a terminal, and in a pod after Alloy's stage "decolorize".
PROXY_LINE = '2026-11-30T17:29:25.386Z [ConfigProxy] warn: No route for /x "y"'


def setting(name: str) -> str:
    """Return a text of the pipeline, which is quoted as in JSON."""
    found = re.search(rf'^\s*{name}\s*= (".*")$', PIPELINE, re.MULTILINE)
    assert found
    return str(json.loads(found[1]))


def test_a_line_of_the_proxy_gets_the_shape_of_the_others() -> None:
    found = re.fullmatch(setting("expression"), PROXY_LINE)
    assert found
    line = setting("template")
    for name, value in found.groupdict().items():
        line = line.replace(f"{{{{ .{name} | toJson }}}}", json.dumps(value))
        line = line.replace(f"{{{{ ToUpper .{name} }}}}", value.upper())
        line = line.replace(f"{{{{ .{name} }}}}", value)
    assert json.loads(line) == {
        "time": "2026-11-30T17:29:25.386Z",
        "level": "WARN",
        "component": "proxy",
        "logger": "ConfigProxy",
        "message": 'No route for /x "y"',
    }
    shape = logs.config("hub")["formatters"]["json"]
    ours = {shape["timestamp"], *shape["static_fields"], *shape["rename_fields"].values()}
    assert json.loads(line).keys() <= ours | {"message"}


def test_the_pipeline_is_whole() -> None:
    text = re.sub(r'"(?:[^"\\]|\\.)*"|//.*', "", PIPELINE)
    assert text.count("{") == text.count("}")
    defined = set(re.findall(r'^(\w[\w.]+) "(\w+)" \{', PIPELINE, re.MULTILINE))
    used = re.findall(r"\b((?:loki|otelcol|discovery)\.\w+(?:\.\w+)?)\.(\w+)\.\w+\b", text)
    assert used
    assert set(used) <= defined
    assert {port["port"] for port in ALLOY["extraPorts"]} == {4318}
