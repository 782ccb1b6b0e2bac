"""A short soak: the function is killed while it works, and nothing is lost or done twice (`make soak` is the long one)."""

from soak import Soak


def test_posts_survive_a_function_that_is_killed_at_random(published):
    said = []
    soak = Soak(published.cloud, published.variables, said.append)
    wrong = soak.run(posts=2000, seed=1, every_s=0.5, hidden_s=3)
    assert wrong == 0, "\n".join(said)
    # Kills that hit nobody at work prove nothing.
    assert soak.kills_at_work >= 3, "\n".join(said)
