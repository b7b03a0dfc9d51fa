"""The dashboard of the gateway to the model."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from panels import RATE, figure, graph, increase, make, quantiles, rate, selector

REQUESTS = "caesarion_gateway_requests_total"
FAILED = 'status=~"5.."'
FIRST, WHOLE = "caesarion_gateway_first_token_seconds", "caesarion_gateway_request_seconds"
COST = "caesarion_gateway_cost_dollars_total"


def build() -> Dashboard:
    """Return the dashboard."""
    budgets = selector("caesarion_gateway_everyones_budget_used_ratio")
    circuits = selector("caesarion_gateway_upstream_circuit", 'state!="closed"')
    panels = [
        figure("Requests a minute", "short", rate(REQUESTS, seconds=60)),
        figure(
            "Errors, 1 h",
            "percentunit",
            f"{increase(REQUESTS, FAILED)} / {increase(REQUESTS)}",
            about="Requests that ended with a status of 500 or above.",
            red_from=0.01,
        ),
        figure("First word, 95 %", "s", quantiles(FIRST)[0][0], red_from=5),
        figure("Cost, 24 h", "currencyUSD", increase(COST, span="24h")),
        figure(
            "Ledger writable",
            "bool_yes_no",
            f"min({selector('caesarion_gateway_ledger_writable')})",
            red_below=1,
        ),
        figure(
            "Audit whole",
            "bool_yes_no",
            f"min({selector('caesarion_gateway_audit_whole')})",
            about="As of the last verification, at the gateway's start and then each hour.",
            red_below=1,
        ),
        graph(
            "Requests a minute",
            "short",
            (rate(REQUESTS, by="status", seconds=60), "{{status}}"),
            about="499: the client went away.",
            stacked=True,
        ),
        graph("Time to the first word", "s", *quantiles(FIRST, by="model", what="{{model}}, ")),
        graph("Time to the end", "s", *quantiles(WHOLE, by="model", what="{{model}}, ")),
        graph(
            "Tokens a minute",
            "short",
            (rate("caesarion_gateway_tokens_total", by="kind", seconds=60), "{{kind}}"),
            about="Cached tokens are among those of the prompt.",
        ),
        graph(
            "Cost an hour",
            "currencyUSD",
            (rate(COST, by="model", seconds=3600), "{{model}}"),
            about="Of models with a price.",
            stacked=True,
        ),
        graph(
            "Everyone's budgets, used",
            "percentunit",
            (f"max by (window) ({budgets})", "{{window}}"),
            most=1,
        ),
        graph(
            "Refusals a minute",
            "short",
            (rate("caesarion_gateway_refusals_total", by="reason", seconds=60), "{{reason}}"),
            about="Requests that were not admitted.",
            stacked=True,
        ),
        graph(
            "Requests to providers a minute",
            "short",
            (
                "60 * sum by (upstream, outcome) "
                f"(rate({selector('caesarion_gateway_upstream_attempts_total')}{RATE}))",
                "{{upstream}}, {{outcome}}",
            ),
            stacked=True,
        ),
        graph(
            "Requests in progress, failing providers",
            "short",
            (f"sum({selector('caesarion_gateway_requests_under_way')})", "requests"),
            (f"max by (upstream) ({circuits}) > 0", "{{upstream}}: its circuit is not closed"),
        ),
    ]
    return make("gateway", "Answers, providers, cost and budgets.", panels)
