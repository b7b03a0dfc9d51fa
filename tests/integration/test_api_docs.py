"""The examples of docs/api.md, each run as it is written; and its OpenAPI document, fuzzed."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    ignored_auth,
    negative_data_rejection,
    positive_data_acceptance,
)

from tests.hub import REPOSITORY, RunningHub

API = "/services/api"
EXAMPLES = re.findall(
    r"^```(\w*)\n(.*?)^```$",
    (REPOSITORY / "docs" / "api.md").read_text("utf-8").partition("\n## Calls")[0],
    re.DOTALL | re.MULTILINE,
)
BEYOND = [ignored_auth, positive_data_acceptance, negative_data_rejection]
"""
What the document cannot say: which files, runs and sandboxes there are, and unknown fields.

Tokens are tested in ``test_api_service``; here each request has one.
"""

_SAYS = [
    'event: done\ndata: {"reason": "stop"}',
    '{"output_type": "execute_result", "data": {"text/plain": "42"}',
    "Lisbon town,rain\\nLisbon,1",
    "still here",
    "1\n2 rain.csv",
]


@pytest.fixture(scope="module")
def token(hub: RunningHub) -> str:
    return hub.login("dora").token()


def test_the_page_begins_with_what_is_tested() -> None:
    setting, *examples = EXAMPLES
    assert setting == ("", "export HUB=http://127.0.0.1:8000\nexport TOKEN=...\n")
    assert len(examples) == len(_SAYS)


@pytest.mark.parametrize("number", range(len(_SAYS)))
def test_an_example_says_what_it_should(
    hub: RunningHub, token: str, tmp_path: Path, number: int
) -> None:
    kind, text = EXAMPLES[number + 1]
    command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-euc", text]
    environment = {**os.environ, "HUB": hub.url, "TOKEN": token, "SSL_CERT_FILE": certifi.where()}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert _SAYS[number] in done.stdout


def check_operation(operation: Any, mode: GenerationMode, token: str) -> None:
    """Send requests that fit the document, or that do not; look at each answer."""

    @settings(
        max_examples=3, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        if (case.method, case.path) == ("POST", "/sandboxes") and isinstance(case.body, dict):
            # Thousands of sandboxes are not what is tested: none with this profile starts.
            case.body["profile"] = "none"
        answer = case.call(headers={"X-API-Key": token}, timeout=60)
        assert answer.status_code not in (500, 501), answer.text
        if answer.status_code in (400, 414, 431) and not answer.content:
            return  # the proxy's answer to an address or a header that is too long
        case.validate_response(answer, excluded_checks=BEYOND)

    check()


def test_no_request_of_any_shape_fails_inside_or_hangs(hub: RunningHub, token: str) -> None:
    headers = {"X-API-Key": token}
    execute = f"{hub.url}{API}/sandboxes/home/execute"  # starts the server that all calls need
    assert httpx.post(execute, json={"code": "1"}, headers=headers, timeout=180).is_success
    document: Any = schemathesis.openapi.from_url(f"{hub.url}{API}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    assert len(operations) == 17
    for operation in operations:
        for mode in GenerationMode:
            check_operation(operation, mode, token)
