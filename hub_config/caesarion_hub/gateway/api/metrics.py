"""
The metrics for Prometheus: requests, tokens, money, times, refusals, upstreams, budgets, the
agents' turns, the audit.

Counted by ``metering`` and ``outcomes``, shown by ``status``. No label holds what users choose:
a model that has never answered is ``other``, and so is a tool that is not the agent's.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from caesarion_hub.gateway.api.turns import Turns
from caesarion_hub.gateway.policy.prices import NANOS
from caesarion_hub.gateway.store.commands import Outcome, Settlement
from caesarion_hub.gateway.upstream.backend import Condition, State
from caesarion_hub.values.gateway import Window

MODELS = 100
"""Models that have a label of their own, at most; a made-up number."""

TOOLS = frozenset(
    (
        *("ask_user", "get_current_weather", "python_interpreter", "read_notebook"),
        *("edit_cell", "insert_cell", "delete_cell", "move_cell", "run_cell"),
    )
)
"""The agent's tools, as users' servers name them."""

OUTCOMES = frozenset(("ok", "error", "timeout", "refused", "interrupted", "dead"))
"""How a call ends, as users' servers report it."""

_CACHED = 1000  # labelled metrics that are kept at hand; made up
_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)


class Metrics:
    """The metrics of one gateway. ``known`` are the models that the values name."""

    def __init__(self, known: Iterable[str]) -> None:
        self._models = set(known)
        # prometheus_client takes a lock for each look-up, and makes texts of all labels.
        self._of = lru_cache(_CACHED)(_labelled)
        self._registry = CollectorRegistry()
        registry = self._registry
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "caesarion_gateway_requests",
            "Requests that were admitted, by model and status (499: the client went away)",
            ["model", "status"],
            registry=registry,
        )
        self._tokens = Counter(
            "caesarion_gateway_tokens",
            "Tokens, by model and kind (cached ones are among prompt)",
            ["model", "kind"],
            registry=registry,
        )
        self._dollars = Counter(
            "caesarion_gateway_cost_dollars",
            "Cost of requests to models with a price",
            ["model"],
            registry=registry,
        )
        self._first = Histogram(
            "caesarion_gateway_first_token_seconds",
            "From a request to its first word",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._whole = Histogram(
            "caesarion_gateway_request_seconds",
            "From a request to the end of its answer",
            ["model", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refusals = Counter(
            "caesarion_gateway_refusals",
            "Requests that were not admitted, by reason (budget_reached, too_many_requests ...)",
            ["reason"],
            registry=registry,
        )
        self.in_progress = Gauge(
            "caesarion_gateway_requests_under_way",
            "Requests in progress",
            registry=registry,
        )
        self._audit_whole = Gauge(
            "caesarion_gateway_audit_whole",
            "Whether the audit was whole when it was last verified (1), or not (0); NaN before",
            registry=registry,
        )
        self._audit_whole.set(float("nan"))
        self._audit_verified = Gauge(
            "caesarion_gateway_audit_verified_timestamp_seconds",
            "When the audit was last verified, in seconds since 1970; 0 if never",
            registry=registry,
        )
        self._audit = Gauge(
            "caesarion_gateway_audit_records",
            "The number of the audit's last record",
            registry=registry,
        )
        self._ledger = Gauge(
            "caesarion_gateway_ledger_writable",
            "Whether the ledger took what was written to it within the last lease (1), or not (0)",
            registry=registry,
        )
        self._budgets = Gauge(
            "caesarion_gateway_everyones_budget_used_ratio",
            "Used share of everyone's budget, by its window (1: used up)",
            ["window"],
            registry=registry,
        )
        self._seen = Turns()
        self._turns = Counter(
            "caesarion_gateway_turns",
            "Messages in chats that the model was asked about; what programs ask is no message",
            registry=registry,
        )
        self._repairs = Counter(
            "caesarion_gateway_repairs",
            "Answers of the model that follow on a failed call of the same turn",
            registry=registry,
        )
        self._calls = Counter(
            "caesarion_gateway_tool_calls",
            "Tool calls that the model asked for, by tool",
            ["tool"],
            registry=registry,
        )
        self._outcomes = Counter(
            "caesarion_gateway_tool_outcomes",
            "Ends of tool calls as users' servers report them: by tool, outcome, and who let the "
            "call run or refused it (person, program, rule, or nobody)",
            ["tool", "outcome", "approver"],
            registry=registry,
        )

    def observe(
        self,
        conditions: Callable[[], Iterable[Condition]],
        audit: Callable[[], int],
        ledger: Callable[[], bool],
    ) -> None:
        """
        Read what others know at each scrape.

        That is the upstreams' conditions, the number of the audit's last record, and whether
        the ledger can be written.
        """
        self._registry.register(_Upstreams(conditions))
        self._audit.set_function(audit)
        self._ledger.set_function(ledger)

    def set_audit_whole(self, is_whole: bool) -> None:
        """Note the result of a verification of the audit."""
        self._audit_whole.set(is_whole)
        self._audit_verified.set_to_current_time()

    def set_budgets(self, used: Mapping[Window, float]) -> None:
        """Note how much of everyone's budgets is used, by their windows."""
        self._budgets.clear()
        for window, share in used.items():
            self._budgets.labels(window).set(share)

    def count_refusal(self, reason: str) -> None:
        """Count a request that was not admitted."""
        self._refusals.labels(reason).inc()

    def count_settlement(self, settlement: Settlement) -> None:
        """Count a request that was settled."""
        model = self._label(settlement.reservation.model, settlement.status)
        status = str(settlement.status)
        self._of(self._requests, model, status).inc()
        self._of(self._tokens, model, "prompt").inc(settlement.prompt_tokens)
        self._of(self._tokens, model, "completion").inc(settlement.completion_tokens)
        self._of(self._tokens, model, "cached").inc(settlement.cached_tokens)
        if settlement.nanos is not None:
            self._of(self._dollars, model).inc(settlement.nanos / NANOS)
        if settlement.first_ms is not None:
            self._of(self._first, model).observe(settlement.first_ms / 1000)
        took = (settlement.finished - settlement.reservation.started) / 1000
        self._of(self._whole, model, status).observe(max(0.0, took))
        for call in settlement.calls:
            self._calls.labels(_known(call.tool, TOOLS)).inc()
        asked = settlement.reservation
        if asked.message or settlement.calls:
            # Without a message, nobody says which requests are of one turn.
            turn = asked.message or asked.id
            is_new, is_repair = self._seen.answer(asked.user, turn, settlement.calls)
            self._turns.inc(is_new and bool(asked.message))
            self._repairs.inc(is_repair)

    def count_outcomes(self, user: str, outcomes: Iterable[Outcome]) -> None:
        """Count the ends of a user's tool calls."""
        for one in outcomes:
            if ended := self._seen.end(user, one.call, one.outcome):
                labels = _known(ended.tool, TOOLS), _known(one.outcome, OUTCOMES)
                self._outcomes.labels(*labels, one.approver or "nobody").inc()
                self._repairs.inc(ended.is_repaired)

    def text(self) -> bytes:
        """Return all of them in Prometheus' format."""
        return generate_latest(self._registry)

    def _label(self, model: str, status: int) -> str:
        if model in self._models:
            return model
        if status < 400 and len(self._models) < MODELS:
            self._models.add(model)
            return model
        return "other"


def _labelled(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)


def _known(name: str, names: frozenset[str]) -> str:
    return name if name in names else "other"


class _Upstreams(Collector):
    def __init__(self, conditions: Callable[[], Iterable[Condition]]) -> None:
        self._conditions = conditions

    def collect(self) -> Iterable[Metric]:
        """Yield whether each upstream may be asked now, its circuit, its attempts by outcome."""
        up = GaugeMetricFamily(
            "caesarion_gateway_upstream_up",
            "Whether an upstream may be asked (1), or its circuit is open (0)",
            labels=["upstream"],
        )
        circuit = GaugeMetricFamily(
            "caesarion_gateway_upstream_circuit",
            "The state of an upstream's circuit breaker (1), and those in which it is not (0)",
            labels=["upstream", "state"],
        )
        attempts = CounterMetricFamily(
            "caesarion_gateway_upstream_attempts",
            "Requests sent to an upstream, by outcome: ok, given_up (the client went away), "
            "or the code of the failure",
            labels=["upstream", "outcome"],
        )
        for condition in self._conditions():
            up.add_metric([condition.name], float(condition.state != "open"))
            for state in get_args(State):
                circuit.add_metric([condition.name, state], float(condition.state == state))
            for outcome, number in condition.outcomes.items():
                attempts.add_metric([condition.name, outcome], number)
        yield from (up, circuit, attempts)
