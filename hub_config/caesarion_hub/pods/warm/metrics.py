"""What Prometheus reads about warm pods, in the hub's own ``/hub/metrics``. Written by callers."""

from prometheus_client import Counter, Gauge, Histogram

WARM_PODS = Gauge(
    "caesarion_warm_pods", "Pods that wait for a user, by whether they can be claimed.", ["state"]
)
STARTS = Histogram(
    "caesarion_server_start_seconds",
    "Seconds in which users' servers became ready, by whether a warm pod was claimed.",
    ["kind"],
    buckets=(0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60, 120, 300),
)
FAILED_CLAIMS = Counter(
    "caesarion_warm_claims_failed", "Claims that a warm pod refused or did not answer."
)

for _state in ("ready", "starting"):
    WARM_PODS.labels(_state)  # 0 is said, too
