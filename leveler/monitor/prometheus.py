"""The measures as Prometheus reads them, with what the handlers' own code has registered at the client library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from leveler.monitor.figures import AppFigures
from leveler.monitor.measures import Measure, measures

if TYPE_CHECKING:
    from prometheus_client import Metric


class MissingClient(Exception):
    """The client library is not installed."""

    def __init__(self) -> None:
        super().__init__("metrics need prometheus-client: pip install 'leveler-mq[metrics]'; /figures works without it")


def metrics(figures: AppFigures, accept: str) -> tuple[str, bytes]:
    """Content type and text.

    Args:
        figures: to be shown.
        accept: the reader's Accept header: it chooses among the library's formats.

    Raises:
        MissingClient: says what to install.
    """
    try:
        from prometheus_client import CollectorRegistry
        from prometheus_client.exposition import choose_encoder
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise MissingClient from error
    registry = CollectorRegistry()
    registry.register(_Collector(figures))
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class _Collector:
    """Ours, and then what stands in the library's own registry."""

    def __init__(self, figures: AppFigures) -> None:
        self._figures = figures

    def describe(self) -> list[Any]:
        return []  # or the registry would collect at once, to learn the names

    def collect(self) -> Iterator[Metric]:
        from prometheus_client import REGISTRY

        yield from map(_family, measures(self._figures))
        yield from REGISTRY.collect()


def _family(measure: Measure) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

    kind = CounterMetricFamily if measure.kind == "counter" else GaugeMetricFamily
    family = kind(measure.name, measure.help, labels=measure.labels)
    for labels, value in measure.values.items():
        family.add_metric(labels, value)
    return family
