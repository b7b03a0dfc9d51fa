"""The gateway's pages, through the proxy of a real hub: who sees what, edits, tables, speed."""

import csv
import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from caesarion_hub.gateway import tables
from caesarion_hub.gateway.chain import Entry
from caesarion_hub.gateway.database import Database
from caesarion_hub.gateway.pages import queries
from caesarion_hub.gateway.recording import append
from sqlalchemy import Connection

from tests.hub import RunningHub, Session, running_hub

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
            fill(connection)
        yield hub


def fill(connection: Connection) -> None:
    """Write a month's spending of many users, two requests and an audit of both."""
    day = queries.today()
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
    connection.execute(tables.spending.insert(), rows)
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
        said = {"tool": "python_interpreter", "text": f"print({number}) # <b>"}
        append(connection, [Entry("call", f"user-{number % 2}", "c", f"call_{number}", said)])


@pytest.fixture(scope="module")
def admin(hub: RunningHub) -> Session:
    return hub.login("admin")


@pytest.fixture(scope="module")
def hana(hub: RunningHub) -> Session:
    return hub.login("hana")


def page(session: Session, path: str, status: int = 200) -> str:
    answer = session.get(f"{GATEWAY}/{path}")
    assert answer.status_code == status, answer.text
    return re.sub(r"\s+", " ", answer.text)


def edit(session: Session, **form: str) -> httpx.Response:
    xsrf = re.search(r'name="_xsrf" value="([^"]+)"', page(session, "admin/budgets"))
    assert xsrf
    return session.post(f"{GATEWAY}/admin/budgets", data={"_xsrf": xsrf[1], **form})


def test_who_has_not_logged_in_is_sent_to_do_so(hub: RunningHub) -> None:
    with httpx.Client(base_url=hub.url, follow_redirects=True) as nobody:
        answer = nobody.get(f"{GATEWAY}/usage")
    assert answer.url.path == "/hub/login"


def test_the_hubs_menu_leads_to_ones_own_usage(hana: Session) -> None:
    assert f'href="{GATEWAY}/"' in hana.get("/hub/home").text
    answer = hana.get(f"{GATEWAY}/")
    assert answer.url.path == f"{GATEWAY}/usage"
    assert "<h1>My usage</h1>" in answer.text


def test_my_usage_shows_budgets_and_requests_and_escapes_what_others_wrote(hana: Session) -> None:
    text = page(hana, "usage")
    assert "Own, a month</td> <td>0 tokens</td> <td>100,000 tokens</td>" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "upstream_error" in text
    assert '15 <span title="We counted: the provider did not">≈</span>' in text
    assert "$0.000015" in text


def test_only_administrators_see_others(hana: Session, admin: Session) -> None:
    for path in ("admin", "admin/spending", "admin/budgets", "admin/audit", "usage?user=gale"):
        assert "for administrators of the hub" in page(hana, path, 403)
    assert "Overview" not in page(hana, "usage")
    assert "<h1>Usage of gale</h1>" in page(admin, "usage?user=gale")
    assert hana.get(f"{GATEWAY}/admin/spending.csv").status_code == 403


def test_the_overview_shows_servers_answers_spenders_and_errors(
    hub: RunningHub, admin: Session
) -> None:
    hana = hub.login("hana")
    hana.start_server()
    text = page(admin, "admin")
    servers = text[text.index('id="servers"') :]
    assert ">hana</a></td><td>default</td>" in servers
    assert re.search(r">\d\d+ MiB</td><td class=\"n\">\d+ s</td> <td>running</td>", servers)
    assert text.index("user-09999") < text.index("user-09998")
    assert "upstream_error" in text
    assert '<meta http-equiv="refresh" content="10">' in text


def test_a_question_shows_in_the_page_while_it_is_answered(hub: RunningHub, admin: Session) -> None:
    gale = hub.login("gale")
    body = {
        "model": "gpt-4.1",
        "stream": True,
        "messages": [{"role": "user", "content": "what can you do? " * 5}],
    }
    headers = {"Authorization": f"Bearer {gale.token()}"}
    url = f"{hub.url}{GATEWAY}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=20) as answer:
        lines = answer.iter_lines()
        next(lines)
        text = page(admin, "admin")
        under_way = text[text.index("Answers under way") : text.index("<h2>Servers")]
        assert ">gale</a>" in under_way
        assert "data: [DONE]" in list(lines)


def test_the_spending_of_many_users_comes_in_pages_and_is_searched(admin: Session) -> None:
    text = page(admin, "admin/spending")
    assert text.count("usage?user=user-") == queries.PAGE
    assert "user-09999" in text
    assert "user-09949" in page(admin, "admin/spending?page=1")
    found = page(admin, "admin/spending?begins=user-00012")
    assert re.findall(r"user=(user-\d+)", found) == ["user-00012"]
    assert "=group-0" in page(admin, "admin/spending?scope=group&span=today")
    assert "Nothing yet." in page(admin, "admin/spending?span=last-month")
    assert "user-09999" in page(admin, "admin/spending?span=total")


def test_tables_are_downloaded_whole_and_hold_no_formula(admin: Session, hana: Session) -> None:
    answer = admin.get(f"{GATEWAY}/admin/spending.csv?span=month&scope=user")
    rows = list(csv.reader(answer.text.splitlines()))
    assert len(rows) >= USERS + 1
    assert rows[0][:3] == ["name", "requests", "failures"]
    assert rows[1] == ["user-09999", "6", "2", "20298", "0.040396", "0"]
    answer = admin.get(f"{GATEWAY}/admin/spending.csv?span=month&scope=group")
    assert [row[0] for row in csv.reader(answer.text.splitlines())][1] == "'=group-2"
    answer = hana.get(f"{GATEWAY}/usage.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage.csv"'
    assert answer.text.startswith("name,requests,failures")


def test_a_budget_edited_in_place_holds_at_once_and_is_in_the_audit(
    hub: RunningHub, admin: Session
) -> None:
    ivy = hub.login("ivy")
    headers = {"Authorization": f"Bearer {ivy.token()}"}
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}

    def ask() -> httpx.Response:
        url = f"{hub.url}{GATEWAY}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=20)

    assert ask().status_code == 200
    assert "caesarion-demo" in page(ivy, "usage"), "who has answered, not who was asked for"
    form = {"scope": "user", "name": "ivy", "window": "month", "deed": "save"}
    answer = edit(admin, **form, tokens="1,0", dollars="")
    assert (answer.url.path, answer.status_code) == (f"{GATEWAY}/admin/budgets", 200)
    refused = ask()
    assert refused.status_code == 429
    assert refused.json()["error"]["message"].startswith(
        "Your budget of 10 tokens a month is used up: "
    )
    assert "Own, a month" in page(ivy, "usage")
    assert edit(admin, **form | {"deed": "delete"}).status_code == 200
    assert ask().status_code == 200
    records = page(admin, "admin/audit?kind=budget")
    assert records.count("<td>budget</td><td>admin</td>") == 2
    assert "<code>tokens: 10</code>" in records


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"tokens": "many"}, "&#39;many&#39; is no whole number of tokens."),
        ({"dollars": "NaN"}, "&#39;NaN&#39; is no amount of dollars."),
        ({"dollars": "-1"}, "&#39;-1&#39; is no amount of dollars."),
        ({}, "A budget limits tokens or dollars: one of them must be there."),
        ({"scope": "nobody"}, "A budget is for a user, a group or everyone, and for a window."),
        ({"scope": "everyone", "name": "x", "tokens": "1"}, "The budget of everyone has no name"),
    ],
)
def test_a_form_that_says_no_budget_is_told_why(
    admin: Session, form: dict[str, str], sentence: str
) -> None:
    answer = edit(admin, **{"scope": "user", "window": "day", **form})
    assert answer.status_code == 400
    assert sentence in answer.text
    typed = {name: text for name, text in form.items() if name != "scope"}
    assert all(f'value="{text}"' in answer.text for text in typed.values()), "not lost"


def test_a_form_of_somebody_elses_page_is_refused(admin: Session) -> None:
    form = {"scope": "everyone", "window": "day", "tokens": "0", "_xsrf": "made-up"}
    answer = admin.post(f"{GATEWAY}/admin/budgets", data=form)
    assert answer.status_code == 403
    assert "Load the page again." in answer.text


def test_the_audit_is_searched_and_verified(admin: Session) -> None:
    text = page(admin, "admin/audit")
    assert len(re.findall(r"<td>call_\d+</td>", text)) <= queries.PAGE
    older = re.search(r'href="(\?[^"]+before=\d+)"', text)
    assert older
    assert "call_0<" in page(admin, f"admin/audit{older[1].replace('&amp;', '&')}")
    found = page(admin, "admin/audit?user=user-1&text=print(7)")
    assert re.findall(r"<td>(call_\d+)</td>", found) == ["call_7"]
    assert "# &lt;b&gt;" in found
    assert "The audit is whole. " in page(admin, "admin/audit?verify=1")


def test_pages_let_nothing_in_that_is_not_ours(hana: Session) -> None:
    headers = hana.get(f"{GATEWAY}/usage").headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_pages_of_ten_thousand_users_are_quick(admin: Session) -> None:
    slow: dict[str, Any] = {}
    for path in ("admin", "admin/spending?page=100", "admin/audit", "admin/budgets", "usage"):
        took = []
        for _ in range(3):
            began = time.perf_counter()
            page(admin, path)
            took.append(time.perf_counter() - began)
        if min(took) > 0.3:
            slow[path] = took
    assert slow == {}, json.dumps(slow)
