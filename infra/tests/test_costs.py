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


def alarms_and_metrics(**parameters):
    """How many alarms a deployment has, and over how many metrics; a band of what is expected is paid as three."""
    deployed = rules.deployed(rules.transformed(), **parameters).values()
    alarms = [r["Properties"] for r in deployed if r["Type"] == "AWS::CloudWatch::Alarm"]
    watched = [1 if "MetricName" in a else 3 if "ThresholdMetricId" in a else sum("MetricStat" in m for m in a["Metrics"]) for a in alarms]
    return len(alarms), sum(watched)


def test_every_alarm_is_counted_on_the_page():
    alarms, metrics = alarms_and_metrics()
    assert alarms == metrics, "by default every alarm is over one metric"
    assert f"{alarms} alarms at {costs.ALARM_METRIC:.2f} USD a month, {alarms * costs.ALARM_METRIC:.2f} USD" in PAGE
    alarms, metrics = alarms_and_metrics(Stage="prod", AlarmTopicArn="topic")
    assert f"in prod {alarms} alarms over {metrics} metrics, {metrics * costs.ALARM_METRIC:.2f} USD" in PAGE


def test_page_says_what_a_day_costs_and_what_bounds_it():
    assert costs.days() in PAGE and costs.bounds() in PAGE
    assert f"{costs.LAMBDA_MB:,} MB" in PAGE
    waiting = costs.BATCH / costs.KINDS["a benign majority"][0] + costs.WAIT_SECONDS
    assert f"up to {waiting / costs.WAIT_SECONDS:.1f} times as much besides" in PAGE


def test_bound_is_that_of_the_template():
    template = rules.transformed()
    stages = template["Mappings"]["Stages"]
    assert costs.AT_ONCE == {stage: (by["ScoreConcurrency"], by["EscalateConcurrency"]) for stage, by in stages.items()}
    assert template["Parameters"]["ScoreMemory"]["Default"] == costs.LAMBDA_MB
    assert template["Resources"]["ScoreMapping"]["Properties"]["BatchSize"] == costs.BATCH


def test_bound_by_hand():
    """200 and 50 batches, 86,400 seconds, 1,769 MB at 0.0000166667 USD a GB-second."""
    assert costs.time_a_day("prod") == pytest.approx(250 * 86_400 * 1769 / 1024 * 0.0000166667)
    assert 621 < costs.time_a_day("prod") < 623


def test_measured_figures_are_those_of_the_readme():
    page = (rules.ROOT / "README.md").read_text()
    (benign, cheap, some), (hate, dear, many) = costs.KINDS.values()
    assert f"{benign} posts a second\nto" in page and f"and {hate} to" in page
    assert f"{cheap} and {dear} USD a million posts" in page
    assert f"({100 * some:.1f} % of decisions above approve)" in page and f"({100 * many:.1f} %)" in page


def test_more_at_once_costs_more():
    before = costs.bounds()
    at_once = costs.AT_ONCE["prod"]
    try:
        costs.AT_ONCE["prod"] = (201, 50)
        assert costs.bounds() != before
    finally:
        costs.AT_ONCE["prod"] = at_once
