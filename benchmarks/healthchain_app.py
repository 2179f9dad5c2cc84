"""HealthChain answering order-sign with one card per ServiceRequest, each checked by its own FHIR models.

Run by a Python that has healthchain installed, on the same server (granian) as what it is measured against.
"""

from __future__ import annotations

import sys

from fhir.resources.R4B.servicerequest import ServiceRequest
from healthchain.gateway import CDSHooksService, HealthChainAPI
from healthchain.models.requests.cdsrequest import CDSRequest
from healthchain.models.responses.cdsresponse import Card, CDSResponse, Source


def orders(request: CDSRequest) -> list[ServiceRequest]:
    """The ServiceRequests, validated. They come in prefetch: HealthChain's request model has no draftOrders."""
    entries = (request.prefetch or {})["draftOrders"]["entry"]
    return [ServiceRequest.model_validate(entry["resource"]) for entry in entries]


def application() -> HealthChainAPI:
    """One hook."""
    service = CDSHooksService()

    @service.hook("order-sign", id="order-sign-advisor")
    def sign(request: CDSRequest) -> CDSResponse:
        return CDSResponse(cards=[
            Card(summary=f"Order {order.id} was read", indicator="info", source=Source(label="HealthChain"))
            for order in orders(request)
        ])  # fmt: skip

    app = HealthChainAPI()
    app.register_service(service)
    return app


if __name__ == "__main__":
    from granian import Granian
    from granian.constants import Interfaces

    port, workers = int(sys.argv[1]), int(sys.argv[2])
    Granian(
        "healthchain_app:application", "127.0.0.1", port, interface=Interfaces.ASGI, workers=workers, factory=True
    ).serve()
