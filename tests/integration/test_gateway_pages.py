"""The gateway's pages, through the proxy of a real hub: who sees what, edits, tables, speed."""

import asyncio
import csv
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from aiohttp import web
from caesarion_hub.gateway.api.server import Server
from caesarion_hub.gateway.pages import spans, sums
from caesarion_hub.gateway.pages.application import PagesApplication
from caesarion_hub.gateway.pages.download import Download
from caesarion_hub.gateway.pages.rows import BATCH
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.audit_key import AuditKey
from caesarion_hub.gateway.store.audit_log import AuditLog
from caesarion_hub.gateway.store.commands import AuditEntry, Outcome, OutcomeReport
from caesarion_hub.gateway.store.database import Database
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from tests.fakes.gateway_process import environment
from tests.hub import RunningHub, Session, free_port, running_hub

GATEWAY = "/services/gateway"
USERS = 10_000


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    values = {
        "gateway": {
            "budgets": [{"scope": "user", "window": "month", "tokens": 100_000}],
            "prices": {"gpt-4.1": {"prompt": 2, "completion": 8}},
        }
    }
    with running_hub(tmp_path_factory.mktemp("hub") / "state", values=values) as hub:
        database = Database(f"sqlite:///{hub.folder}/gateway.sqlite")
        with closing(database), database.exclusive() as connection:
            fill(connection, AuditLog(AuditKey.read(hub.folder / "audit_key")))
        yield hub


def fill(connection: Connection, log: AuditLog) -> None:
    """Write a month's spending of many users, two requests and an audit of both."""
    day = spans.today()
    rows = [
        {
            "period": period,
            "start": (day if period == "day" else day.replace(day=1)).isoformat(),
            "scope": scope,
            "name": name,
            "model": model,
            "requests": 3,
            "failures": 1,
            "prompt_tokens": 100 + number,
            "completion_tokens": 50,
            "cached_tokens": 0,
            "nanos": (100 + number) * 2000,
            "unpriced_tokens": 0,
        }
        for number in range(USERS)
        for scope, name in (("user", f"user-{number:05}"), ("group", f"=group-{number % 3}"))
        for period in ("day", "month")
        for model in ("gpt-4.1", "small")
        if scope == "user" or number < 3
    ]
    # Of before the model had a price.
    unpriced = {"scope": "everyone", "name": "", "nanos": 0, "unpriced_tokens": 150}
    connection.execute(tables.spending.insert(), [*rows, rows[2] | unpriced])
    request = {
        "replica": "old",
        "started": 1_767_960_000_000,
        "finished": 1_767_960_001_500,
        "server": "",
        "groups": "[]",
        "upstream": "",
        "conversation": "c",
        "message": "1",
        "reserved_tokens": 10,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "cached_tokens": 0,
        "estimated": True,
        "nanos": 15_000,
        "total_ms": 1500,
        "calls": 0,
        "finish_reason": "",
        "model": "<script>alert(1)</script>",
    }
    failed = request | {"id": "b", "user": "hana", "status": 502, "error": "upstream_error"}
    connection.execute(
        tables.request.insert(),
        [request | {"id": "a", "user": "gale", "status": 200, "error": ""}, failed],
    )
    for number in range(60):
        said = {"tool": "python_interpreter", "text": f"print({number}) # <b>", "sha256": "ab" * 32}
        said["receipt_sha256"] = ""
        log.append(
            connection, [AuditEntry("call", f"user-{number % 2}", "c", f"call_{number}", said)]
        )
    for user, ended in (
        ("user-1", Outcome("call_59", "refused", "refuse by user-1", "person")),
        ("user-0", Outcome("call_58", "ok", "run by user-0", "program")),
        ("user-0", Outcome("call_56", "ok", "auto", "rule")),
        ("user-0", Outcome("call_54", "ok", "run by user-0", "person", CHANGE)),
    ):
        log.append_outcomes(connection, OutcomeReport(user, "", [ended]))


@pytest.fixture(scope="module")
def admin(hub: RunningHub) -> Session:
    return hub.login("admin")


@pytest.fixture(scope="module")
def hana(hub: RunningHub) -> Session:
    return hub.login("hana")


def wait_for(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.05)


CHANGE = {
    "path": "a <b>.ipynb",
    "cell": "1a2b3c4d",
    "operation": "insert",
    "before": "",
    "after": "0123456789ab",
    "decision": "accepted",
    "by": "user-0",
}


def page(session: Session, path: str, status: int = 200) -> str:
    answer = session.get(f"{GATEWAY}/{path}")
    assert answer.status_code == status, answer.text
    return re.sub(r"\s+", " ", answer.text)


def section(text: str, name: str) -> str:
    return text[text.index(f'id="{name}"') :].partition("</section>")[0]


def ask(hub: RunningHub, user: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {hub.login(user).token()}"}
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}
    url = f"{hub.url}{GATEWAY}/v1/chat/completions"
    return httpx.post(url, json=body, headers=headers, timeout=60)


def edit(session: Session, **form: str) -> httpx.Response:
    xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page(session, "admin/budgets"))
    assert xsrf
    return session.post(f"{GATEWAY}/admin/budgets", data={"_xsrf": xsrf[1], **form})


def test_who_has_not_logged_in_is_sent_to_do_so(hub: RunningHub) -> None:
    with httpx.Client(base_url=hub.url, follow_redirects=True) as nobody:
        answer = nobody.get(f"{GATEWAY}/usage")
    assert answer.url.path == "/hub/login"


def menu(session: Session) -> dict[str, str]:
    text = session.get("/hub/home").text
    found = re.findall(rf'<a class="dropdown-item" href="{GATEWAY}/(\w+)">([^<]+)</a>', text)
    return dict(found)


def test_the_hubs_menu_leads_to_ones_own_usage_and_administrators_to_the_overview(
    hana: Session, admin: Session
) -> None:
    assert menu(hana) == {"usage": "My usage"}
    assert menu(admin) == {"usage": "My usage", "admin": "Gateway overview"}
    answer = hana.get(f"{GATEWAY}/")
    assert answer.url.path == f"{GATEWAY}/usage"
    assert "<h1>My usage</h1>" in answer.text


def test_my_usage_shows_budgets_and_requests_and_escapes_what_others_wrote(hana: Session) -> None:
    text = page(hana, "usage")
    assert re.search(r"Own, a month</td> <td[^>]*>0 tokens</td> <td[^>]*>100,000 tokens</td>", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>" not in text
    assert "upstream_error" in text
    assert '15 <span title="Estimated: the provider reported no count">≈</span>' in text
    assert "$0.000015" in text


def test_only_administrators_see_others(hana: Session, admin: Session) -> None:
    deletion = "admin/budgets/delete?scope=user&name=&window=month"
    pages = ("admin", "admin/spending", "admin/budgets", deletion, "admin/audit")
    files = (
        "spending.csv",
        "requests.csv",
        "refusals.csv",
        "budgets.csv",
        "audit.csv",
        "audit.jsonl",
    )
    others = (
        "usage?user=gale",
        "usage/refusals.csv?user=gale",
        "usage.csv?user=gale",
        "usage/requests.csv?user=gale",
    )
    for path in (*pages, *(f"admin/{file}" for file in files), *others):
        assert "administrators of the hub" in page(hana, path, 403), path
    assert "Overview" not in page(hana, "usage")
    assert "<h1>Usage of gale</h1>" in page(admin, "usage?user=gale")


def test_every_page_says_which_it_is_who_looks_and_how_to_leave(
    hub: RunningHub, admin: Session
) -> None:
    paths = ("usage", "admin", "admin/spending", "admin/budgets", "admin/audit")
    for path in paths:
        text = page(admin, path)
        assert re.findall(r'href="([^"]+)" aria-current="page"', text) == [f"{GATEWAY}/{path}"]
        assert "<span>admin</span>" in text
        assert 'id="dark-theme-toggle"' in text
        assert 'src="/hub/static/js/darkmode.js"' in text
    leaving = hub.login("lea")
    page(leaving, "usage")
    out = re.search(r'href="([^"]+)"[^>]*><i[^>]*></i>Logout', page(leaving, "usage"))
    assert out
    leaving.get(out[1])
    assert leaving.get(f"{GATEWAY}/usage").url.path == "/hub/login"


def test_a_slash_too_many_leads_to_the_page_and_where_there_is_none_a_page_says_so(
    hub: RunningHub, hana: Session, admin: Session
) -> None:
    answer = admin.get(f"{GATEWAY}/admin/audit/?kind=call")
    assert (answer.url.path, answer.url.query) == (f"{GATEWAY}/admin/audit", b"kind=call")
    assert admin.get(f"{GATEWAY}/admin/").url.path == f"{GATEWAY}/admin"
    for path in ("usage/x", "usage.json", "admin/x", "admin/budgets/x/y"):
        text = page(hana, path, 404)
        assert "There is no such page." in text, path
        assert f'href="{GATEWAY}/usage">Back to my usage</a>' in text
    assert f'href="{GATEWAY}/admin">Back to the overview</a>' in page(admin, "admin/x", 404)
    with httpx.Client(base_url=hub.url, follow_redirects=True) as nobody:
        assert nobody.get(f"{GATEWAY}/usage/x").url.path == "/hub/login"
        missing = nobody.get(f"{GATEWAY}/v1/x")
    assert missing.json()["error"]["code"] == "not_found"


def test_what_a_page_loads_is_there(admin: Session) -> None:
    text = page(admin, "admin")
    loaded = re.findall(r'<(?:link|script)[^>]* (?:href|src)="([^"]+)"', text)
    assert len(loaded) == 5
    for path in loaded:
        assert admin.get(path).status_code == 200, path


def test_the_overview_shows_servers_answers_spenders_and_errors(
    hub: RunningHub, admin: Session
) -> None:
    hana = hub.login("hana")
    hana.start_server()
    text = page(admin, "admin")
    servers = text[text.index('id="servers"') :]
    assert '>hana</a></td><td data-label="Server">default</td>' in servers
    assert re.search(r">\d\d+ MiB</td><td[^>]*>\d+ s</td> <td[^>]*>running</td>", servers)
    assert text.index("user-09999") < text.index("user-09998")
    assert "upstream_error" in text
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in text
    assert "<strong>Requests are answered.</strong> The demo model answers" in text


def test_a_question_shows_in_the_page_while_it_is_answered(hub: RunningHub, admin: Session) -> None:
    gale = hub.login("gale")
    body = {
        "model": "gpt-4.1",
        "stream": True,
        "messages": [{"role": "user", "content": "what can you do? " * 5}],
    }
    headers = {"Authorization": f"Bearer {gale.token()}"}
    url = f"{hub.url}{GATEWAY}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)
        text = page(admin, "admin")
        in_progress = section(text, "in-progress")
        assert ">gale</a>" in in_progress
        assert "data: [DONE]" in list(lines)


def test_the_spending_of_many_users_comes_in_pages_and_is_searched(admin: Session) -> None:
    text = page(admin, "admin/spending")
    assert text.count("usage?user=user-") == sums.PAGE
    assert "user-09999" in text
    assert "user-09949" in page(admin, "admin/spending?page=1")
    found = page(admin, "admin/spending?prefix=User-00012")
    assert re.findall(r"user=(user-\d+)", found) == ["user-00012"]
    assert "=group-0" in page(admin, "admin/spending?scope=group&span=today")
    assert "No usage yet." in page(admin, "admin/spending?span=last-month")
    assert page(admin, "admin/spending?span=last-month").count("<table") == 0
    assert "user-09999" in page(admin, "admin/spending?span=total")


def test_tables_are_downloaded_whole_and_hold_no_formula(
    hub: RunningHub, admin: Session, hana: Session
) -> None:
    answer = admin.get(f"{GATEWAY}/admin/spending.csv?span=month&scope=user")
    rows = list(csv.reader(answer.text.splitlines()))
    assert len(rows) >= USERS + 1
    assert rows[0][:3] == ["name", "requests", "failures"]
    assert rows[1] == ["user-09999", "6", "2", "20298", "0.040396", "0"]
    answer = admin.get(f"{GATEWAY}/admin/spending.csv?span=month&scope=group")
    assert [row[0] for row in csv.reader(answer.text.splitlines())][1] == "'=group-2"
    assert ask(hub, "hana").status_code == 200
    wait_for(lambda: "\n20" in hana.get(f"{GATEWAY}/usage.csv").text)
    answer = hana.get(f"{GATEWAY}/usage.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
    (day,) = csv.DictReader(answer.text.splitlines())
    assert (day["day"], day["requests"]) == (str(spans.today()), "1")
    assert (day["dollars"], day["tokens without a price"]) == ("", day["tokens"])


def test_a_budget_added_and_edited_in_place_holds_at_once_and_is_in_the_audit(
    hub: RunningHub, admin: Session
) -> None:
    assert ask(hub, "ivy").status_code == 200
    ivy = hub.login("ivy")
    assert "caesarion-demo" in page(ivy, "usage"), "who has answered, not who was asked for"
    form = {"scope": "user", "name": "ivy", "window": "month"}
    answer = edit(admin, **form, action="add", tokens="10", dollars="")
    assert (answer.url.path, answer.status_code) == (f"{GATEWAY}/admin/budgets", 200)
    assert "The monthly budget for user ivy was added: 10 tokens." in answer.text
    refused = ask(hub, "ivy")
    assert refused.status_code == 429
    assert refused.json()["error"]["message"].startswith(
        "Your budget of 10 tokens a month is used up: "
    )
    assert "Own, a month" in page(ivy, "usage")
    answer = edit(admin, **form, action="save", tokens="2000000", dollars="1.5")
    assert "The monthly budget for user ivy was saved: 2,000,000 tokens or $1.50." in answer.text
    assert ask(hub, "ivy").status_code == 200
    answer = edit(admin, **form, action="delete")
    assert "The monthly budget for user ivy was deleted." in answer.text
    records = page(admin, "admin/audit?kind=budget")
    assert records.count("<td>admin</td>") == 3
    changes = ("10 tokens", "10 tokens → 2,000,000 tokens or $1.50")
    for change in (*changes, "2,000,000 tokens or $1.50 → no budget"):
        assert f"</span> user ivy, a month: {change}<details>" in records
    assert "<dt>dollars</dt><dd>1.5</dd>" in records
    assert "nanos" not in records


def test_a_budget_that_is_there_is_not_added_again_but_shown(admin: Session) -> None:
    form = {"scope": "user", "name": "kim", "window": "day"}
    edit(admin, **form, action="add", tokens="500")
    answer = edit(admin, **form, action="add", tokens="7")
    assert answer.status_code == 409
    assert "The daily budget for user kim exists already: 500 tokens. Nothing" in answer.text
    row = answer.text[answer.text.index('<tr class="current" id="current">') :].partition("</tr>")[
        0
    ]
    assert 'value="500"' in row
    assert 'href="#current">Go to its row</a>' in answer.text
    assert 'value="7"' in answer.text[answer.text.index('id="add"') :], "not lost"


def test_a_name_that_the_hub_does_not_know_is_saved_with_a_hint(admin: Session) -> None:
    for scope in ("user", "group"):
        form = {"scope": scope, "name": "nobody/at all", "window": "day", "action": "add"}
        text = edit(admin, **form, tokens="1").text
        assert f"The hub knows no {scope} named &#39;nobody/at all&#39; yet" in text
    budgets = page(admin, "admin/budgets")
    row = budgets[budgets.index("user nobody/at all<") :].partition("</tr>")[0]
    assert "unknown to the hub" in row, "also later"
    known = {"scope": "user", "name": "admin", "window": "total", "action": "add"}
    text = edit(admin, **known, tokens="100000000").text
    assert "was added: 100,000,000 tokens." in text
    assert "The hub knows no" not in text
    row = text[text.index("user admin<") :].partition("</tr>")[0]
    assert "unknown to the hub" not in row


def test_a_name_of_a_user_in_capitals_is_the_hubs_and_the_page_says_so(
    hub: RunningHub, admin: Session
) -> None:
    form = {"scope": "user", "name": "Zoe", "window": "day", "action": "add"}
    text = edit(admin, **form, tokens="0").text
    assert "The daily budget for user zoe was added: it allows no requests." in text
    assert "user names in lower case: &#39;Zoe&#39; is &#39;zoe&#39;." in text
    assert ask(hub, "zoe").status_code == 429
    row = text[text.index(">user zoe") :].partition("</tr>")[0]
    assert "no requests allowed" in row
    assert ">never</td>" in row
    usage = page(hub.login("zoe"), "usage")
    assert "no requests allowed" in usage
    assert edit(admin, **form, tokens="1").status_code == 409


def test_only_what_has_changed_is_recorded_and_said_to_be(admin: Session) -> None:
    form = {"scope": "user", "name": "uma", "window": "day"}
    edit(admin, **form, action="add", tokens="12")
    before = page(admin, "admin/audit?kind=budget")
    text = edit(admin, **form, action="save", tokens="12").text
    assert "Nothing has changed in the daily budget for user uma: 12 tokens." in text
    assert page(admin, "admin/audit?kind=budget") == before
    for result in ("added", "saved", "deleted", "unchanged"):
        said = page(admin, f"admin/budgets?result={result}&scope=user&name=vic&window=day")
        assert 'role="status"' not in said
    assert 'role="status"' not in page(
        admin, "admin/budgets?result=deleted&scope=user&name=uma&window=day"
    )
    gone = edit(admin, scope="user", name="vic", window="day", action="delete")
    assert (gone.status_code, "There is no such budget" in gone.text) == (404, True)


def test_a_budget_says_where_it_comes_from_and_the_one_just_saved_stays_in_its_place(
    admin: Session,
) -> None:
    form = {"scope": "user", "name": "wim", "window": "day", "action": "add"}
    text = re.sub(r"\s+", " ", edit(admin, **form, tokens="12").text)
    rows = re.findall(r"<tr[^>]*> <td class=\"whose\">.*?</tr>", text)
    assert 'id="current"' not in rows[0]
    (mine,) = [row for row in rows if 'id="current"' in row]
    assert f"edited by admin on {spans.today()}" in mine
    (each,) = [row for row in rows if "each user" in row]
    assert "from the values" in each


def test_a_budget_is_deleted_only_after_a_question(admin: Session) -> None:
    form = {"scope": "user", "name": "lou", "window": "month"}
    edit(admin, **form, action="add", tokens="77")
    budgets = page(admin, "admin/budgets")
    row = budgets[budgets.index(">user lou<") :].partition("</tr>")[0]
    assert 'value="delete"' not in row
    link = re.search(rf'href="{GATEWAY}/([^"]+)">Delete', row)
    assert link
    question = page(admin, link[1].replace("&amp;", "&"))
    assert (
        "The budget for <strong>user lou</strong>: <strong>77 tokens a month</strong>." in question
    )
    assert "Afterwards the budget for each user applies: 100,000 tokens a month." in question
    assert ">user lou<" in page(admin, "admin/budgets"), "still there"
    edit(admin, **form, action="delete")
    assert "There is no such budget" in page(admin, link[1].replace("&amp;", "&"), 404)


def test_budgets_show_what_is_spent_of_them_and_when_they_renew(
    hub: RunningHub, admin: Session
) -> None:
    assert ask(hub, "mia").status_code == 200
    form = {"scope": "user", "name": "mia", "window": "day", "action": "add"}
    edit(admin, **form, tokens="1")
    text = page(admin, "admin/budgets")
    rows = {
        re.sub(r"<[^>]+>", "", row).strip().partition(" ")[0]: row
        for row in re.findall(r"<tr>(.*?)</tr>", text[text.index('id="budgets"') :])[1:]
    }
    assert "20,298 tokens by <a" in rows["each"]
    assert ">user-09999</a>" in rows["each"]
    mia = text[text.index(">user mia<") :].partition("</tr>")[0]
    assert '<progress max="1" value="1.0" class="full"' in mia
    assert f"{spans.today() + timedelta(1)} 00:00" in mia
    answer = admin.get(f"{GATEWAY}/admin/budgets.csv")
    told = list(csv.DictReader(answer.text.splitlines()))
    each = [row for row in told if not row["name"] and row["window"] == "month"]
    assert len(each) >= USERS
    assert (each[0]["used by"], each[0]["tokens"]) == ("user-09999", "20298")
    (mine,) = [row for row in told if row["name"] == "mia"]
    assert int(mine["tokens"]) > 1
    assert mine["limit in tokens"] == "1"
    assert (mine["dollars"], mine["tokens without a price"]) == ("", mine["tokens"])
    assert (each[0]["dollars"], each[0]["tokens without a price"]) == ("0.040396", "0")


def test_budgets_in_dollars_are_said_not_to_count_models_without_a_price(admin: Session) -> None:
    form = {"scope": "user", "name": "ned", "window": "day"}
    assert 'id="prices"' not in page(admin, "admin/budgets")
    edit(admin, **form, action="add", dollars="1")
    ask_first = page(admin, "admin/budgets")
    assert "Models without a price do not count towards budgets in dollars." in ask_first
    assert "caesarion-demo (" in section(ask_first, "prices")
    assert "gpt-4.1 (" not in section(ask_first, "prices"), "it has a price now"
    edit(admin, **form, action="delete")
    assert 'id="prices"' not in page(admin, "admin/budgets")


def test_who_is_refused_is_seen_by_administrators_and_by_themselves(
    hub: RunningHub, admin: Session
) -> None:
    for name, tokens in (("olga", "1"), ("paul", "100000")):
        form = {"scope": "user", "name": name, "window": "day", "action": "add"}
        edit(admin, **form, tokens=tokens)
        assert ask(hub, name).status_code == 200
    statuses = [ask(hub, name).status_code for name in ("olga", "olga", "paul")]
    assert statuses == [429, 429, 200]
    wait_for(lambda: "olga" in section(page(admin, "admin"), "refused"))
    refused = section(page(admin, "admin"), "refused")
    row = refused[refused.index(">olga<") :].partition("</tr>")[0]
    assert ">2</td>" in row
    assert "Your budget of 1 token a day is used up: " in row
    assert "paul" not in refused
    assert "Your budget of 1 token a day" in section(page(hub.login("olga"), "usage"), "refused")
    assert 'id="refused"' not in page(hub.login("paul"), "usage")
    everybodys = admin.get(f"{GATEWAY}/admin/refusals.csv?span=today").text
    (told,) = [one for one in csv.DictReader(everybodys.splitlines()) if one["user"] == "olga"]
    assert (told["day"], told["requests"]) == (str(spans.today()), "2")
    assert (told["code"], told["message"][:21]) == ("budget_reached", "Your budget of 1 toke")
    own = hub.login("paul").get(f"{GATEWAY}/usage/refusals.csv").text
    assert own.splitlines() == ["day,user,requests,last (UTC),last model,code,message"]
    before = admin.get(f"{GATEWAY}/admin/refusals.csv?span=last-month").text
    assert before == own


def test_the_overview_shows_the_budgets_that_are_nearest_to_their_limits(
    hub: RunningHub, admin: Session
) -> None:
    assert ask(hub, "xena").status_code == 200
    form = {"scope": "user", "window": "day", "action": "add"}
    edit(admin, **form, name="xena", tokens="1")
    edit(admin, **form, name="aaron", tokens="1000")
    text = section(page(admin, "admin"), "budgets")
    assert "20,298 tokens by <a" in text, "of each user's"
    assert text.index("<td>user xena</td><td>1 token a day</td>") < text.index("<td>each user</td>")
    edit(admin, scope="everyone", name="", window="week", action="add", tokens="0")
    text = page(admin, "admin")
    shown = section(text, "budgets")
    assert shown.index("<td>everyone</td><td>nothing a week</td>") < shown.index("user xena")
    assert "The budget for everyone allows no requests." in text
    for number in range(10):
        edit(admin, **form, name=f"yo-{number}", tokens="1000")
    text = section(page(admin, "admin"), "budgets")
    assert "Budgets nearest to their limits" in text
    assert text.count("<tr>") == 11
    edit(admin, scope="everyone", name="", window="week", action="delete")


def test_the_overview_does_not_say_well_while_nobody_is_let_in(
    hub: RunningHub, admin: Session
) -> None:
    assert ask(hub, "quin").status_code == 200
    form = {"scope": "everyone", "name": "", "window": "day"}
    edit(admin, **form, action="add", tokens="1")
    text = page(admin, "admin")
    state = text[text.index('id="state"') :].partition("</div>")[0]
    assert "<strong>Requests are not answered now.</strong>" in state
    assert "The budget for everyone, 1 token a day, is used up. It renews on" in state
    edit(admin, **form, action="delete")
    assert "<strong>Requests are answered.</strong>" in page(admin, "admin")


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"tokens": "many"}, "&#39;many&#39; is not a whole number of tokens."),
        ({"dollars": "NaN"}, "&#39;NaN&#39; is not an amount of dollars."),
        ({"dollars": "-1"}, "&#39;-1&#39; is not an amount of dollars."),
        ({}, "Set a limit in tokens, in dollars, or both."),
        ({"scope": "nobody"}, "Choose a user, a group or everyone, and a window."),
        ({"scope": "everyone", "name": "x", "tokens": "1"}, "A budget for everyone has no name"),
    ],
)
def test_a_form_that_says_no_budget_is_told_why(
    admin: Session, form: dict[str, str], sentence: str
) -> None:
    answer = edit(admin, **{"scope": "user", "window": "day", "action": "add", **form})
    assert answer.status_code == 400
    assert sentence in answer.text
    typed = {name: text for name, text in form.items() if name != "scope"}
    assert all(f'value="{text}"' in answer.text for text in typed.values()), "not lost"


def test_a_form_of_somebody_elses_page_is_refused(admin: Session) -> None:
    form = {"scope": "everyone", "window": "day", "tokens": "0", "_xsrf": "made-up"}
    answer = admin.post(f"{GATEWAY}/admin/budgets", data=form)
    assert answer.status_code == 403
    assert "Reload the page." in answer.text


def calls(text: str) -> list[str]:
    return re.findall(r"<dt>call</dt><dd>(call_\d+)</dd>", text)


def follow(admin: Session, text: str, label: str) -> str:
    link = re.search(rf'href="(\?[^"]+)">{label}</a>', text)
    assert link, label
    return page(admin, f"admin/audit{link[1].replace('&amp;', '&')}")


def test_the_audit_comes_in_pages_and_is_searched(admin: Session) -> None:
    newest = page(admin, "admin/audit?kind=call")
    assert len(calls(newest)) == sums.PAGE
    assert ">Newer<" not in newest
    older = follow(admin, newest, "Older")
    assert calls(older)[-1] == "call_0"
    assert ">Older<" not in older
    assert calls(follow(admin, older, "Newer")) == calls(newest)
    found = page(admin, "admin/audit?user=user-1&text=print(7)&conversation=c")
    assert calls(found) == ["call_7"]
    assert "# &lt;b&gt;" in found
    assert f'title="SHA-256 of the code: {"ab" * 32}">abababababab…<' in found
    today = spans.today()
    assert "No records were found." in page(admin, f"admin/audit?since={today + timedelta(1)}")
    assert "No records were found." in page(admin, f"admin/audit?until={today - timedelta(1)}")
    assert len(calls(page(admin, f"admin/audit?kind=call&since={today}&until={today}"))) > 1
    assert "&#39;today&#39; is not a day." in page(admin, "admin/audit?since=today", 400)
    swapped = page(admin, "admin/audit?since=2026-02-01&until=2026-01-31", 400)
    assert "From 2026-02-01 is after To 2026-01-31." in swapped
    assert 'value="2026-02-01"' in swapped, "not lost"
    assert calls(page(admin, "admin/audit?user=User-1&text=print(7)")) == ["call_7"]
    assert len(calls(page(admin, "admin/audit?user=user-&kind=call"))) == sums.PAGE
    assert "No records were found." in page(admin, "admin/audit?user=ser-1")
    assert "their own records are not listed" in page(admin, "admin/audit")
    assert "their own records" not in newest


def test_a_call_stands_with_its_outcome_and_an_outcome_with_its_call(admin: Session) -> None:
    text = page(admin, "admin/audit?user=user-1")
    assert text.count("Reported by the user's server") == 1
    row = text[text.index("Reported by the user's server") :].partition("</tr>")[0]
    assert 'refused <span class="unit" title="refuse by user-1">refused by user-1</span>' in row
    assert text.index("call_59") < text.index("refuse by user-1") < text.index("call_57")
    others = page(admin, "admin/audit?user=user-0")
    assert 'title="run by user-0">approved by a program of user-0</span>' in others
    assert 'title="auto">by rule: made without asking</span>' in others
    outcomes = page(admin, "admin/audit?user=user-1&kind=outcome")
    assert calls(outcomes) == ["call_59"]
    assert "</span> python_interpreter <code" in outcomes
    assert '?conversation=c" title="c"' in outcomes


def test_a_change_of_a_notebook_stands_with_its_call(admin: Session) -> None:
    text = page(admin, "admin/audit?user=user-0&text=print(54)")
    assert (
        "a &lt;b&gt;.ipynb · cell 1a2b3c4d · insert nothing → 0123456789ab · accepted by user-0<"
    ) in text


def test_the_chain_is_verified_by_a_form_of_its_own(admin: Session) -> None:
    text = page(admin, "admin/audit")
    assert text.count("<form") == 2
    assert "The audit is whole." not in text
    assert "<strong>The audit is whole. </strong>Its records: " in page(
        admin, "admin/audit?verify=1"
    )


def test_the_operators_command_finds_the_audit_of_make_up_by_itself(
    hub: RunningHub, admin: Session, tmp_path: Path
) -> None:
    def run(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "caesarion_hub.gateway.audit", "verify"],
            env=environment(CAESARION_STATE=str(folder)),
            capture_output=True,
            text=True,
        )

    verified, nothing = run(hub.folder), run(tmp_path)
    assert (verified.returncode, verified.stderr) == (0, "")
    name = f"The audit of sqlite:///{hub.folder}/gateway.sqlite is whole. "
    assert verified.stdout.startswith(name)
    assert verified.stdout.endswith(". All records are signed.\n")
    assert verified.stdout.removeprefix(name).strip() in page(admin, "admin/audit?verify=1")
    assert nothing.returncode == 1
    assert f"make up has left no settings in {tmp_path}. Name the database:" in nothing.stderr


def test_what_is_found_in_the_audit_is_downloaded(admin: Session) -> None:
    answer = admin.get(f"{GATEWAY}/admin/audit.csv?user=user-1")
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [row["call"] for row in rows] == [f"call_{number}" for number in range(1, 60, 2)]
    columns = ["notebook", "cell", "operation", "source before", "source after", "decision"]
    assert {rows[-1][column] for column in columns} == {""}
    of_cell = admin.get(f"{GATEWAY}/admin/audit.csv?user=user-0&text=print(54)")
    (changed,) = csv.DictReader(of_cell.text.splitlines())
    assert [changed[column] for column in (*columns, "decided by")] == list(CHANGE.values())
    last = rows[-1]
    assert (last["what"], last["outcome"]) == ("python_interpreter", "refused")
    assert (last["approval"], last["approver"]) == ("refuse by user-1", "person")
    answer = admin.get(f"{GATEWAY}/admin/audit.jsonl?conversation=c")
    records = [json.loads(line) for line in answer.text.splitlines()]
    assert [one["number"] for one in records] == list(range(2, 66))
    assert records[0]["record"]["text"] == "print(0) # <b>"
    assert records[1]["previous"] == records[0]["hash"]
    assert "filename=" in answer.headers["Content-Disposition"]


def test_a_file_of_many_requests_comes_whole_and_in_order(hub: RunningHub, admin: Session) -> None:
    number = 2 * BATCH + 7
    database = Database(f"sqlite:///{hub.folder}/gateway.sqlite")
    with closing(database), database.exclusive() as connection:
        row = connection.execute(tables.request.select().limit(1)).one()._asdict()
        changes = {"user": "rosa", "model": "m", "error": "", "conversation": "=1+1"}
        connection.execute(
            tables.request.insert(),
            # Two requests of each millisecond.
            [
                row | changes | {"id": f"{one:06}", "started": 1_767_960_000_000 + one // 2}
                for one in range(number)
            ],
        )
    rosa = hub.login("rosa")
    answer = rosa.get(f"{GATEWAY}/usage/requests.csv?span=total")
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [row["request"] for row in rows] == [f"{one:06}" for one in range(number)]
    assert rows[0]["started (UTC)"] == "2026-01-09 12:00:00.000"
    assert rows[0]["conversation"] == "'=1+1"
    assert rows[0]["dollars"] == "0.000015"
    assert len(rosa.get(f"{GATEWAY}/usage/requests.csv?span=today").text.splitlines()) == 1
    everybody = admin.get(f"{GATEWAY}/admin/requests.csv?span=total").text
    users = {row["user"] for row in csv.DictReader(everybody.splitlines())}
    assert {"gale", "hana", "rosa"} <= users


async def test_a_file_that_breaks_off_does_not_look_whole() -> None:
    def pieces() -> Iterator[str]:
        yield "name\r\n"
        raise OperationalError("SELECT", {}, Exception("the database went away"))

    class Broken(Download):
        async def prepare(self) -> None:
            """Let everybody in."""

        async def get(self) -> None:
            await self.send("broken.csv", "text/csv", pieces())

    async with served(Broken) as url, httpx.AsyncClient() as http:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message"):
            await http.get(url)


async def test_a_file_is_made_no_longer_when_nobody_receives_it() -> None:
    ended = threading.Event()

    def pieces() -> Generator[str]:
        try:
            while True:
                yield "x" * 100_000
        finally:
            ended.set()

    class Endless(Download):
        async def prepare(self) -> None:
            """Let everybody in."""

        async def get(self) -> None:
            source = pieces()
            await self.send("endless.csv", "text/csv", source)
            await asyncio.to_thread(source.close)

    async with (
        served(Endless) as url,
        httpx.AsyncClient() as http,
        http.stream("GET", url) as answer,
    ):
        assert await anext(answer.aiter_raw())
    assert await asyncio.to_thread(ended.wait, 60)


@asynccontextmanager
async def served(handler: type[Download]) -> AsyncIterator[str]:
    """Serve one page as the gateway does; yield its address."""
    pages = PagesApplication([("/", handler, {"context": SimpleNamespace(oauth=None)})], "token")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await pages.answer(request, b"")

    runner = web.ServerRunner(Server(answer), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def test_a_provider_that_fails_is_named_with_its_problem(tmp_path: Path) -> None:
    upstream = {
        "name": "gone",
        "baseUrl": f"http://127.0.0.1:{free_port()}/v1",
        "retries": 0,
        "breaker": {"failures": 2, "seconds": 600},
    }
    values = {"gateway": {"upstreams": [upstream]}}
    with running_hub(tmp_path / "state", values=values) as hub:
        admin = hub.login("admin")
        assert "every provider in use" in page(admin, "admin")
        assert ask(hub, "ada").status_code >= 500
        text = page(admin, "admin")
        assert "<strong>Requests are accepted, but a provider fails.</strong>" in text
        assert ">failing<" in section(text, "providers")
        assert ask(hub, "ada").status_code >= 500
        text = page(admin, "admin")
        providers = section(text, "providers")
        assert "<strong>Requests are not answered now.</strong>" in text
        assert "not used for a while" in providers
        assert "(2 times in a row)" in providers
        assert re.search(r"cannot be reached|refused|does not answer", providers)
        assert re.search(r"<td>\w+: 2</td>", providers)


def test_pages_let_nothing_in_that_is_not_ours(hana: Session) -> None:
    headers = hana.get(f"{GATEWAY}/usage").headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self';" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
