"""A page whose connections to its server come late, as on a busy machine or in a tab behind."""

from contextlib import closing

from playwright.sync_api import WebSocketRoute, expect

from tests.browser.lab import Lab
from tests.fakes.openai_server import OpenAIServer, Text

FIRST_CHAT_SOCKET_FAILS = """
    const { WebSocket } = window;
    let failed = false;
    window.WebSocket = class extends WebSocket {
        constructor(url, ...others) {
            const fails = !failed && url.includes('/api/chat/ws/');
            failed ||= fails;
            super(fails ? url.replace('/api/chat/ws/', '/api/nothing/') : url, ...others);
        }
    };
"""


def test_a_chat_is_answered_however_late_its_connections_come(
    lab: Lab, provider: OpenAIServer
) -> None:
    events: list[WebSocketRoute] = []
    with closing(lab.page.context.new_page()) as page:
        other = Lab(page, lab.hub, "eve")
        page.add_init_script(FIRST_CHAT_SOCKET_FAILS)
        page.route_web_socket("**/api/events/subscribe", lambda socket: events.append(socket))
        page.goto(f"{lab.hub.url}/user/eve/lab/workspaces/late")
        expect(other.side.get_by_text("The server is away.")).to_be_visible()
        expect(other.side.get_by_text("The server is back.")).to_be_visible()
        events[0].connect_to_server()
        other.wait_for_chat()
        provider.add(Text("Here I am."))
        other.ask("are you there?", "Here I am.")
