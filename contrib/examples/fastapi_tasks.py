"""Handlers of Google Cloud Tasks inside a FastAPI service: the tasks arrive at a path of its own.

leveler emulate cloudtasks &
uvicorn fastapi_tasks:api --port 8080
curl -X POST localhost:8080/orders -H 'content-type: application/json' -d '{"id": "42", "total": 9.5}'
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from leveler_cloudtasks import CloudTasksOptions, mounted
from pydantic import BaseModel

from leveler import Leveler


class Order(BaseModel):
    id: str
    total: float


# On Google's side: endpoint="https://orders.example.com/tasks", service_account="tasks@my-shop.iam.gserviceaccount.com"
tasks = mounted(
    "cloudtasks://local/here",
    CloudTasksOptions(
        emulator=os.environ.get("EMULATOR", "127.0.0.1:8123"),
        endpoint=os.environ.get("ENDPOINT", "http://127.0.0.1:8080/tasks"),
    ),
)
queues = Leveler(tasks, config=os.environ.get("LEVELER_CONFIG"))


@queues.consumer("orders")
async def charge(order: Order) -> None:
    print(f"charged {order.total:.2f} for order {order.id}", flush=True)


@asynccontextmanager
async def lifespan(api: FastAPI) -> AsyncIterator[None]:
    async with queues.working():
        yield


api = FastAPI(lifespan=lifespan)
api.mount("/tasks", tasks.endpoint)


@api.post("/orders", status_code=202)
async def take(order: Order) -> None:
    await queues.send("orders", order)
