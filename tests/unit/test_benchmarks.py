"""What `make bench` concludes from its numbers: ratios of each round, what has fallen, what misses a limit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import results_file  # noqa: E402
import serving  # noqa: E402
from load import Measured  # noqa: E402


def test_a_ratio_is_the_median_of_what_each_round_says_for_itself() -> None:
    rounds = [
        {serving.BARE: Measured(bare, 1, 1), serving.SEED: Measured(seed, 1, 1), **many}
        for bare, seed, many in (
            (100.0, 30.0, {serving.named(1): Measured(40, 1, 1), serving.named(5000): Measured(32, 1, 1)}),
            (1000.0, 310.0, {serving.named(1): Measured(30, 1, 1), serving.named(5000): Measured(30, 1, 1)}),
            (10.0, 9.0, {serving.named(1): Measured(44, 1, 1), serving.named(5000): Measured(40, 1, 1)}),
        )
    ]
    assert serving.ratios(rounds) == {"service_to_bare": 0.31, "cost_5000_to_1": 1.1}
    for own in rounds:
        own[serving.HEALTHCHAIN] = Measured(own[serving.SEED].rate / 2, 1, 1)
    assert serving.ratios(rounds)["service_to_healthchain"] == 2.0


@pytest.mark.parametrize(
    ("now", "fallen"),
    [
        ({"up": 0.86, "down": 1.14}, []),
        ({"up": 0.84, "down": 1.0}, ["up: 0.840, recorded 1.000"]),
        ({"up": 2.0, "down": 1.16}, ["down: 1.160, recorded 1.000"]),
        ({"up": None, "down": 1.0}, []),
        ({"new": 0.1}, []),
    ],
)
def test_only_what_is_worse_by_more_than_15_percent_has_fallen(now: dict[str, float], fallen: list[str]) -> None:
    higher_is_better = {"up": True, "down": False, "new": True}
    assert results_file.fallen(now, {"up": 1.0, "down": 1.0}, higher_is_better) == fallen


def test_a_limit_is_missed_on_its_wrong_side_only() -> None:
    assert serving.within(0.30, 0.30, True)
    assert not serving.within(0.29, 0.30, True)
    assert serving.within(1.2, 1.2, False)
    assert not serving.within(1.21, 1.2, False)
    assert serving.within(None, 0.3, True)


def test_runs_with_other_numbers_of_workers_are_not_compared() -> None:
    assert serving.alike({"shape": {"workers": 1}}, {})
    assert serving.alike({"shape": {"workers": 2}}, {"shape": {"workers": 2}})
    assert not serving.alike({"shape": {"workers": 2}}, {"shape": {"workers": 1}})


def test_every_ratio_that_is_compared_has_a_limit() -> None:
    assert set(serving.RATIOS) == set(serving.LIMITS)
