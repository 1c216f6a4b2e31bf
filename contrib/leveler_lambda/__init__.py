"""The same app on AWS Lambda, with SQS as its event source.

    from leveler_lambda import lambda_handler

    handler = lambda_handler(app)

An event becomes deliveries, and what the consumer does to each becomes the answer: what is completed is done, what is
to come again is in `batchItemFailures`. Limits, outcomes, dead letters and the order of keys are those of a worker.

    lambda_handler     makes what Lambda calls
    Batch              one event: its records, and the answer
    EventAdapter       the broker as the app sees it: nothing is fetched, messages are handed in
"""

from leveler_lambda.handler import LambdaHandler as LambdaHandler
from leveler_lambda.handler import lambda_handler as lambda_handler

__all__ = ["LambdaHandler", "lambda_handler"]
