"""
The metrics for Prometheus: requests, tokens, money, times, refusals, upstreams, the audit.

Counted by ``metering``, shown by ``status``. No label holds what users choose: a model that
has never answered is ``other``.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from caesarion_hub.gateway.policy.prices import NANOS
from caesarion_hub.gateway.store.commands import Settlement
from caesarion_hub.gateway.upstream.backend import Condition

MODELS = 100
"""Models that have a label of their own, at most; a made-up number."""

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)


class Metrics:
    """The metrics of one gateway. ``known`` are the models that the values name."""

    def __init__(self, known: Iterable[str]) -> None:
        self._models = set(known)
        self._registry = CollectorRegistry()
        registry = self._registry
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
        self.audit_whole = Gauge(
            "caesarion_gateway_audit_whole",
            "Whether the audit's chain held together when this gateway started (1), or not (0)",
            registry=registry,
        )
        self._audit = Gauge(
            "caesarion_gateway_audit_records",
            "The number of the audit's last record",
            registry=registry,
        )

    def observe(
        self, conditions: Callable[[], Iterable[Condition]], audit: Callable[[], int]
    ) -> None:
        """Read the upstreams' conditions and the audit's length at each scrape."""
        self._registry.register(_Upstreams(conditions))
        self._audit.set_function(audit)

    def count_refusal(self, reason: str) -> None:
        """Count a request that was not admitted."""
        self._refusals.labels(reason).inc()

    def count_settlement(self, settlement: Settlement) -> None:
        """Count a request that was settled."""
        model = self._label(settlement.reservation.model, settlement.status)
        status = str(settlement.status)
        self._requests.labels(model, status).inc()
        self._tokens.labels(model, "prompt").inc(settlement.prompt_tokens)
        self._tokens.labels(model, "completion").inc(settlement.completion_tokens)
        self._tokens.labels(model, "cached").inc(settlement.cached_tokens)
        if settlement.nanos is not None:
            self._dollars.labels(model).inc(settlement.nanos / NANOS)
        if settlement.first_ms is not None:
            self._first.labels(model).observe(settlement.first_ms / 1000)
        took = (settlement.finished - settlement.reservation.started) / 1000
        self._whole.labels(model, status).observe(max(0.0, took))

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


class _Upstreams(Collector):
    def __init__(self, conditions: Callable[[], Iterable[Condition]]) -> None:
        self._conditions = conditions

    def collect(self) -> Iterable[Metric]:
        """Yield whether each upstream may be asked now, and its attempts by outcome."""
        up = GaugeMetricFamily(
            "caesarion_gateway_upstream_up",
            "Whether an upstream may be asked (1), or its circuit is open (0)",
            labels=["upstream"],
        )
        attempts = CounterMetricFamily(
            "caesarion_gateway_upstream_attempts",
            "Requests sent to an upstream, by outcome: ok, given_up (the client went away), "
            "or the code of the failure",
            labels=["upstream", "outcome"],
        )
        for condition in self._conditions():
            up.add_metric([condition.name], float(condition.state != "open"))
            for outcome, number in condition.outcomes.items():
                attempts.add_metric([condition.name, outcome], number)
        yield from (up, attempts)
