"""The prompt in real tokens, by the tokenizer that LiteLLM, which the tests install, brings."""

import json
import subprocess

from tests.other_servers import PREFIX
from tests.unit.test_prompt_size import MOST, longest_parts

COUNT = """
import json, os, sys
from pathlib import Path
from importlib.util import find_spec
package = Path(find_spec("litellm").origin).parent
os.environ["TIKTOKEN_CACHE_DIR"] = str(package / "litellm_core_utils/tokenizers")
import tiktoken
encoding = tiktoken.get_encoding("cl100k_base")
print(sum(len(encoding.encode(text)) for text in json.load(sys.stdin)))
"""


def test_the_prompt_with_all_tools_has_fewer_tokens_than_the_estimate_says() -> None:
    parts = longest_parts()
    counted = subprocess.run(
        [PREFIX / "litellm/bin/python", "-c", COUNT],
        input=json.dumps(parts),
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0 < int(counted.stdout) <= sum(map(len, parts)) / 4 < MOST
