"""A training that fails in the user's own code."""

rows = [1, 2, 3]


def mean(values: list[int]) -> float:
    return sum(values) / len([])


print("about to fail")
mean(rows)
