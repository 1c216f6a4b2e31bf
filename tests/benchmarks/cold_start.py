"""How long a cold start of a Lambda function takes: to import all of it, and to answer its first event.

python -m tests.benchmarks.cold_start [ROUNDS]
"""

from __future__ import annotations

import json
import subprocess
import sys
from statistics import median
from typing import Final

#: In a process of its own, as Lambda has it. No service is there, and none is needed.
_FUNCTION: Final = """
import json, time
began = time.perf_counter()
from leveler import Leveler
from leveler_lambda import lambda_handler

app = Leveler("sqs://us-east-1?endpoint_url=http://127.0.0.1:9")

@app.consumer("orders")
async def process(order: dict) -> None: ...

handler = lambda_handler(app)
times = [began, time.perf_counter()]

class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 30_000

record = {
    "messageId": "1", "receiptHandle": "1", "body": "{}", "eventSource": "aws:sqs", "attributes": {},
    "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders", "messageAttributes": {},
}
for _ in range(2):
    assert handler({"Records": [record]}, Context()) == {"batchItemFailures": []}
    times.append(time.perf_counter())
print(json.dumps([later - earlier for earlier, later in zip(times, times[1:])]))
"""


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    taken = [json.loads(subprocess.check_output([sys.executable, "-c", _FUNCTION])) for _ in range(rounds)]
    for name, values in zip(("import", "first event", "next event"), zip(*taken, strict=True), strict=True):
        print(f"{name:<12} {median(values) * 1000:7.1f} ms  [{min(values) * 1000:.1f}-{max(values) * 1000:.1f}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
