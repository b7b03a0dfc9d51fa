"""The dashboard of users and the starts of their servers."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from panels import figure, graph, increase, make, quantiles, rate, selector

STARTS = "jupyterhub_server_spawn_duration_seconds"
READY = "caesarion_server_start_seconds"
TODAY = 'period="24h"'
SUCCESS = 'status="success"'
FAILED = (
    'status=~"failure|error",'
    'reason!~"exited|throttled|too-many-users|already-pending|choice"'  # as in the alert
)
REQUESTS = "jupyterhub_request_duration_seconds"
LOGINS = "jupyterhub_login_duration_seconds_count"
LOOP = "jupyterhub_event_loop_interval_seconds"


def build() -> Dashboard:
    """Return the dashboard."""
    running = f"sum({selector('jupyterhub_running_servers')})"
    median = f"sum by (le) (rate({selector(f'{STARTS}_bucket', SUCCESS)}[1h]))"
    failed = selector(f"{STARTS}_count", FAILED)
    panels = [
        figure("Running servers", "short", running),
        figure(
            "Active users, 24 h",
            "short",
            f"max({selector('jupyterhub_active_users', TODAY)})",
        ),
        figure("Users", "short", f"max({selector('jupyterhub_total_users')})"),
        figure("Starts, 1 h", "short", f"round({increase(f'{STARTS}_count', SUCCESS)})"),
        figure(
            "Failed starts, 1 h",
            "short",
            # increase() does not see the first failure of a kind, with which its series begins.
            f"clamp_min(sum({failed}) - (sum({failed} offset 1h) or vector(0)), 0) or vector(0)",
            about="Without refusals because of limits, and choices that do not exist.",
            red_from=1,
        ),
        figure("Median start, 1 h", "s", f"histogram_quantile(0.5, {median})", red_from=60),
        graph("Running servers", "short", (running, "servers")),
        graph(
            "Active users",
            "short",
            (f"max by (period) ({selector('jupyterhub_active_users')})", "{{period}}"),
            about="The hub counts them once an hour.",
        ),
        graph(
            "Logins a minute",
            "short",
            # JupyterHub 6.1 writes the name of its enumeration before the status.
            (rate(LOGINS, 'status=~".*success"', seconds=60), "success"),
            (rate(LOGINS, 'status=~".*failure"', seconds=60), "failure"),
            stacked=True,
        ),
        graph(
            "Starts a minute",
            "short",
            (rate(f"{STARTS}_count", SUCCESS, seconds=60), "success"),
            (
                f"{rate(f'{STARTS}_count', FAILED, by='reason', seconds=60)} > 0",
                "failure {{reason}}",
            ),
            stacked=True,
        ),
        graph("Time of a start", "s", *quantiles(STARTS, SUCCESS)),
        graph(
            "Servers that wait for a user",
            "short",
            (f"max by (state) ({selector('caesarion_warm_pods')})", "{{state}}"),
            about="Warm servers: singleuser.warm.",
            stacked=True,
        ),
        graph(
            "Starts a minute, by kind",
            "short",
            (rate(f"{READY}_count", by="kind", seconds=60), "{{kind}}"),
            (f"{rate('caesarion_warm_claims_failed_total', seconds=60)} > 0", "failed claims"),
            about="A warm start is handed a server that waits.",
            stacked=True,
        ),
        graph(
            "Time until a server is ready, by kind",
            "s",
            *quantiles(READY, by="kind", what="{{kind}}, "),
        ),
        graph(
            "Stops a minute",
            "short",
            (rate("jupyterhub_server_stop_seconds_count", by="status", seconds=60), "{{status}}"),
            stacked=True,
        ),
        graph(
            "The hub's requests a second",
            "reqps",
            (rate(f"{REQUESTS}_count", by="code"), "{{code}}"),
            stacked=True,
        ),
        graph("Time of the hub's requests", "s", *quantiles(REQUESTS)),
        graph(
            "Turns of the hub's event loop",
            "s",
            *quantiles(LOOP),
            about="0.05 s if it is idle. Everybody waits while a turn takes long.",
        ),
    ]
    return make("users", "Who is there, and how starts go.", panels)
