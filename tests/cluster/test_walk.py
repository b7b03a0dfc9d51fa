"""The walk: helm installs the chart, somebody logs in, a pod starts, the chat's code runs in it."""

from tests.chat import bundle, open_chat
from tests.cluster.harness import Installation


async def test_the_chat_runs_code_in_the_kernel_of_the_users_own_pod(
    caesarion: Installation,
) -> None:
    ada = caesarion.login("ada")
    assert ada.start_server() == "/user/ada/"
    pod = caesarion.pod_of("ada")
    assert pod
    async with open_chat(caesarion.server_of(ada), "chats/first.chat") as chat:
        answer = await chat.ask("run `import os; print(os.uname().nodename, os.getuid())`", 90)
    printed = [message["body"] for message in answer] + [
        bundle(message).get("text/plain", "") for message in answer if message.get("mime_model")
    ]
    assert any(f"{pod['metadata']['name']} 1000" in text for text in printed), answer
