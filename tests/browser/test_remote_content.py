"""Nothing in a chat loads anything by itself: a server that listens gets no request."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.lab import Lab
from tests.browser.test_chat import python
from tests.fakes.openai_server import OpenAIServer, Raw, Text

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c63f8ffff3f0005fe02fea735819c0000000049454e44ae426082"
)


@dataclass
class Listener:
    """A server elsewhere; ``paths`` is what it was asked for."""

    url: str = ""
    paths: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listener.paths.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.send_header("Access-Control-Allow-Origin", "*")
            self.end_headers()
            self.wfile.write(PIXEL)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    listener.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


def html(url: str) -> str:
    """Return HTML that names ``url`` in every element and attribute that may load it."""
    other = url.removeprefix("http:")
    return f"""\
<p>Pictures follow.</p>
<img src="{url}/img" alt="secret"> <img srcset="{url}/srcset 1x, {url}/srcset2 2x">
<img src="{other}/relative-protocol"> <img src=" \t{url}/blank"> <IMG SRC="{url}/upper">
<picture><source srcset="{url}/picture"><img src="{url}/in-picture"></picture>
<video src="{url}/video" poster="{url}/poster" autoplay><track src="{url}/track" default></video>
<video autoplay><source src="{url}/video-source"></video>
<audio src="{url}/audio" autoplay></audio>
<input type="image" src="{url}/input">
<table background="{url}/table"><tr><td>cell</td></tr></table>
<div style="background: url({url}/css)">a</div>
<div style="background-image: url('{url}/css-image')">b</div>
<div style="list-style-image: url({url}/list); display: list-item">c</div>
<div style="cursor: url({url}/cursor), auto">d</div>
<div style="background: u\\72l({url}/css-escape)">e</div>
<div style="background-image: image-set('{url}/image-set' 1x)">f</div>
<div style="--jp-layout-color1: url({url}/variable); background: var(--jp-layout-color1)">g</div>
<div style="border-image: url({url}/border) 1; mask: url({url}/mask)">h</div>
<div style="content: url({url}/content)">i</div>
<style>@import "{url}/import"; p {{ background: url({url}/style) }}</style>
<link rel="stylesheet" href="{url}/link"> <link rel="prefetch" href="{url}/prefetch">
<iframe src="{url}/iframe"></iframe> <embed src="{url}/embed"> <object data="{url}/object"></object>
<svg width="9" height="9"><image href="{url}/svg" width="9" height="9"/>
<image xlink:href="{url}/svg-xlink" width="9" height="9"/><use href="{url}/use#a"/>
<style>rect {{ fill: url({url}/svg-style) }}</style><rect width="9" height="9"/></svg>
<math><mglyph src="{url}/mglyph"/></math>
<xmp><img src="{url}/xmp"></xmp> <noscript><img src="{url}/noscript"></noscript>
<template><img src="{url}/template"></template> <textarea><img src="{url}/textarea"></textarea>
<a href="{url}/ping-target" ping="{url}/ping">a link</a>
"""


def markdown(url: str) -> str:
    """Return Markdown that names ``url`` in every way that may load it."""
    return f"""\
![a picture]({url}/markdown) ![by name][pic]

[pic]: {url}/reference

| table |
|---|
| ![cell]({url}/cell) |

$\\style{{background: url({url}/tex)}}{{x}}$
$$\\mmlToken{{mi}}[style="background:url({url}/mml)"]{{y}}$$
$\\bbox[background: url({url}/bbox)]{{z}}$
$\\def\\a{{\\style}}\\a{{background: url({url}/def)}}{{w}}$

```mermaid
flowchart LR
  A["<img src='{url}/mermaid' width='9'>"] --> B@{{ img: "{url}/mermaid-shape", label: "x" }}
  style A fill:url({url}/mermaid-fill)
```

> ~~~   mermaid
> %%{{init: {{"themeCSS": "@import url({url}/import); * {{ background: url({url}/css) }}"}}}}%%
> flowchart LR
>   C --> D
> ~~~

{html(url)}
"""


SVG = "http://www.w3.org/2000/svg"
VEGA = "https://vega.github.io/schema/vega/v5.json"
CHART: dict[str, Any] = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "mark": "bar",
    "encoding": {
        "x": {"field": "a", "type": "ordinal"},
        "y": {"field": "b", "type": "quantitative"},
    },
}


def charts(url: str) -> list[dict[str, Any]]:
    """Return bundles of charts and diagrams that name ``url``."""
    lite = "application/vnd.vegalite.v5+json"
    picture = {"type": "image", "encode": {"enter": {"url": {"value": f"{url}/vega-image"}}}}
    computed = {"signal": f"'{url}' + '/vega-signal'"}
    vega = {"data": [{"name": "d", "url": computed}], "marks": [picture], "width": 9, "height": 9}
    options = {"embedOptions": {"config": f"{url}/vega-config", "patch": f"{url}/vega-patch"}}
    return [
        {lite: {**CHART, "data": {"url": f"{url}/vega.csv"}}},
        {lite: {**CHART, "data": {"values": []}, "usermeta": options}},
        {"application/vnd.vega.v5+json": {"$schema": VEGA, **vega}},
        {"text/vnd.mermaid": f"flowchart LR\n  A[\"<img src='{url}/mime-mermaid'>\"]"},
        {"application/geo+json": {"type": "Point", "coordinates": [0, 0]}},
        {"text/latex": f"$\\style{{background: url({url}/latex)}}{{x}}$"},
        {"image/svg+xml": f'<svg xmlns="{SVG}"><image href="{url}/svg"/></svg>'},
    ]


def expect_silence(lab: Lab, listener: Listener) -> None:
    """Fail if ``listener`` was asked for anything but what is asked for here, at the end."""
    lab.page.wait_for_load_state("networkidle")
    lab.page.evaluate(
        """url => new Promise(resolve => {
          const picture = new Image();
          picture.onload = resolve;
          picture.src = url;
        })""",
        f"{listener.url}/control",
    )
    assert listener.paths == ["/control"]


def test_the_words_and_the_thoughts_of_an_agent_load_nothing(
    lab: Lab, provider: OpenAIServer, listener: Listener
) -> None:
    words = markdown(listener.url)
    thoughts = {"choices": [{"index": 0, "delta": {"reasoning_content": words}}]}
    said = {"choices": [{"index": 0, "delta": {"content": f"{words}\n\nThe end."}}]}
    provider.add(Raw([thoughts, said]))
    lab.ask("attack", "The end.")
    lab.side.locator(".caesarion-reasoning summary").click()
    expect(lab.side.get_by_text("Pictures follow.")).to_have_count(2)
    expect_silence(lab, listener)
    # What is not loaded is a link that says where it leads.
    link = lab.messages.last.locator("a.caesarion-remote").first
    expect(link).to_have_text(
        f"Picture: a picture (on {listener.url.removeprefix('http://')}, not loaded)"
    )
    with lab.page.context.expect_page() as opened:
        link.click()
    opened.value.close()
    assert listener.paths[1] == "/markdown"


def test_outputs_in_the_chat_load_nothing(
    lab: Lab, provider: OpenAIServer, listener: Listener
) -> None:
    bundles = [
        {"text/html": html(listener.url)},
        {"text/markdown": markdown(listener.url)},
        *charts(listener.url),
    ]
    shown = f"""\
import json
from IPython.display import display
for bundle in json.loads({json.dumps(json.dumps(bundles))}):
    display(bundle, raw=True)
"shown\""""
    provider.add(python(shown), Text("The end."))
    lab.ask("attack", "The end.")
    expect(lab.outputs.get_by_text("Pictures follow.")).to_have_count(2)
    expect(lab.outputs.last).to_contain_text("shown")
    expect_silence(lab, listener)


def test_a_chat_file_from_elsewhere_loads_nothing_when_it_is_opened(
    lab: Lab, listener: Listener
) -> None:
    url = listener.url
    said = {"type": "msg", "sender": "elsewhere", "body": markdown(url)}
    bundles = [{"text/html": html(url)}, {"text/markdown": markdown(url)}, *charts(url)]
    messages = [
        {**said, "id": "0", "time": 1.0},
        *(
            {**said, "id": str(number), "time": 1.0 + number, "mime_model": {"data": bundle}}
            for number, bundle in enumerate(bundles, start=1)
        ),
        {**said, "id": "end", "time": 99.0, "body": "The end."},
    ]
    users = {
        "elsewhere": {
            "username": "elsewhere",
            "name": "Elsewhere",
            "display_name": "Elsewhere",
            "avatar_url": f"{url}/avatar",
        }
    }
    chat = {"messages": messages, "users": users, "attachments": {}, "metadata": {"id": "remote"}}
    (lab.hub.home(lab.user) / "chats" / "remote.chat").write_text(json.dumps(chat))
    lab.open_chat("remote")
    expect(lab.messages.last).to_have_text("The end.")
    expect(lab.messages.get_by_text("Pictures follow.")).to_have_count(3)
    expect_silence(lab, listener)


def test_what_names_no_address_is_drawn(lab: Lab, provider: OpenAIServer) -> None:
    chart = {"application/vnd.vegalite.v5+json": {**CHART, "data": {"values": [{"a": 1, "b": 2}]}}}
    shown = f"""\
import json
from IPython.display import display
display(json.loads({json.dumps(json.dumps(chart))}), raw=True)"""
    diagram = "```mermaid\nflowchart LR\n  A[Load] --> B[Clean]\n```"
    provider.add(python(shown), Text(f"{diagram}\n\nAnd $x^2$.\n\nThe end."))
    lab.ask("draw", "The end.")
    expect(lab.outputs.locator(".vega-embed canvas, .vega-embed svg").first).to_be_visible()
    expect(lab.messages.last.locator('img[src^="data:image/svg+xml"]')).to_be_visible()
    expect(lab.messages.last.locator("mjx-container")).to_be_visible()


def test_a_chart_has_no_say_in_the_page(lab: Lab, listener: Listener) -> None:
    """vega-embed would put these options into the page, and into a page of the same origin."""
    host = listener.url.removeprefix("http://")
    picture = {"signal": f"{{title: 't', image: 'ht' + 'tp' + ':' + '/' + '/' + '{host}/tip'}}"}
    mark = {
        "type": "rect",
        "encode": {"enter": {"width": {"value": 90}, "height": {"value": 90}, "tooltip": picture}},
    }
    address = f"'ht' + 'tp' + ':' + '/' + '/' + '{host}/cursor), auto'"
    cursor = {"events": "mousemove", "update": f"'url(' + {address}"}
    script = {"input": "text", "autofocus": "", "onfocus": "document.body.id = 'seen'"}
    signals = [
        {"name": "cursor", "value": "default", "on": [cursor]},
        {"name": "script", "value": "", "bind": {**script, "element": "body"}},
    ]
    style = ["body { --seen: chart; }"]
    header = "<script>opener.seen = 1</script>"
    options = {"defaultStyle": style, "sourceHeader": header, "actions": True}
    chart = {
        "$schema": VEGA,
        "width": 90,
        "height": 90,
        "signals": signals,
        "marks": [mark],
        "usermeta": {"embedOptions": options},
    }
    kind = "application/vnd.vega.v5+json"
    message = {
        "type": "msg",
        "id": "0",
        "time": 1.0,
        "sender": "elsewhere",
        "body": "",
        "mime_model": {"data": {kind: chart}, "metadata": {kind: {"embed_options": options}}},
    }
    chat = {"messages": [message], "users": {}, "attachments": {}, "metadata": {"id": "chart"}}
    (lab.hub.home(lab.user) / "chats" / "chart.chat").write_text(json.dumps(chat))
    lab.open_chat("chart")
    drawn = lab.messages.locator(".vega-embed canvas, .vega-embed svg").first
    drawn.hover(position={"x": 45, "y": 45})
    expect_silence(lab, listener)
    seen = "getComputedStyle(document.body).getPropertyValue('--seen')"
    assert lab.page.evaluate(seen) == ""
    expect(lab.messages.locator(".vega-bind input")).to_have_count(1)
    assert lab.page.evaluate("document.body.id") != "seen"
    expect(lab.messages.get_by_text("View Source")).to_have_count(0)
