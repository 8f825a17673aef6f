"""A cell's result with made-up numbers."""


def cell(accuracy, shifted, placebo_gain=0.0):
    """Return a result: on test-shifted, `hitl` gains 0.1 over `automated`, and `random-mask` ``placebo_gain``."""
    arms = {}
    for arm, gain in (("baseline", 0.0), ("automated", 0.0), ("hitl", 0.1), ("random-mask", placebo_gain)):
        read = {
            "test_accuracy": accuracy,
            "test-shifted_accuracy": shifted + gain,
            "test-shifted_loss": 1 - shifted - gain,
        }
        numbers = read | {"marked_deeplift": 0.25 - gain}
        curve = {"columns": ["epoch", "step", *read], "data": [[1, "00", *read.values()]]}
        right = {"test-shifted": "ff" if arm == "hitl" else "00"}
        arms[arm] = {"numbers": numbers, "right": right, "curve": curve}
    return {"minutes": 2.0, "looks": ["deeplift", "grad-cam"], "rounds": [["00", 20, 120.0]], "arms": arms}
