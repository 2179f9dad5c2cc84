"""Requests made from `openapi.yaml`, right and wrong: every answer is one that the contract describes."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS
from support.contract import assert_no_internals
from support.paths import ROOT
from support.service import Service

schema = schemathesis.openapi.from_path(ROOT / "openapi.yaml")
# Demo mode asks for no token; a request that fits the contract may still be refused for what it says; and
# `$questionnaire-package` also looks like an id, which may be read: Allow names both.
LEFT_OUT = ("positive_data_acceptance", "ignored_auth", "allow_header_conformance")
SERVICES = ("order-sign-advisor", "order-select-advisor", "order-sign-crd", "patient-view-advisor")
DESCRIBED = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)
WANTED = CHECKS.get_by_names([name for name in CHECKS.get_all_names() if name not in LEFT_OUT])


@pytest.mark.xdist_group("schemathesis")
@schema.parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_every_answer_is_as_described(case: schemathesis.Case, service: Service) -> None:
    answered(case, service, WANTED)


@pytest.mark.xdist_group("schemathesis")
@schema.include(path_regex="^/cds-services/").parametrize()
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_services_on_offer_answer_as_described(case: schemathesis.Case, service: Service) -> None:
    # Made-up ids are hardly ever those of a service.
    case.path_parameters["id"] = SERVICES[len(str(case.body)) % len(SERVICES)]
    answered(case, service, DESCRIBED)


def answered(case: schemathesis.Case, service: Service, checks: Any) -> None:
    response = case.call(base_url=service.base, timeout=20)
    case.validate_response(response, checks=checks)
    if response.status_code >= 400:
        assert_no_internals(response.text)
