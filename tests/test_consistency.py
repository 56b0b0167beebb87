"""Consistency of agents and tasks: recovered from a simulation, absent where there is none, and what it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import betabinom

from phase19.forecasting.cells import Cells
from phase19.forecasting.consistency import Consistency, fit_consistency
from phase19.forecasting.effects import averaged, sigmoid
from phase19.forecasting.hierarchy import Design, Grouping, HierarchyFit, fit_hierarchy
from phase19.forecasting.model import ForecastModel, ForecastPriors
from phase19.forecasting.success import SuccessPosterior, SuccessPriors
from tests.builders import POPULATION, agents, all_pairs, attempts, tasks

SCALES = {"agent": 0.5, "task": 1.0, "concentration": 2.0}
TASKS, AGENTS = 60, 8


def design_of(wins: np.ndarray, losses: np.ndarray) -> Design:
    task, agent = (index.ravel() for index in np.indices(wins.shape))
    tried = np.flatnonzero((wins + losses).ravel())
    counts = [part.ravel()[tried].astype(float) for part in (wins, losses)]
    return Design(
        cells=Cells(*counts, np.ones(tried.size), np.ones(tried.size)),
        features=np.ones((tried.size, 1)),
        prior_mean=np.zeros(1),
        prior_sd=np.ones(1),
        groupings={
            "agent": Grouping(agent[tried], wins.shape[1], "agent"),
            "task": Grouping(task[tried], wins.shape[0], "task"),
        },
    )


def world(concentration: np.ndarray | float, seed: int = 0, tries: int = 2) -> Design:
    """Pairs whose own rates have the concentration given about what tasks and agents say."""
    rng = np.random.default_rng(seed)
    p = sigmoid(rng.normal(0.0, 1.0, (TASKS, 1)) + rng.normal(0.0, 0.5, AGENTS))
    wins = rng.binomial(tries, rng.beta(concentration * p, concentration * (1.0 - p)))
    return design_of(wins, tries - wins)


def fitted(design: Design) -> Consistency:
    return fit_consistency(design, fit_hierarchy(design, SCALES), SCALES["concentration"], 0.5)


STEADY = np.where(np.arange(AGENTS) < AGENTS // 2, 0.3, 10.0)


@pytest.mark.parametrize("seed", range(3))
def test_agents_that_end_alike_each_time_are_told_from_those_that_do_not(seed):
    found = fitted(world(STEADY, seed)).agent
    assert found[: AGENTS // 2].max() + 1.0 < found[AGENTS // 2 :].min()  # true logs: -1.9 and 1.6


def test_tasks_that_end_alike_each_time_are_told_from_those_that_do_not():
    true = np.where(np.arange(TASKS) < TASKS // 2, 0.3, 10.0)
    found = fitted(world(true[:, None], tries=4))
    assert found.task[: TASKS // 2].mean() + 1.0 < found.task[TASKS // 2 :].mean()
    assert np.abs(found.agent).max() < 0.6


def test_where_nothing_differs_it_shrinks_to_nothing():
    by_task, by_agent = zip(*(fitted(world(2.0, seed)) for seed in range(8)), strict=True)
    assert np.abs(by_agent).mean() < 0.2
    assert np.abs(by_task).mean() < 0.2


def test_single_attempts_and_summaries_tell_nothing():
    once = fitted(world(STEADY, tries=1))
    assert np.abs(np.concatenate(once)).max() < 1e-9
    design = world(STEADY)
    summary = replace(design, groupings={**design.groupings, "task": Grouping(np.full(TASKS * AGENTS, -1), 0, "task")})
    fit = fit_hierarchy(design, SCALES)
    assert np.abs(fit_consistency(summary, fit, 2.0, 0.5).agent).max() < 1e-9


def by_hand(wins: np.ndarray, losses: np.ndarray, p: np.ndarray, k: np.ndarray, spread: float) -> np.ndarray:
    """Posterior mean of the log multiple of each row's concentration, k of shape (columns,)."""
    logs, total, mass = np.arange(-2.5, 2.51, 0.5), np.zeros(len(wins)), 0.0
    chance = np.array(
        [
            [np.prod(betabinom.pmf(w, w + b, k * np.exp(x) * q, k * np.exp(x) * (1 - q))) for x in logs]
            for w, b, q in zip(wins, losses, p, strict=True)
        ]
    )
    for sd in spread * np.arange(0.0, 3.1, 0.5):
        prior = (logs == 0.0).astype(float) if sd == 0 else np.exp(-0.5 * (logs / sd) ** 2)
        prior = prior / prior.sum()
        evidence = np.exp(-0.5 * (sd / spread) ** 2) * np.prod(chance @ prior)
        total += evidence * (chance * prior) @ logs / (chance @ prior)
        mass += evidence
    return total / mass


def test_the_posterior_is_that_of_a_grid_by_hand_of_agents_first_and_of_tasks_beyond_them():
    wins, losses = np.array([[2, 0], [1, 2], [0, 3]]), np.array([[0, 2], [1, 0], [2, 1]])
    design = design_of(wins, losses)
    fit = fit_hierarchy(design, SCALES)
    p, k, spread = sigmoid(averaged(fit.log_odds, fit.leverage)).reshape(wins.shape), 2.0, 0.4
    found = fit_consistency(design, fit, k, spread)
    agent = by_hand(wins.T, losses.T, p.T, np.full(3, k), spread)
    assert found.agent == pytest.approx(agent, rel=1e-9)
    assert found.task == pytest.approx(by_hand(wins, losses, p, k * np.exp(agent), spread), rel=1e-9)


def test_far_too_much_evidence_for_floating_point_is_no_trouble():
    wins = np.where(np.arange(20_000) % 2, 2, 0)[:, None] * np.ones((1, 2), dtype=int)
    steady = design_of(wins, 2 - wins)
    fit = fit_hierarchy(steady, {**SCALES, "task": 1e-3})
    found = fit_consistency(steady, fit, 2.0, 0.5)
    assert found.agent == pytest.approx([-2.5, -2.5])  # as far as the grid goes
    assert np.isfinite(found.task).all()


def test_shuffling_and_renaming_change_nothing():
    design = world(STEADY)
    fit = fit_hierarchy(design, SCALES)
    found = fit_consistency(design, fit, 2.0, 0.5)
    order = np.random.default_rng(1).permutation(TASKS * AGENTS)
    cells = design.cells
    moved = replace(
        design,
        cells=Cells(cells.wins[order], cells.losses[order], cells.tightness[order], cells.shrink[order]),
        features=design.features[order],
        groupings={
            "agent": Grouping(AGENTS - 1 - design.groupings["agent"].index[order], AGENTS, "agent"),
            "task": Grouping(design.groupings["task"].index[order], TASKS, "task"),
        },
    )
    again: HierarchyFit = replace(fit, log_odds=fit.log_odds[order], leverage=fit.leverage[order])
    other = fit_consistency(moved, again, 2.0, 0.5)
    assert other.agent[::-1] == pytest.approx(found.agent, abs=1e-9)
    assert other.task == pytest.approx(found.task, abs=1e-9)


def test_multiples_of_pairs_and_of_none():
    known = Consistency(task=np.log([1.0, 2.0]), agent=np.log([3.0, 0.5, 1.0]))
    assert known.multiple(np.array([0, 1, 1, -1, -1]), np.array([0, 1, -1, 2, -1])) == pytest.approx([3, 1, 2, 1, 1])
    even = Consistency.unknown(world(2.0))
    assert (even.multiple(*np.indices((TASKS, AGENTS))) == 1.0).all()


def posterior(design: Design, **priors: float) -> tuple[np.ndarray, SuccessPosterior]:
    """Chances of all pairs of a world and the fit to it, through records."""
    names, cells = [f"a{a}" for a in range(AGENTS)], design.cells
    pairs = zip(*(design.groupings[name].index for name in ("task", "agent")), cells.wins, cells.losses, strict=True)
    rows = [
        {"task_id": f"t{t}", "agent_id": names[a], "is_success": bool(k < won), "confidence_before": 0.7}
        for t, a, won, lost in pairs
        for k in range(int(won + lost))
    ]
    made = ForecastModel.fit(
        tasks(count=TASKS),
        agents(*names),
        attempts(*rows),
        POPULATION,
        priors=ForecastPriors(success=SuccessPriors(**priors)),
    )
    return all_pairs(made, 1).success_probability, made.success


def test_what_a_steady_agent_did_it_is_forecast_to_do_again_and_its_chances_are_extreme():
    design = world(STEADY)
    (chance, found), (without, plain) = posterior(design), posterior(design, consistency=1e-6)
    won = design.cells.wins.reshape(TASKS, AGENTS)
    gain = np.where(won == 2.0, chance - without, without - chance)
    decided, steady = won != 1.0, np.broadcast_to(STEADY < 1.0, won.shape)
    assert gain[decided & steady].mean() > 0.01
    assert gain[decided & ~steady].mean() < -0.01
    wider = found.pair.sd - plain.pair.sd
    assert (wider[steady] > 0.0).mean() > 0.9
    assert (wider[~steady] < 0.0).mean() > 0.9


def test_a_pair_without_records_is_forecast_as_before():
    design = world(STEADY)
    keep = np.arange(TASKS * AGENTS) % 10 > 0
    groupings = {name: Grouping(g.index[keep], g.size, g.sd) for name, g in design.groupings.items()}
    part = replace(design, cells=design.cells.part(keep), features=design.features[keep], groupings=groupings)
    known, plain = (posterior(part, consistency=spread)[0].ravel() for spread in (0.5, 1e-6))
    assert known[~keep] == pytest.approx(plain[~keep], abs=1e-12)
    assert np.abs(known - plain)[keep].max() > 0.02


def test_few_attempts_are_followed_but_part_of_the_way():
    design = world(STEADY)
    bounds = {"least_attempts": 2 * TASKS * AGENTS - 1, "full_attempts": 100_000}
    known, plain = (posterior(design, consistency=spread, **bounds)[0] for spread in (0.5, 1e-6))
    assert known == pytest.approx(plain, abs=1e-6)
