import asyncio
from leveler_servicebus.emulator.clock import EmulatorClock
from leveler_servicebus.emulator.entity.settings import QueueSettings
from leveler_servicebus.emulator.namespace import Namespace
from leveler_servicebus.emulator.server import Emulator
from leveler_servicebus.emulator.signature import Policy, Signatures


async def main():
    ns = Namespace(
        clock=EmulatorClock(), signatures=Signatures([Policy(name="RootManageSharedAccessKey", key="SAS_KEY_VALUE")])
    )
    ns.create("q1", QueueSettings())
    ns.create("s1", QueueSettings(requires_session=True))
    async with Emulator(ns, port=5672) as e:
        print(e.port, flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
