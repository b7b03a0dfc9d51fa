"""Files from the desktop: dropped or chosen, seen on their way, known to the agent."""

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from caesarion.agent import prompt
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.fakes.openai_server import OpenAIServer, Text
from tests.files import image

CSV = "month,mm\n" + "".join(f"2024-{month:02},{month / 2}\n" for month in range(1, 13))
TYPES = (
    "csv, tsv, txt, log, json, py, md, ipynb, parquet, zip, "
    "xlsx, xlsm, xlsb, xls, ods, png, jpg, jpeg, gif, webp"
)

DROP = """\
(chat, [files, kinds]) => {
  const data = new DataTransfer();
  for (const [name, text, size] of files) {
    const bytes = size
      ? new Uint8Array(size).fill(97)
      : Uint8Array.from(atob(text), c => c.charCodeAt(0));
    data.items.add(new File([bytes], name));
  }
  for (const kind of kinds) {
    chat.dispatchEvent(
      new DragEvent(kind, {dataTransfer: data, bubbles: true, cancelable: true})
    );
  }
}"""

PASTE = """\
(box, data) => {
  const clipboardData = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
  clipboardData.items.add(new File([bytes], 'image.png', {type: 'image/png'}));
  box.dispatchEvent(
    new ClipboardEvent('paste', {clipboardData, bubbles: true, cancelable: true})
  );
}"""


def rows(lab: Lab) -> Locator:
    return lab.side.get_by_role("list", name="Uploads").get_by_role("listitem")


def attachments(lab: Lab) -> Locator:
    """Return what is attached to the next message."""
    return lab.side.locator(".jp-chat-input-container .jp-chat-attachment")


def drag(lab: Lab, files: dict[str, bytes], *kinds: str, size: int = 0) -> None:
    """Let the page see files of ``files``, or of ``size``, come from the desktop."""
    listed = [[name, base64.b64encode(data).decode(), size] for name, data in files.items()]
    lab.side.locator(".jp-chat-widget:visible").evaluate(DROP, [listed, kinds])


def drop(lab: Lab, files: dict[str, bytes], size: int = 0) -> None:
    drag(lab, files, "dragenter", "dragover", "drop", size=size)


def folder(lab: Lab) -> Path:
    return lab.hub.home(lab.user) / "uploads"


def there(lab: Lab) -> list[str]:
    """Return the names of all files in the folder for uploads, hidden ones too."""
    return sorted(path.name for path in folder(lab).iterdir())


def wait_until_there(lab: Lab, *names: str) -> None:
    """Wait until the folder for uploads holds ``names`` and nothing else."""
    lab.until(lambda: there(lab) == [*names])


@pytest.fixture
def empty(lab: Lab) -> Lab:
    """A chat of a user who has uploaded nothing."""
    folder(lab).mkdir(exist_ok=True)
    for path in folder(lab).iterdir():
        path.unlink()
    return lab


@contextmanager
def slowly(lab: Lab, bytes_a_second: int) -> Iterator[None]:
    """Let the page send no faster."""
    session = lab.page.context.new_cdp_session(lab.page)
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
    slow = {**conditions, "uploadThroughput": bytes_a_second}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", slow)
    try:
        yield
    finally:
        session.send("Network.emulateNetworkConditions", {**conditions, "uploadThroughput": -1})
        session.detach()


def asked(provider: OpenAIServer) -> Any:
    """Return the content of the question that the model was asked last."""
    return provider.requests[-1].body["messages"][-1]["content"]


def test_a_dropped_file_is_known_to_the_agent_before_it_looks(
    empty: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = empty
    drag(lab, {"rain.csv": CSV.encode()}, "dragenter", "dragover")
    target = lab.side.get_by_text("Drop files here to upload and attach them.")
    expect(target).to_be_visible()
    visits.picture(lab, "dragging")
    drop(lab, {"rain.csv": CSV.encode()})
    expect(target).to_have_count(0)
    expect(attachments(lab)).to_have_text(["rain.csv"])
    expect(rows(lab)).to_have_count(0)
    visits.picture(lab, "attached")
    provider.add(Text("Twelve months."))
    lab.ask("What is in it?", "Twelve months.")
    known = prompt.user_message(
        "What is in it?",
        [
            (
                str(folder(lab) / "rain.csv"),
                "Table, 12 rows, 2 columns separated by ',':\n  month: text\n  mm: number\n"
                "It begins:\n" + "\n".join(CSV.splitlines()[:6]),
            )
        ],
    )
    assert asked(provider).startswith(known["content"])
    expect(attachments(lab)).to_have_count(0)
    lab.side.get_by_text("What the agent was told of rain.csv").click()
    expect(lab.side.get_by_text("Table, 12 rows, 2 columns")).to_be_visible()


def test_progress_is_shown_and_a_message_waits_for_it(
    empty: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = empty
    with slowly(lab, 1_000_000):
        drop(lab, {"large.txt": b"", "second.txt": b""}, size=4_000_000)
        bar = lab.side.get_by_role("progressbar", name="Upload of large.txt")
        expect(rows(lab)).to_contain_text(["% of 4.0 MB", "waits for the file before it"])
        lab.box.fill("Look at both.")
        lab.box.press("Enter")
        waits = lab.side.get_by_text("Your message is sent as soon as the upload is done.")
        expect(waits).to_be_visible()
        expect(bar).to_have_attribute("aria-valuetext", re.compile(r"[3-9]\d % of 4\.0 MB"))
        visits.picture(lab, "half way")
        expect(lab.box).to_have_value("Look at both.")
        provider.add(Text("Two texts."))
    expect(lab.messages.last).to_contain_text("Two texts.")
    assert [line for line in asked(provider).splitlines() if line.startswith("[")] == [
        f"[Attached: {folder(lab) / 'large.txt'}]",
        f"[Attached: {folder(lab) / 'second.txt'}]",
    ]
    expect(waits).to_have_count(0)


def test_a_cancelled_upload_leaves_nothing_and_holds_its_message_back(
    empty: Lab, visits: Visits
) -> None:
    lab = empty
    with slowly(lab, 1_000_000):
        drop(lab, {"large.txt": b""}, size=20_000_000)
        cancel = lab.side.get_by_role("button", name="Cancel the upload of large.txt")
        expect(rows(lab)).to_have_text([re.compile(r"[1-9]\d? % of 20\.0 MB")])
        assert len(there(lab)) == 1
        cancel.click()
        expect(rows(lab)).to_have_count(0)
        drop(lab, {"again.txt": b""}, size=20_000_000)
        expect(rows(lab)).to_contain_text(["% of 20.0 MB"])
        lab.send("Look at it.")
        lab.side.get_by_role("button", name="Cancel the upload of again.txt").click()
    expect(rows(lab)).to_contain_text(["The upload was cancelled. Your message was not sent."])
    expect(lab.box).to_have_value("Look at it.")
    expect(lab.messages).to_have_count(0)
    visits.picture(lab, "held back")
    lab.side.get_by_role("button", name="Dismiss again.txt").click()
    expect(rows(lab)).to_have_count(0)
    lab.box.fill("")
    wait_until_there(lab)


def test_an_upload_goes_on_while_another_chat_is_shown(empty: Lab) -> None:
    lab = empty
    with slowly(lab, 1_000_000):
        drop(lab, {"large.txt": b""}, size=2_000_000)
        expect(rows(lab)).to_contain_text(["% of 2.0 MB"])
        lab.new_chat()
        expect(rows(lab)).to_have_count(0)
    wait_until_there(lab, "large.txt")


def test_what_is_refused_or_broken_is_said_in_its_row(
    empty: Lab, visits: Visits, tmp_path: Path
) -> None:
    lab = empty
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(200_000_001)
    upload = lab.side.get_by_role("button", name="Upload files from this computer")
    with lab.page.expect_file_chooser() as chooser:
        upload.click()
    chooser.value.set_files([huge])
    expect(rows(lab)).to_contain_text(["The file has 200,000,001 bytes; the limit is 200,000,000."])
    drop(lab, {"a.exe": b"MZ"})
    expect(rows(lab)).to_contain_text(["huge", f"Accepted types: {TYPES}."])
    folder(lab).rmdir()
    folder(lab).touch()
    drop(lab, {"a.csv": CSV.encode()})
    said = f"{folder(lab)} is needed for uploads and is not a folder. Rename it."
    expect(rows(lab).last).to_contain_text(said)
    folder(lab).unlink()
    lab.page.route("**/caesarion/api/uploads", lambda route: route.abort())
    drop(lab, {"rain.csv": CSV.encode()})
    expect(rows(lab).last).to_contain_text("The connection to the server broke off.")
    visits.picture(lab, "refused")
    lab.page.unroute("**/caesarion/api/uploads")
    for name in ("huge.csv", "a.exe", "a.csv"):
        lab.side.get_by_role("button", name=f"Dismiss {name}").click()
    lab.side.get_by_role("button", name="Upload rain.csv again").click()
    expect(attachments(lab)).to_have_text(["rain.csv"])
    drop(lab, {"rain.csv": CSV.encode()})
    expect(attachments(lab)).to_have_text(["rain.csv", "rain (2).csv"])
    expect(rows(lab)).to_have_count(0)
    assert there(lab) == ["rain (2).csv", "rain.csv"]


def test_an_image_that_is_pasted_is_shown_to_the_model(
    empty: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = empty
    lab.box.evaluate(PASTE, base64.b64encode(image("png", 640, 480)).decode())
    expect(attachments(lab)).to_have_text(["image.png"])
    provider.add(Text("An empty picture."))
    lab.ask("What do you see?", "An empty picture.")
    words, sent = asked(provider)
    assert "| PNG image, 640 x 480 pixels." in words["text"]
    data = base64.b64encode(image("png", 640, 480)).decode()
    assert sent == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
