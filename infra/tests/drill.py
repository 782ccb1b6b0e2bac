"""What an alarm of template.yaml makes of a series of values, computed as CloudWatch computes it: the local AWS has neither metrics nor alarms.

A series is a list of periods, oldest first; a period is the list of values that were reported in it, empty where none was.
"""

from __future__ import annotations

import json
import math
import re

import rules


def resolved(template: dict, name: str, **parameters) -> dict:
    """An alarm's properties under these parameters, thresholds and expressions filled in."""
    alarm = template["Resources"][name]["Properties"]
    known = {key: parameter.get("Default") for key, parameter in template["Parameters"].items()} | parameters

    def fill(value):
        if isinstance(value, list):
            return [fill(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "Fn::FindInMap" in value:
            mapping, first, second = (fill(part) for part in value["Fn::FindInMap"])
            return template["Mappings"][mapping][first][second]
        if "Fn::Sub" in value:
            text, more = (value["Fn::Sub"], {}) if isinstance(value["Fn::Sub"], str) else value["Fn::Sub"]
            more = known | {key: fill(item) for key, item in more.items()}
            return re.sub(r"\$\{([A-Za-z:]+)\}", lambda m: str(more.get(m[1], m[0])), text)
        return {key: fill(item) for key, item in value.items()}

    return fill(rules.resolve(template, alarm, parameters))


def statistic(name: str, values: list[float]) -> float | None:
    """Sum, Maximum, Average or a percentile such as p99 (nearest rank) of a period's values; None where there are none."""
    if not values:
        return None
    if name.startswith("p"):
        return sorted(values)[math.ceil(len(values) * float(name[1:]) / 100) - 1]
    return {"Sum": sum, "Maximum": max, "Average": lambda all_of: sum(all_of) / len(all_of)}[name](values)


def evaluate(expression: str, values: dict[str, float | None]) -> float | None:
    """A metric math expression of those that the template uses; None where a metric is missing, as CloudWatch answers nothing then."""
    if any(values.get(name) is None for name in re.findall(r"\b[a-z]+\b", expression)):
        return None
    python = re.sub(r"\bAND\b", "and", re.sub(r"\bOR\b", "or", expression))
    return eval(python, {"__builtins__": {}, "IF": lambda condition, then, otherwise: then if condition else otherwise}, dict(values))


def points(alarm: dict, series: dict[str, list[list[float]]]) -> list[float | None]:
    """One value a period: of the alarm's one metric (`series` has it under its name), or of its expression over several (by their ids)."""
    if "MetricName" in alarm:
        return [statistic(alarm.get("Statistic") or alarm["ExtendedStatistic"], values) for values in series[alarm["MetricName"]]]
    stats = {m["Id"]: m["MetricStat"]["Stat"] for m in alarm["Metrics"] if "MetricStat" in m}
    by_id = {name: [statistic(stat, values) for values in series[name]] for name, stat in stats.items()}
    if "ThresholdMetricId" in alarm:
        (returned,) = [m["Id"] for m in alarm["Metrics"] if m["Id"] != alarm["ThresholdMetricId"]]
        return by_id[returned]
    (expression,) = [m["Expression"] for m in alarm["Metrics"] if "Expression" in m]
    return [evaluate(expression, dict(zip(by_id, values, strict=True))) for values in zip(*by_id.values(), strict=True)]


def breaches(alarm: dict, value: float | None, expected: tuple[float, float]) -> bool:
    """Whether one point is wrong; `expected` is mean and deviation of what CloudWatch has learned, for bands."""
    if value is None:
        return alarm["TreatMissingData"] == "breaching"
    if "ThresholdMetricId" in alarm:
        (deviations,) = [float(re.search(r"ANOMALY_DETECTION_BAND\(\w+, ([0-9.]+)\)", m["Expression"])[1]) for m in alarm["Metrics"] if "Expression" in m]
        return value > expected[0] + deviations * expected[1]
    threshold = float(alarm["Threshold"])
    return value < threshold if alarm["ComparisonOperator"] == "LessThanThreshold" else value > threshold


def rings(alarm: dict, series: dict[str, list[list[float]]], expected: tuple[float, float] = (0, 0)) -> bool:
    """Whether the alarm is in state ALARM at the end of the series: enough wrong points among the last ones."""
    last = points(alarm, series)[-alarm["EvaluationPeriods"] :]
    assert len(last) == alarm["EvaluationPeriods"], "the series is shorter than the alarm looks back"
    return sum(breaches(alarm, value, expected) for value in last) >= alarm["DatapointsToAlarm"]


def emitted(lines: list[str], service: str) -> dict[str, list[float]]:
    """Values by metric of EMF lines, as CloudWatch takes them: what is defined in the line, in our namespace, with our dimensions."""
    found: dict[str, list[float]] = {}
    for text in lines:
        line = json.loads(text) if text.startswith("{") else {}
        for block in line.get("_aws", {}).get("CloudWatchMetrics", []):
            if block["Namespace"] != "Moderato" or block["Dimensions"] != [["service", "stage"]] or line["service"] != service:
                continue
            for metric in block["Metrics"]:
                value = line[metric["Name"]]
                found.setdefault(metric["Name"], []).extend(value if isinstance(value, list) else [value])
    return found
