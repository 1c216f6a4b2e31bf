"""What stands in contrib/examples runs as its README says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "contrib" / "examples"


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
