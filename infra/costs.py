"""costs.py: the tables of infra/COSTS.md, from the figures at the top. A test holds that they stand there.

Prices are list prices of us-east-1, November 2026, as we know them, not read off a bill.
"""

# Seconds of one processor for a second opinion, as `make bench` measured them (functions/escalate/benches/cost.rs), rounded up.
SECONDS = {"a text": 0.001, "an image": 0.250}
SHARES = (0.01, 0.10, 0.50)
LAMBDA_MB = 1769
LAMBDA_GB_SECOND = 0.0000166667
LAMBDA_REQUEST = 0.20e-6
SQS_REQUEST = 0.40e-6
WRITE_UNIT = 0.625e-6
READ_UNIT = 0.125e-6
# Batches of ten: sent, received and deleted together; one counter of the budget and one invocation for all.
BATCH = 10
ENDPOINT_USD_HOUR = 1.408  # ml.g5.xlarge
HOURS_A_MONTH = 730
# Batches at once by stage: score, escalate (`Stages` of template.yaml).
AT_ONCE = {"dev": (5, 2), "staging": (20, 5), "prod": (200, 50)}
# Measured by `make bench` (README.md, the run with the model that ships): posts a second on one processor, USD a million posts, and the share
# of posts above approve, each of which is a review task.
KINDS = {"a benign majority": (173, 1.02, 0.048), "corpora of hate": (73, 1.19, 0.216)}
# Assumed there too: what a batch waits for AWS.
WAIT_SECONDS = 0.030
DAYS = (10_000, 200_000, 5_000_000)
SECONDS_A_DAY = 86_400
# What an alarm costs a month, by the metrics that it watches; a band of what is expected counts as three.
ALARM_METRIC = 0.10


def lambda_second() -> float:
    """USD a second."""
    return LAMBDA_MB / 1024 * LAMBDA_GB_SECOND


def around() -> float:
    """What surrounds a second opinion, whoever gives it: queue, reading and replacing the decision, budget. USD a post asked about."""
    return (3 * SQS_REQUEST + WRITE_UNIT + LAMBDA_REQUEST) / BATCH + READ_UNIT / 2 + WRITE_UNIT


def endpoint_month() -> float:
    """USD a month for one machine, whatever it is asked."""
    return ENDPOINT_USD_HOUR * HOURS_A_MONTH


def besides() -> float:
    """What a post that is approved costs besides Lambda's time: messages, features and decisions read, one write. USD."""
    return (3 * SQS_REQUEST + LAMBDA_REQUEST) / BATCH + 2 * READ_UNIT / 2 + WRITE_UNIT


def time_a_day(stage: str) -> float:
    """USD a day for Lambda's time where every batch that may run does, all day, of both functions."""
    return sum(AT_ONCE[stage]) * SECONDS_A_DAY * lambda_second()


def posts_a_day(stage: str) -> float:
    """Posts of a benign majority that the score function can decide in a day at most."""
    return AT_ONCE[stage][0] * SECONDS_A_DAY * BATCH / (BATCH / KINDS["a benign majority"][0] + WAIT_SECONDS)


def bounds() -> str:
    """What a day can cost at most, by stage, in Markdown."""
    lines = ["| stage | batches at once | Lambda's time, USD a day | posts a day at most | besides, USD a day | together |", "|---|---|---|---|---|---|"]
    for stage, (score, escalate) in AT_ONCE.items():
        posts, time = posts_a_day(stage), time_a_day(stage)
        lines.append(f"| {stage} | {score} and {escalate} | {time:,.0f} | {posts / 1e6:,.0f} million | {posts * besides():,.0f} | {time + posts * besides():,.0f} |")
    return "\n".join(lines)


def days() -> str:
    """Dollars and review tasks a day by posts a day, in Markdown."""
    lines = ["| posts a day | " + " | ".join(f"USD, {kind} | review tasks" for kind in KINDS) + " |", "|---|" + "---|---|" * len(KINDS)]
    for posts in DAYS:
        cells = (f"{posts / 1e6 * usd:,.2f} | {posts * share:,.0f}" for _, usd, share in KINDS.values())
        lines.append(f"| {posts:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tables() -> str:
    """Both tables, in Markdown."""
    lines = ["| USD a million posts, by `lambda` | " + " | ".join(f"{share:.0%} asked about" for share in SHARES) + " |", "|---|---|---|---|"]
    for what, seconds in SECONDS.items():
        costs = (1e6 * share * (seconds * lambda_second() + around()) for share in SHARES)
        lines.append(f"| {what}, {seconds * 1000:.0f} ms | " + " | ".join(f"{cost:.2f}" for cost in costs) + " |")
    lines += ["", "| million posts a month from which `endpoint` is cheaper | " + " | ".join(f"{share:.0%} asked about" for share in SHARES) + " |"]
    lines += ["|---|---|---|---|"]
    for what, seconds in SECONDS.items():
        even = (endpoint_month() / (share * seconds * lambda_second()) / 1e6 for share in SHARES)
        lines.append(f"| {what}, {seconds * 1000:.0f} ms | " + " | ".join(f"{posts:,.0f}" for posts in even) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables(), bounds(), days(), sep="\n\n")
    print(f"\naround it: {around() * 1e6:.2f} USD a million asked; a Lambda's second: {lambda_second() * 3600:.3f} USD an hour; endpoint: {endpoint_month():,.0f} USD a month")
