"""
A real Prometheus for tests, and what is queried of it: ``promtool`` and ``prometheus``.

Both are where ``make test`` puts them, beside this Python, or on the PATH.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.fakes.bare_hub import free_port
from tests.helm import ROOT, path_of, run

DASHBOARDS = sorted((ROOT / "helm" / "caesarion" / "dashboards").glob("*.json"))

Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What is scraped: its job and namespace, as the chart's monitors name them."""

    job: str
    address: str
    path: str
    token: str = ""
    namespace: str = "hub"
    honor: bool = False
    """Whether labels of the target's own, such as the namespace of a pod, stay as they are."""

    def config(self) -> Json:
        """Return its part of Prometheus' configuration."""
        access = {"authorization": {"credentials": self.token}} if self.token else {}
        labels = {"namespace": self.namespace}
        return {
            "job_name": self.job,
            "metrics_path": self.path,
            "honor_labels": self.honor,
            "static_configs": [{"targets": [self.address], "labels": labels}],
            **access,
        }


class Prometheus:
    """A Prometheus that answers at ``url``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=f"{url}/api/v1/", timeout=60, trust_env=False)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """Return the data of an answer of the API."""
        answer = self._http.get(path, params=params)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    def query(self, expression: str) -> list[Json]:
        """Return the samples that an expression has now."""
        found: list[Json] = self.get("query", query=expression)["result"]
        return found

    def range(self, expression: str, start: float, end: float, step: int) -> list[Json]:
        """Return the samples of an expression between two moments, one in ``step`` seconds."""
        when = {"start": start, "end": end, "step": step}
        found: list[Json] = self.get("query_range", query=expression, **when)["result"]
        return found

    def names(self) -> set[str]:
        """Return the names of all series."""
        return set(self.get("label/__name__/values"))

    def wait_for(self, expression: str, seconds: float = 60.0) -> list[Json]:
        """Return the samples of an expression as soon as it has any."""
        deadline = time.monotonic() + seconds
        while not (found := self.query(expression)):
            assert time.monotonic() < deadline, (expression, self.get("targets"))
            time.sleep(0.25)
        return found

    def alert(self, name: str, seconds: float = 60.0) -> Json:
        """Return a firing alert, with its labels and annotations, as soon as it fires."""
        self.wait_for(f'ALERTS{{alertname="{name}",alertstate="firing"}}', seconds)
        (found,) = (
            one for one in self.get("alerts")["alerts"] if one["labels"]["alertname"] == name
        )
        return dict(found)


@contextmanager
def running_prometheus(
    folder: Path, targets: Sequence[Target], groups: Sequence[Json] = (), interval: str = "2s"
) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes ``targets`` and evaluates ``groups`` of rules."""
    (folder / "rules.json").write_text(json.dumps({"groups": list(groups)}))
    config = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "rule_files": [str(folder / "rules.json")],
        "scrape_configs": [target.config() for target in targets],
    }
    (folder / "prometheus.json").write_text(json.dumps(config))
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                path_of("prometheus"),
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        _wait(process, prometheus.url, folder / "prometheus.log")
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait(120)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if httpx.get(f"{url}/-/ready", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text())
        time.sleep(0.1)


def panels(dashboard: Path) -> list[Json]:
    """Return the panels of a dashboard in their order."""
    found: list[Json] = json.loads(dashboard.read_text("utf-8"))["panels"]
    return found


def filled(expression: str, namespace: str = "hub", users: str = "hub", rate: str = "5m") -> str:
    """Return a query of a dashboard with its variables filled in, as Grafana does."""
    values = {"$namespace": namespace, "$users": users, "$__rate_interval": rate}
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def queries() -> list[str]:
    """Return all queries of the dashboards, with their variables filled in."""
    return [
        filled(target["expr"])
        for dashboard in DASHBOARDS
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def parse(expressions: Sequence[str], folder: Path) -> None:
    """Let promtool parse expressions; raise :class:`~tests.helm.RefusedError` for a wrong one."""
    rules = [{"record": f"query:{number}", "expr": one} for number, one in enumerate(expressions)]
    file = folder / "queries.json"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    run(["check", "rules", str(file)], program="promtool")


def series_of(expression: str) -> set[str]:
    """Return the names of the series that a PromQL expression reads."""
    bare = re.sub(r'"(\\.|[^"\\])*"|`[^`]*`', "", expression)
    bare = re.sub(r"\b(by|ignoring|on|without|group_left|group_right) ?\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\boffset \w+|\b[\d.]+(e[+-]?\d+)?", "", bare)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?!\w*\s*\()", bare)
    return set(words) - {"or", "and", "unless", "bool", "group_left", "group_right", "ignoring"}
