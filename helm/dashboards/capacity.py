"""The dashboard of what a release and its users take, and what is left."""

from grafana_foundation_sdk.builders.dashboard import Dashboard
from panels import HERE, RATE, USERS, figure, graph, make, quantiles, rate, selector

REQUESTS, ALLOCATABLE = "kube_pod_container_resource_requests", "kube_node_status_allocatable"
MEMORY, CPU = 'resource="memory"', 'resource="cpu"'
PHASES = f"kube_pod_status_phase{{{USERS}"
COMPONENTS = f'{HERE},pod=~".+-(hub|proxy|gateway)-.+"'
JOBS = 'job=~".+-(hub|gateway|proxy-api)"'
USED = (
    'kubelet_volume_stats_available_bytes{namespace=~"$namespace|$users"}'
    " / kubelet_volume_stats_capacity_bytes"
)


def build() -> Dashboard:
    """Return the dashboard."""
    in_use = f'container_memory_working_set_bytes{{{USERS},container!=""}}'
    cores = f'container_cpu_usage_seconds_total{{{USERS},container!=""}}'
    restarts = f"kube_pod_container_status_restarts_total{{{COMPONENTS}}}"
    loop = quantiles("jupyterhub_event_loop_interval_seconds")[0][0]
    panels = [
        figure(
            "Memory of nodes, promised",
            "percentunit",
            f"sum({REQUESTS}{{{MEMORY}}}) / sum({ALLOCATABLE}{{{MEMORY}}})",
            about="The guarantees of all pods, as a share of what the nodes have.",
            red_from=0.9,
        ),
        figure(
            "CPU of nodes, promised",
            "percentunit",
            f"sum({REQUESTS}{{{CPU}}}) / sum({ALLOCATABLE}{{{CPU}}})",
            about="The guarantees of all pods, as a share of what the nodes have.",
            red_from=0.9,
        ),
        figure("Pending servers", "short", f'sum({PHASES},phase="Pending"}})', red_from=1),
        figure("Memory of users", "bytes", f"sum({in_use})"),
        figure("Fullest volume", "percentunit", f"1 - min({USED})", red_from=0.9),
        figure(
            "Restarts, 24 h",
            "short",
            f"round(sum(increase({restarts}[24h])))",
            about="Of hub, proxy and gateway.",
            red_from=1,
        ),
        graph(
            "Users' pods", "short", (f"sum by (phase) ({PHASES}}}) > 0", "{{phase}}"), stacked=True
        ),
        graph(
            "Memory of users' pods",
            "bytes",
            (f"sum({in_use})", "in use"),
            (f"sum({REQUESTS}{{{USERS},{MEMORY}}})", "guaranteed"),
        ),
        graph(
            "CPU of users' pods",
            "short",
            (f"sum(rate({cores}{RATE}))", "in use"),
            (f"sum({REQUESTS}{{{USERS},{CPU}}})", "guaranteed"),
            about="In cores.",
        ),
        graph(
            "Memory of hub, proxy and gateway",
            "bytes",
            (f"max by (job) ({selector('process_resident_memory_bytes', JOBS)})", "{{job}}"),
        ),
        graph(
            "CPU of hub, proxy and gateway",
            "percentunit",
            (
                f"max by (job) (rate({selector('process_cpu_seconds_total', JOBS)}{RATE}))",
                "{{job}}",
            ),
            about="Of one core. The hub and the proxy can use no more than one.",
        ),
        graph(
            "The proxy's requests a second",
            "reqps",
            (rate("requests_web", JOBS), "HTTP"),
            (rate("requests_ws", JOBS), "WebSockets opened"),
            stacked=True,
        ),
        graph(
            "The proxy's answers a second",
            "reqps",
            (rate("requests_proxy", JOBS, by="status"), "{{status}}"),
            stacked=True,
        ),
        graph(
            "Delay of event loops",
            "s",
            (f"{loop} - 0.05", "hub, 95 %"),
            (f"max({selector('nodejs_eventloop_lag_p99_seconds', JOBS)})", "proxy, 99 %"),
            about="How long everything that happens has to wait.",
        ),
        graph(
            "Volumes, used",
            "percentunit",
            (f"topk(5, 1 - min by (persistentvolumeclaim) ({USED}))", "{{persistentvolumeclaim}}"),
            about="The five fullest.",
            most=1,
        ),
    ]
    about = "What the release and its users take, and what is left."
    return make("capacity", about, panels, users=True)
