"""infra/COSTS.md says what infra/costs.py computes, from the prices that the code uses."""

import importlib.util
import re

import pytest
import rules

SPEC = importlib.util.spec_from_file_location("costs", rules.ROOT / "infra" / "costs.py")
costs = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(costs)
PAGE = (rules.ROOT / "infra" / "COSTS.md").read_text()


def test_page_has_the_tables():
    assert costs.tables() in PAGE
    assert f"{costs.endpoint_month():,.0f} USD a month for one" in PAGE
    assert f"{costs.around() * 1e6:.2f} USD a\nmillion asked" in PAGE


@pytest.mark.parametrize("name", ["LAMBDA_GB_SECOND", "LAMBDA_REQUEST", "SQS_REQUEST", "WRITE_UNIT", "READ_UNIT"])
def test_prices_are_those_of_the_estimates_on_records(name):
    code = (rules.ROOT / "shared" / "service" / "src" / "prices.rs").read_text()
    (price,) = re.findall(rf"const {name}: f64 = ([0-9.]+);", code)
    assert getattr(costs, name) == pytest.approx(float(price) / 1e6)


def test_machine_and_memory_are_those_of_template_and_policy():
    parameters = rules.transformed()["Parameters"]
    assert parameters["EscalateMemory"]["Default"] == costs.LAMBDA_MB
    policy = (rules.ROOT / "shared/domain/policies/second-opinion.yaml").read_text()
    assert f"usd_per_hour: {costs.ENDPOINT_USD_HOUR} # {parameters['EndpointInstance']['Default']}" in policy


def test_fewer_seconds_and_fewer_posts_cost_less():
    before = costs.tables()
    try:
        costs.SECONDS["a text"] = 0.010
        assert costs.tables() != before
    finally:
        costs.SECONDS["a text"] = 0.020


def test_every_alarm_is_counted_on_the_page():
    alarms = [r for r in rules.deployed(rules.transformed()).values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    words = {15: "fifteen", 16: "sixteen", 17: "seventeen", 18: "eighteen"}
    assert f"{words[len(alarms)]} alarms at 0.10 USD a month, {len(alarms) / 10:.2f} USD" in PAGE
