"""Six people at once: they log in, run code in a chat, leave, and their servers are culled."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.chat import Chat, Json, bundle, open_chat
from tests.cluster.harness import AnyCluster, Installation, eventually
from tests.hub import Session

pytestmark = pytest.mark.usefixtures("forked_pods")

NAMESPACE = "caesarion-many"
PEOPLE = [f"many-{number}" for number in range(6)]

AT_ONCE: Json = {"cull": {"timeout": 1, "every": 15}}
"""
A culler that nobody outlives, with time for its work: JupyterHub answers 500 if it is asked
to stop a server that it is just stopping.
"""


@pytest.fixture(scope="module")
def crowded(cluster: AnyCluster) -> Iterator[Installation]:
    """An installation whose servers may be culled: nobody else's are on it."""
    with Installation.installed(cluster, NAMESPACE) as caesarion:
        yield caesarion


def start(caesarion: Installation) -> list[Session]:
    """Log everybody in and start their servers, all at the same time."""
    password = caesarion.key("user_password")

    def come(user: str) -> Session:
        session = caesarion.login(user, password)
        assert session.start_server() == f"/user/{user}/"
        return session

    with ThreadPoolExecutor(len(PEOPLE)) as threads:
        return list(threads.map(come, PEOPLE))


@asynccontextmanager
async def open_chats(caesarion: Installation, people: list[Session]) -> AsyncIterator[list[Chat]]:
    """Open a chat for each; they have one name, since each is in a home of its own."""
    async with AsyncExitStack() as closing:
        entered = [
            closing.enter_async_context(open_chat(caesarion.server_of(session), "a.chat"))
            for session in people
        ]
        yield await asyncio.gather(*entered)


async def ask(chats: Sequence[Chat], questions: Sequence[str]) -> list[str]:
    """Ask each chat its question, all at the same time; return what is read in each answer."""
    asked = [chat.ask(text, 120) for chat, text in zip(chats, questions, strict=True)]
    return [read(answer) for answer in await asyncio.gather(*asked)]


def read(answer: list[Json]) -> str:
    return "\n".join(
        bundle(message).get("text/plain", "") if message.get("mime_model") else message["body"]
        for message in answer
    )


def errors(log: str) -> list[str]:
    """Return the lines of the hub's log that an operator would have to look at."""
    # Ours are JSON; the culler, which logs there, too, writes text.
    signs = ('"level": "ERROR"', '"level": "CRITICAL"', "[E ", "[C ", "Traceback")
    return [line for line in log.splitlines() if any(sign in line for sign in signs)]


async def test_six_at_once_each_have_a_pod_and_a_kernel_of_their_own_until_it_is_culled(
    crowded: Installation,
) -> None:
    people = start(crowded)
    pods = {
        pod["metadata"]["annotations"]["hub.jupyter.org/username"]: pod["metadata"]["name"]
        for pod in crowded.pods("singleuser-server")
    }
    assert sorted(pods) == sorted(PEOPLE)
    async with open_chats(crowded, people) as chats:
        # All have set theirs before the first is asked for it.
        await ask(chats, [f"run `number = {number}`" for number in range(len(PEOPLE))])
        question = "run `import os; print(os.uname().nodename, number)`"
        told = await ask(chats, [question] * len(PEOPLE))
    for number, (user, text) in enumerate(zip(PEOPLE, told, strict=True)):
        assert f"{pods[user]} {number}\n" in text
    assert errors(crowded.log_of("hub")) == []

    # The next hub finds them all at work, and has a culler that lets nobody be.
    crowded.upgrade(values=(AT_ONCE,))
    eventually(lambda: crowded.pods("singleuser-server") == [], 180)
    for session in people:
        assert session.get(f"/hub/api/users/{session.user}").json()["servers"] == {}
    log = crowded.log_of("hub")
    assert [user for user in PEOPLE if f"Culling server {user} " not in log] == []
    assert errors(log) == []
    assert [each for each in crowded.cluster.denials() if NAMESPACE in each["user"]] == []
