"""What the extension and the hub share without importing each other: names, held at both ends."""

import re
import sys
import tomllib
from typing import get_args

import pytest
from caesarion import singleuser, warm
from caesarion.agent import prompt
from caesarion.agent.tools import ask_user, notebook, python, run_cell, weather
from caesarion.agent.tools.tool import Tool
from caesarion.chat import context
from caesarion.config import MODES, CaesarionAgent, CaesarionModel, CaesarionUploads
from caesarion.events import ResultStatus
from caesarion_hub import claims, spawner
from caesarion_hub.gateway.api.metrics import OUTCOMES, TOOLS
from caesarion_hub.gateway.api.request import MAX_BODY
from caesarion_hub.gateway.config import from_environment
from caesarion_hub.gateway.upstream.demo.rules import PYTHON, WEATHER, answer
from caesarion_hub.gateway.upstream.demo.turn import Turn, read_turn
from caesarion_hub.values import Mode, Values
from traitlets.config import Config

from tests.hub import REPOSITORY
from tests.values import make_cluster_values, make_values


def values() -> Values:
    return make_values(
        gateway={"model": "some-model"},
        agent={"approval": "ask", "maxApproval": "ask", "backgroundMaxMinutes": 30},
        local={"gatewayPort": 8003},
    )


def test_the_hub_sets_the_variables_that_the_extension_reads() -> None:
    c = Config()
    spawner.configure(c, values())
    environment = c.Spawner.environment
    assert environment[CaesarionModel.variable("name")] == "some-model"
    assert (
        environment[CaesarionModel.variable("base_url")]
        == "http://127.0.0.1:8003/services/gateway/v1"
    )
    assert environment[CaesarionAgent.variable("approval")] == "ask"
    assert environment[CaesarionAgent.variable("max_approval")] == "ask"
    assert environment[CaesarionAgent.variable("program_approvals")] == "false"
    assert environment[CaesarionAgent.variable("background_max_minutes")] == "30"


def test_the_modes_of_approval_are_the_same_for_operators_and_servers() -> None:
    assert get_args(Mode) == MODES


def test_the_hub_runs_a_command_that_a_users_server_has() -> None:
    c = Config()
    spawner.configure(c, values())
    options = ["-s", "-P", "-m", singleuser.__name__]
    assert c.Spawner.cmd == [sys.executable, *options]
    c = Config()
    spawner.configure(c, make_cluster_values())
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    scripts = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-scripts"]
    [command] = c.Spawner.cmd
    [script] = [source for source, name in scripts.items() if name == command]
    assert f'/python3" {" ".join(options)} ' in (REPOSITORY / script).read_text("utf-8")


def test_the_address_given_to_the_extension_is_the_one_the_gateway_listens_on() -> None:
    c = Config()
    spawner.configure(c, values())
    gateway = from_environment(
        {
            "JUPYTERHUB_API_URL": "http://127.0.0.1:8001/hub/api",
            "JUPYTERHUB_SERVICE_NAME": "gateway",
            "JUPYTERHUB_SERVICE_PREFIX": "/services/gateway/",
            "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:8003",
        }
    )
    told = c.Spawner.environment[CaesarionModel.variable("base_url")]
    assert told == f"http://{gateway.host}:{gateway.port}{gateway.prefix}v1"


def test_in_a_cluster_servers_ask_the_gateway_under_the_same_path() -> None:
    c = Config()
    spawner.configure(c, make_cluster_values(hub={"baseUrl": "/lab/"}))
    told = c.Spawner.environment[CaesarionModel.variable("base_url")]
    assert told == "http://caesarion-gateway.hub/lab/services/gateway/v1"
    assert c.Spawner.environment[CaesarionUploads.variable("folder")] == "/uploaded_files"


@pytest.mark.parametrize("made", [values(), make_cluster_values()], ids=["local", "cluster"])
def test_no_variable_of_a_users_server_is_the_providers(made: Values) -> None:
    c = Config()
    spawner.configure(c, made)
    assert [name for name in c.Spawner.environment if name.startswith("OPENAI")] == []


def test_the_demo_model_knows_where_the_users_words_end() -> None:
    for added in ("[Attached: /home/ada/a.csv]", f"{context.MARK}\n| plot(x)"):
        body = {"messages": [{"role": "user", "content": f"plot a\n\n[1, 2]\n\n{added}\n\nmore"}]}
        assert read_turn(body).question == "plot a\n\n[1, 2]"


def test_the_demo_model_knows_what_the_extension_tells_of_attached_files() -> None:
    told = [("/a b.csv", "Table\n\n| more"), ("/c.txt", "")]
    message = prompt.user_message("look\n\nat it", told, ["data:image/png;base64,QQ=="])
    turn = read_turn({"messages": [message]})
    assert turn.question == "look\n\nat it"
    assert turn.attached == (("/a b.csv", ("Table", "", "| more")), ("/c.txt", ()))
    assert turn.images == 1


def test_images_of_the_greatest_size_fit_into_a_request_to_the_gateway() -> None:
    settings = CaesarionModel()
    images = 4 * settings.image_bytes // 3
    history = 4 * CaesarionAgent().history_tokens
    assert images + history < MAX_BODY


def test_the_demo_model_acts_on_every_question_that_an_empty_chat_offers() -> None:
    source = (REPOSITORY / "extension/labextension/src/suggestions.tsx").read_text("utf-8")
    questions = re.findall(r"question: '([^']+)'", source)
    assert len(questions) == 5
    tools: dict[str, frozenset[str]] = {PYTHON: frozenset(), WEATHER: frozenset()}
    for question in questions:
        assert answer(Turn(question, tools=tools)).calls, question


def test_the_metrics_know_every_tool_of_the_agent_and_every_outcome() -> None:
    modules = (ask_user, notebook, python, run_cell, weather)
    classes = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    names = {one.name for one in classes if issubclass(one, Tool) and hasattr(one, "name")}
    assert names == TOOLS
    assert set(get_args(ResultStatus)) == OUTCOMES


def test_a_server_that_waits_and_the_hub_that_claims_it_say_the_same() -> None:
    assert (singleuser.WARM, warm.NONCE_VARIABLE, warm.REFUSED_STATUS) == (
        claims.WARM_ARGUMENT,
        claims.NONCE_VARIABLE,
        claims.REFUSED_STATUS,
    )
