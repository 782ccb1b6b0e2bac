"""costs.py: the tables of infra/COSTS.md on second opinions, from the figures at the top. A test holds that they stand there.

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


def lambda_second() -> float:
    """USD a second."""
    return LAMBDA_MB / 1024 * LAMBDA_GB_SECOND


def around() -> float:
    """What surrounds a second opinion, whoever gives it: queue, reading and replacing the decision, budget. USD a post asked about."""
    return (3 * SQS_REQUEST + WRITE_UNIT + LAMBDA_REQUEST) / BATCH + READ_UNIT / 2 + WRITE_UNIT


def endpoint_month() -> float:
    """USD a month for one machine, whatever it is asked."""
    return ENDPOINT_USD_HOUR * HOURS_A_MONTH


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
    print(tables())
    print(f"\naround it: {around() * 1e6:.2f} USD a million asked; a Lambda's second: {lambda_second() * 3600:.3f} USD an hour; endpoint: {endpoint_month():,.0f} USD a month")
