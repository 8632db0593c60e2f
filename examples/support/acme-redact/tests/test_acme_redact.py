"""acme.redact keeps to the rules of all policies."""

from __future__ import annotations

import pytest
from acme_redact import REDACT

from wizard_dsl.testing.conformance import Case, cases


@pytest.mark.parametrize("case", cases(REDACT, configs=[{"words": ["Falcon"], "emails": False}]), ids=str)
def test_it_keeps_to_the_rules_of_all_policies(case: Case) -> None:
    case()
