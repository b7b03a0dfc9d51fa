"""Jobs: pods until enough of them have succeeded. Called by ``controllers.__main__``."""

import time

from tests.fakes.kubernetes.client import ApiError, Json
from tests.fakes.kubernetes.controllers.pods import active, make_pod, phase
from tests.fakes.kubernetes.controllers.replicasets import TRY_AGAIN
from tests.fakes.kubernetes.controllers.world import World, conditions, leaves, reference
from tests.fakes.kubernetes.times import now, read


async def reconcile(world: World) -> None:
    """Start pods, count those that ended, and say when a Job is over."""
    for one in world.cache.all("jobs"):
        if not leaves(one) and not _over(one):
            await _work(world, one)


def _over(job: Json) -> bool:
    return any(
        one["type"] in ("Complete", "Failed") and one["status"] == "True"
        for one in job.get("status", {}).get("conditions") or []
    )


async def _work(world: World, job: Json) -> None:
    spec = job["spec"]
    pods = world.cache.owned("pods", job)
    running = [pod for pod in pods if active(pod)]
    succeeded = sum(phase(pod) == "Succeeded" for pod in pods)
    failed = sum(phase(pod) == "Failed" for pod in pods)
    wanted = spec.get("completions") or 1
    verdict = _verdict(world, job, succeeded >= wanted, failed)
    if verdict:
        for pod in running:
            await world.delete("pods", pod)
        running = []
    elif not spec.get("suspend"):
        room = min(spec.get("parallelism") or 1, wanted - succeeded) - len(running)
        for _ in range(room):
            try:
                running.append(await world.create("pods", make_worker(job)))
            except ApiError as error:
                thing = {**job, "apiVersion": "batch/v1"}
                world.events.warning(thing, "Job", "FailedCreate", f"Error creating: {error}")
                world.again_in(TRY_AGAIN)
                break
    status: Json = {
        "startTime": job.get("status", {}).get("startTime") or now(),
        "active": len(running),
        "succeeded": succeeded,
        "failed": failed,
    }
    if verdict:
        kind, reason, message = verdict
        before = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
        status["conditions"] = conditions(
            job, now(), (before, "True", reason, message), (kind, "True", reason, message)
        )
        if kind == "Complete":
            status["completionTime"] = now()
    await world.set_status("jobs", job, status)


def _verdict(world: World, job: Json, done: bool, failed: int) -> tuple[str, str, str] | None:
    if done:
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    if failed > job["spec"].get("backoffLimit", 6):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    limit, began = job["spec"].get("activeDeadlineSeconds"), job.get("status", {}).get("startTime")
    if limit and began:
        left = read(began) + limit - time.time()
        if left <= 0:
            return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
        world.again_in(left)
    return None


def make_worker(job: Json) -> Json:
    """Return a pod of a Job, with the labels by which its pods are found."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    return make_pod(job["spec"]["template"], job, reference(job, "batch/v1", "Job"), labels)
