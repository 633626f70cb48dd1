"""The hook, the farm's task and the script for CloudWatch, when things go well and when not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from bench.free_ports import free_port
from docs.metrics_pages import series
from support.cloudwatch_server import running_cloudwatch
from support.how_to_kit import HOW_TO, Example, ask, submitted_jobs
from support.sample_gateway import Sample

FRAMES = "01_VFX/SEQ_010/SH_0040/comp/v003/SEQ_010_SH_0040.%04d.exr"
SCRIPT = f"""
Read {{
 file "X:/tc-east-1/{FRAMES}"
 first 1001
 last 1003
}}
"""


def load(name: str) -> ModuleType:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(name, HOW_TO / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nowhere() -> str:
    """A URL at which nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


# The hook


@pytest.fixture
def hook(tmp_path: Path, sample: Sample) -> Example:
    return Example("publish_hook.sh", tmp_path, sample)


def published(hook: Example, *paths: str) -> Path:
    path = hook.folder / "published.txt"
    path.write_text("".join(f"{it}\n" for it in paths), encoding="utf-8")
    return path


def test_the_hook_says_when_some_files_could_not_be_read(hook: Example) -> None:
    done = hook.run(published(hook, "01_VFX/SEQ_010", "00_Media/gone.mov"))
    assert done.returncode == 6, done.stdout
    assert done.stdout.endswith("Some files could not be read: teamcache-gateway jobs --limit 1\n")


def test_the_hook_takes_names_that_have_tripped_somebody_up(hook: Example) -> None:
    done = hook.run(published(hook, "02_Audio & Edit/Director's cut", "02_Audio & Edit/東京"))
    assert done.returncode == 0, done.stdout


def test_the_hook_asks_to_be_tried_again_after_its_minutes(hook: Example) -> None:
    # No Python has started by then.
    done = hook.run(published(hook, "01_VFX"), "0.0001")
    assert done.returncode == 75, done.stdout
    assert done.stdout.endswith("Not ready after 0.0001 minutes; the job goes on by itself.\n")


def test_the_hook_does_not_ask_again_with_a_wrong_key(hook: Example) -> None:
    done = hook.run(published(hook, "01_VFX"), TEAMCACHE_API_KEY="wrong")
    assert done.returncode == 5, done.stdout


def test_the_hook_without_its_list_is_a_mistake(hook: Example) -> None:
    assert hook.run().returncode == 1
    assert hook.run("missing.txt").returncode == 2


# The farm's task


@pytest.fixture
def prejob(tmp_path: Path, sample: Sample) -> Example:
    (tmp_path / "shot.nk").write_text(SCRIPT, encoding="utf-8")
    return Example("render_prejob.py", tmp_path, sample)


def test_the_task_repeated_submits_nothing_more_unless_the_job_was_cancelled(
    prejob: Example,
    sample: Sample,
) -> None:
    before = len(submitted_jobs(sample))
    for _ in range(2):
        done = prejob.run("shot.nk")
        assert done.returncode == 0, done.stdout
        assert done.stdout.endswith("completed: 3 of 3 files are in the cache\n")
    assert len(submitted_jobs(sample)) == before + 1
    note = prejob.folder / "shot.nk.cachejob"
    frozen = json.loads(note.read_text())
    # One that is known to nobody any more is like one that was cancelled: of no use.
    note.write_text(json.dumps(frozen | {"job": "6bb4629b-1487-477c-96fe-b762d82a099b"}))
    assert prejob.run("shot.nk").stdout.startswith("Job ")
    assert len(submitted_jobs(sample)) == before + 2


def test_a_script_that_reads_other_files_gets_another_job(
    prejob: Example,
    sample: Sample,
) -> None:
    prejob.run("shot.nk")
    before = len(submitted_jobs(sample))
    (prejob.folder / "shot.nk").write_text(SCRIPT.replace("1003", "1004"), encoding="utf-8")
    assert "completed: 4 of 4 files" in prejob.run("shot.nk").stdout
    assert len(submitted_jobs(sample)) == before + 1


def test_the_render_starts_when_the_cache_is_late(prejob: Example) -> None:
    done = prejob.run("shot.nk", "0")
    assert (done.returncode, done.stdout) == (
        0,
        "Not ready after 0 minutes: rendering all the same\n",
    )


def test_the_render_starts_without_a_gateway_and_without_a_key(prejob: Example) -> None:
    done = prejob.run("shot.nk", TEAMCACHE_URL=nowhere())
    assert done.returncode == 0
    assert done.stdout.startswith("No cache for this render: The gateway cannot be reached")
    done = prejob.run("shot.nk", TEAMCACHE_API_KEY="wrong")
    assert (done.returncode, done.stdout) == (
        0, "No cache for this render: Invalid or missing API key\n",
    )  # fmt: skip


def test_a_scene_that_reads_nothing_needs_no_job(prejob: Example) -> None:
    (prejob.folder / "shot.nk").write_text("Write {\n file out.%04d.exr\n}\n", encoding="utf-8")
    done = prejob.run("shot.nk")
    assert (done.returncode, done.stdout) == (0, "shot.nk reads nothing\n")


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("Read {\n file a.mov\n}\n", ["a.mov"]),
        ('Read {\n file "a b.mov"\n}\nRead {\n file "a b.mov"\n}\n', ["a b.mov"]),
        ("Read {\n file a.%02d.exr\n first 9\n last 10\n}\n", ["a.09.exr", "a.10.exr"]),
        ("Read {\n file a.%d.exr\n first 9\n last 10\n}\n", ["a.9.exr", "a.10.exr"]),
        ("Read {\n file a.####.exr\n first 7\n last 7\n}\n", ["a.0007.exr"]),
        ("Group {\n Read {\n  file a.mov\n }\n}\n", ["a.mov"]),
        ("DeepRead {\n file d.exr\n}\n", ["d.exr"]),
        ("Read {\n name empty\n}\n", []),
        ("Write {\n file out.mov\n}\n", []),
    ],
)
def test_the_files_of_a_nuke_script_are_found(text: str, files: list[str]) -> None:
    assert load("render_prejob").inputs_of(text) == files


# The script for CloudWatch


@pytest.fixture
def pusher(tmp_path: Path, sample: Sample) -> Example:
    return Example("cloudwatch_metrics.py", tmp_path, sample)


def test_what_is_pushed_is_what_the_gateway_measures(
    pusher: Example,
    sample: Sample,
) -> None:
    ask(sample, "POST", "/cache/jobs", {"files": ["00_Media/Farm/ProRes422/Farm00001.mov"]})
    with running_cloudwatch() as cloudwatch:
        done = pusher.run("--once", AWS_REGION="eu-west-1", **cloudwatch.environment)
    assert done.returncode == 0, done.stdout
    [request] = cloudwatch.requests
    assert (request.operation, request.region) == ("PutMetricData", "eu-west-1")
    assert request.body["Namespace"] == "TeamCacheGateway"
    data = request.body["MetricData"]
    [healthy] = [it for it in data if it["MetricName"] == "healthy"]
    assert healthy["Value"] == 1
    jobs = {it["Dimensions"][0]["Value"]: it for it in data if it["MetricName"] == "jobs"}
    assert set(jobs) == {"pending", "running", "paused", "completed", "failed", "cancelled"}
    assert sum(it["Value"] for it in jobs.values()) == len(submitted_jobs(sample)) > 0
    assert {it["Unit"] for it in jobs.values()} == {"Count"}


def test_a_gateway_that_is_away_is_pushed_as_not_healthy(pusher: Example) -> None:
    with running_cloudwatch() as cloudwatch:
        environ = {"AWS_REGION": "eu-west-1", "TEAMCACHE_URL": nowhere()}
        done = pusher.run("--once", **environ, **cloudwatch.environment)
    assert (done.returncode, done.stdout) == (0, "Pushed 1 figures\n")
    [request] = cloudwatch.requests
    [figure] = request.body["MetricData"]
    assert (figure["MetricName"], figure["Value"]) == ("healthy", 0)


def test_the_alarm_watches_what_is_pushed(pusher: Example) -> None:
    topic = "arn:aws:sns:eu-west-1:123456789012:on-call"
    with running_cloudwatch() as cloudwatch:
        pusher.run("--once", "--alarm", topic, AWS_REGION="eu-west-1", **cloudwatch.environment)
    alarm, pushed = (it.body for it in cloudwatch.requests)
    assert alarm["AlarmActions"] == [topic]
    assert alarm["Namespace"] == pushed["Namespace"]
    assert alarm["MetricName"] in [it["MetricName"] for it in pushed["MetricData"]]
    assert alarm["TreatMissingData"] == "breaching"


def test_what_cloudwatch_refuses_is_said_and_does_not_end_the_script(pusher: Example) -> None:
    with running_cloudwatch() as cloudwatch:
        cloudwatch.status = 400
        done = pusher.run("--once", AWS_REGION="eu-west-1", **cloudwatch.environment)
    assert done.returncode == 0, done.stdout
    assert done.stdout.startswith("Not pushed: ")


def test_a_wrong_secret_is_noticed(pusher: Example) -> None:
    with running_cloudwatch() as cloudwatch:
        environ = {**cloudwatch.environment, "AWS_SECRET_ACCESS_KEY": "guessed"}
        done = pusher.run("--once", AWS_REGION="eu-west-1", **environ)
    assert done.stdout.startswith("Not pushed: ")
    assert cloudwatch.requests == []


def test_every_series_that_is_pushed_is_there() -> None:
    assert set(load("cloudwatch_metrics").UNITS) <= set(series())
