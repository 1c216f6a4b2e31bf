"""What stands in contrib/examples runs as its README says."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from leveler import Leveler
from leveler.monitor.measures import measures
from leveler.testing import TestApp

CONTRIB = Path(__file__).parents[2] / "contrib"
EXAMPLES = CONTRIB / "examples"
README = CONTRIB.parent / "README.md"


@pytest.mark.parametrize("broker", ["memory://", "sqlite:///orders.db"])
def test_the_same_handlers_run_on_another_broker_by_one_variable(tmp_path: Path, broker: str) -> None:
    shutil.copy(EXAMPLES / "handlers.py", tmp_path)
    command = [sys.executable, "-m", "leveler", "run", "handlers:app", "--log-level", "error"]
    environment = {**os.environ, "LEVELER_BROKER": broker}

    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as worker:
        try:
            assert worker.stdout is not None
            lines = [worker.stdout.readline()]
            while "order 5, attempt 2" not in lines[-1]:
                assert lines[-1], lines
                lines.append(worker.stdout.readline())
            worker.send_signal(signal.SIGTERM)
            out, _ = worker.communicate(timeout=20)
        finally:
            worker.kill()

    assert worker.returncode == 0
    assert "9 orders, 427.50 in all" in out
    assert "orders: 9 completed, 1 retried, 1 dead-lettered, 0 given back, 0 left leased" in out


def scaled() -> Any:
    return yaml.safe_load((CONTRIB / "autoscaling" / "keda.yaml").read_text())


def test_the_scaler_starts_the_first_worker_by_the_queue_and_all_others_by_the_workers() -> None:
    spec = scaled()["spec"]
    assert (scaled()["apiVersion"], scaled()["kind"]) == ("keda.sh/v1alpha1", "ScaledObject")
    assert spec["scaleTargetRef"]["name"]
    assert 0 == spec["minReplicaCount"] < spec["maxReplicaCount"]
    workers, queue = spec["triggers"]
    assert (workers["type"], workers["metricType"]) == ("prometheus", "AverageValue")
    assert workers["metadata"]["threshold"] == "1"
    assert workers["metadata"]["ignoreNullValues"] == "false"
    assert int(queue["metadata"]["value"]) > 10**8
    assert queue["metadata"]["activationValue"] == "0"
    texts = [value for trigger in spec["triggers"] for value in trigger["metadata"].values()]
    assert all(isinstance(text, str) for text in texts)  # Kubernetes takes nothing else there


async def test_the_scaler_asks_for_what_a_worker_shows_and_as_the_readme_says() -> None:
    app = Leveler()

    @app.consumer("orders", concurrency=3)
    async def handle(order: dict[str, str]) -> None: ...

    async with TestApp(app) as t:
        await t.send("orders", {})
        await t.drain()
        shown = {measure.name: measure for measure in measures(await app.figures())}

    query = scaled()["spec"]["triggers"][0]["metadata"]["query"]
    asked = re.findall(r'(max|sum)\((leveler_\w+)\{queue="orders"\}\)', query)
    assert asked == [
        ("max", "leveler_needed_workers"),
        ("sum", "leveler_busy_workers"),
        ("sum", "leveler_borne_workers"),
    ]
    assert [(shown[name].kind, shown[name].labels) for _, name in asked] == [("gauge", ("queue",))] * 3
    assert all(("orders",) in shown[name].values for _, name in asked)
    assert query in README.read_text()
    assert query.count("(") == query.count(")")
