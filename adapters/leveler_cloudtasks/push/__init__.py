"""Push: somebody calls us, the request is the delivery, and its answer the settlement. Knows nothing of Cloud Tasks.

server.py     HTTP, with time limits for slow callers
endpoint.py   one ASGI app: who may call, how large, which queue
exchange.py   one request, until it is answered
desk.py       the requests of one queue, and the receivers that want them
receiver.py   the contract's receiver on top
"""

from leveler_cloudtasks.push.desk import Desk as Desk
from leveler_cloudtasks.push.desk import Desks as Desks
from leveler_cloudtasks.push.endpoint import Arrived as Arrived
from leveler_cloudtasks.push.endpoint import Endpoint as Endpoint
from leveler_cloudtasks.push.endpoint import Guard as Guard
from leveler_cloudtasks.push.exchange import Exchange as Exchange
from leveler_cloudtasks.push.receiver import PushReceiver as PushReceiver
from leveler_cloudtasks.push.server import Server as Server
from leveler_cloudtasks.push.server import Servers as Servers

__all__ = ["Arrived", "Desk", "Desks", "Endpoint", "Exchange", "Guard", "PushReceiver", "Server", "Servers"]
