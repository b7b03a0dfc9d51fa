"""The walk: helm installs the chart, somebody logs in, a pod starts, the chat's code runs in it."""

from tests.chat import bundle, open_chat
from tests.cluster.harness import Installation

LOOK = (
    "import os; server = f'/proc/{os.getppid()}/'; "
    "print(os.uname().nodename, os.getuid(), 'singleuser' in open(server + 'cmdline').read(), "
    "[name for name in ('environ', 'mem', 'fd') if os.access(server + name, os.R_OK)])"
)


async def test_the_chat_runs_code_in_the_kernel_of_the_users_own_pod(
    caesarion: Installation,
) -> None:
    ada = caesarion.login("ada")
    assert ada.start_server() == "/user/ada/"
    pod = caesarion.pod_of("ada")
    assert pod
    async with open_chat(caesarion.server_of(ada), "chats/first.chat") as chat:
        answer = await chat.ask(f"run `{LOOK}`", 90)
    printed = [message["body"] for message in answer] + [
        bundle(message).get("text/plain", "") for message in answer if message.get("mime_model")
    ]
    # The server's memory, environment and files are closed to its kernels.
    expected = f"{pod['metadata']['name']} 1000 True []"
    assert any(expected in text for text in printed), answer
