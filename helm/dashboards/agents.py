"""The dashboard of the agents: what models ask for, how that ends, and who decides."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from panels import figure, graph, increase, make, rate, selector

TURNS, REPAIRS = "caesarion_gateway_turns_total", "caesarion_gateway_repairs_total"
CALLS, ENDS = "caesarion_gateway_tool_calls_total", "caesarion_gateway_tool_outcomes_total"
RUNS = 'tool=~"python_interpreter|run_cell"'
PERSON = 'approver="person"'
FAILED = 'outcome=~"error|timeout|dead"'
REFUSED, NOT_REFUSED = 'outcome="refused"', 'outcome!="refused"'


def build() -> Dashboard:
    """Return the dashboard."""
    tokens = rate("caesarion_gateway_tokens_total", 'kind!="cached"', by="kind")
    panels = [
        figure("Turns, 1 h", "short", f"round({increase(TURNS)})"),
        figure("Runs of code, 1 h", "short", f"round({increase(CALLS, RUNS)})"),
        figure("Calls in a turn, 1 h", "short", f"{increase(CALLS)} / {increase(TURNS)}"),
        figure(
            "Failed calls, 1 h",
            "percentunit",
            f"{increase(ENDS, FAILED)} / {increase(ENDS)}",
            about="Errors, time-outs, and kernels that died.",
            red_from=0.5,
        ),
        figure("Repairs, 1 h", "short", f"round({increase(REPAIRS)})"),
        figure(
            "Decided by a person, 1 h",
            "percentunit",
            f"{increase(ENDS, PERSON)} / {increase(ENDS)}",
        ),
        graph("Turns a minute", "short", (rate(TURNS, seconds=60), "turns")),
        graph(
            "Calls a minute",
            "short",
            (rate(CALLS, by="tool", seconds=60), "{{tool}}"),
            about="Tool calls that the models asked for.",
            stacked=True,
        ),
        graph(
            "Ends of calls a minute",
            "short",
            (rate(ENDS, by="outcome", seconds=60), "{{outcome}}"),
            about="As users' servers report them.",
            stacked=True,
        ),
        graph(
            "Decisions a minute",
            "short",
            (rate(ENDS, NOT_REFUSED, by="approver", seconds=60), "run by {{approver}}"),
            (rate(ENDS, REFUSED, by="approver", seconds=60), "refused by {{approver}}"),
            about="person: somebody pressed a button; program: somebody's token; "
            "rule: the mode of approval, or a class that a person allowed.",
            stacked=True,
        ),
        graph(
            "Failures and repairs a minute",
            "short",
            (rate(ENDS, FAILED, seconds=60), "failed calls"),
            (rate(REPAIRS, seconds=60), "repairs"),
            about="A repair is an answer of the model that follows on a failed call.",
        ),
        graph(
            "Failed calls a minute",
            "short",
            (rate(ENDS, FAILED, by="tool", seconds=60), "{{tool}}"),
            stacked=True,
        ),
        graph(
            "Answers of the model in a turn",
            "short",
            (f"{rate('caesarion_gateway_requests_total')} / {rate(TURNS)}", "answers"),
        ),
        graph(
            "Tokens in a turn",
            "short",
            (f"{tokens} / ignoring (kind) group_left {rate(TURNS)}", "{{kind}}"),
            stacked=True,
        ),
        graph(
            "Records of the audit",
            "short",
            (f"max({selector('caesarion_gateway_audit_records')})", "records"),
        ),
    ]
    return make("agents", "Turns, calls, approvals and repairs.", panels)
