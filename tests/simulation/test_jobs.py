import asyncio
from typing import Any

from kubelite.api.kinds.batch import CronJob, Job
from kubelite.api.kinds.core.pods import Pod
from simulation.cluster import SimulatedCluster
from simulation.simulated_loop import run_simulated


def job_spec(*command: str, **spec: Any) -> dict[str, Any]:
    return {
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "work", "image": "work:1", "command": list(command)}],
            }
        },
        **spec,
    }


def finished(cluster: SimulatedCluster, name: str) -> str:
    for job in cluster.all(Job):
        if job.metadata.name == name:
            for one in job.status.conditions:
                if one.type in ("Complete", "Failed") and one.status == "True":
                    return f"{one.type} {one.reason}"
    return ""


def job_named(cluster: SimulatedCluster, name: str) -> Job:
    return next(job for job in cluster.all(Job) if job.metadata.name == name)


async def jobs_story() -> None:
    async with SimulatedCluster(7, nodes=2) as cluster:
        most = 0

        def count(_before: Pod | None, _after: Pod | None) -> None:
            nonlocal most
            running = [
                pod for pod in cluster.all(Pod) if pod.status.phase in ("Pending", "Running")
            ]
            most = max(most, len([pod for pod in running if pod.metadata.name.startswith("five")]))

        cluster.mirrors.mirror(Pod).subscribe(count)
        await cluster.create(
            Job,
            {"metadata": {"name": "five"}, "spec": job_spec("true", completions=5, parallelism=2)},
        )
        await cluster.create(
            Job, {"metadata": {"name": "bad"}, "spec": job_spec("false", backoffLimit=2)}
        )
        indexed = job_spec("true", completions=4, parallelism=4, completionMode="Indexed")
        await cluster.create(Job, {"metadata": {"name": "indexed"}, "spec": indexed})
        slow = job_spec("sleep", "1000", activeDeadlineSeconds=30)
        await cluster.create(Job, {"metadata": {"name": "slow"}, "spec": slow})
        names = ("five", "bad", "indexed", "slow")
        await cluster.until(lambda: all(finished(cluster, name) for name in names))
        outcomes = {name: finished(cluster, name) for name in names}
        assert outcomes == {
            "five": "Complete CompletionsReached",
            "bad": "Failed BackoffLimitExceeded",
            "indexed": "Complete CompletionsReached",
            "slow": "Failed DeadlineExceeded",
        }
        five = job_named(cluster, "five").status
        assert (five.succeeded, five.failed, five.active, most) == (5, 0, 0, 2)
        assert five.completionTime
        assert job_named(cluster, "bad").status.failed == 3
        done = job_named(cluster, "indexed").status
        assert (done.completedIndexes, done.succeeded) == ("0-3", 4)
        hosts = {pod.spec.hostname for pod in cluster.all(Pod) if "indexed" in pod.metadata.name}
        assert hosts == {f"indexed-{number}" for number in range(4)}
        await asyncio.sleep(60)
        assert not [pod for pod in cluster.all(Pod) if pod.metadata.finalizers]
        await cluster.client.delete(Job, "five", "default", propagation="Background")
        await cluster.until(
            lambda: not [pod for pod in cluster.all(Pod) if pod.metadata.name.startswith("five")],
            60,
        )


def test_jobs_complete_fail_and_count_each_pod_once() -> None:
    run_simulated(7, jobs_story)


async def suspension_story() -> None:
    async with SimulatedCluster(9, nodes=1) as cluster:
        spec = job_spec("sleep", "20", suspend=True)
        await cluster.create(Job, {"metadata": {"name": "later"}, "spec": spec})
        await asyncio.sleep(30)
        assert not cluster.all(Pod)
        assert job_named(cluster, "later").status.startTime is None
        await cluster.client.patch(Job, "later", {"spec": {"suspend": False}}, "default")
        await cluster.until(lambda: finished(cluster, "later"))
        assert finished(cluster, "later").startswith("Complete")


def test_a_suspended_job_waits() -> None:
    run_simulated(9, suspension_story)


async def cron_story() -> None:
    async with SimulatedCluster(8, nodes=1) as cluster:
        await cluster.create(
            CronJob,
            {
                "metadata": {"name": "tick"},
                "spec": {
                    "schedule": "*/5 * * * *",
                    "successfulJobsHistoryLimit": 2,
                    "jobTemplate": {"spec": job_spec("true")},
                },
            },
        )
        started: list[str] = []
        cluster.mirrors.mirror(Job).subscribe(
            lambda before, after: (
                started.append(after.metadata.name) if before is None and after else None
            )
        )
        await asyncio.sleep(3650)
        assert len(started) == len(set(started)) == 12
        await asyncio.sleep(120)
        assert len(cluster.all(Job)) == 2
        (cron,) = cluster.all(CronJob)
        assert cron.status.active == []
        assert cron.status.lastScheduleTime == "2026-01-01T01:00:00Z"
        assert cron.status.lastSuccessfulTime is not None
        await cluster.client.patch(CronJob, "tick", {"spec": {"suspend": True}}, "default")
        await asyncio.sleep(900)
        assert len(started) == 12


def test_a_cron_job_starts_one_job_a_time() -> None:
    run_simulated(8, cron_story)
