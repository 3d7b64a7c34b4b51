"""What operations cost, against bench/contract.txt: none more than its budget, and no budget that hides a loss to come."""
import sys

import pytest
from conftest import BUILD, TOP

sys.path.insert(0, str(TOP / "tests/bench"))
import contract  # noqa: E402


def described(wrong: dict[tuple[str, str], str]) -> str:
    return "\n".join(f"{name} on {cpu}: {why}" for (name, cpu), why in wrong.items())


def test_what_is_measured_keeps_the_contract(workdir):
    if not contract.measurable():
        pytest.skip("the budgets are instructions of the Bochs of `make bochs`")
    wrong = contract.judge(contract.parse(contract.CONTRACT.read_text()), contract.measure(BUILD, workdir))
    if wrong:
        pytest.fail(f"{described(wrong)}\n`make contract` rewrites these lines of bench/contract.txt", pytrace=False)


BUDGETS = {("cpuid", "x"): 200, ("eoi", "x"): 3, ("boot", "x"): 10000}


@pytest.mark.parametrize("measured, wrong", [
    ({}, {}),
    ({"cpuid": 201}, {"cpuid": "over"}),
    ({"cpuid": 197}, {}),
    ({"cpuid": 195}, {"cpuid": "lower"}),
    ({"eoi": 1}, {}),
    ({"eoi": 4}, {"eoi": "over"}),
    ({"boot": 9810}, {}),
    ({"boot": 9790}, {"boot": "lower"}),
    ({"new": 7}, {"new": "no budget"}),
    ({"eoi": None}, {"eoi": "not measured"}),
], ids=str)
def test_a_figure_too_high_and_one_too_low_are_named(measured, wrong):
    figures = {(name, "x"): figure for name, figure in {"cpuid": 200, "eoi": 3, "boot": 10000, **measured}.items()
               if figure is not None}
    judged = contract.judge(BUDGETS, figures)
    assert {name for name, _ in judged} == set(wrong)
    assert all(part in judged[name, "x"] for name, part in wrong.items())


def test_rewriting_keeps_the_words_and_raises_nothing_that_is_kept():
    text = "# why\ncpuid  x  181  # floor\n\n# others\neoi    x  3\nslow   x  10580000\ngone   x  8\n"
    measured = {("cpuid", "x"): 180, ("eoi", "x"): 4, ("slow", "x"): 10_579_100, ("boot", "x"): 10_579_100}
    *kept, new = contract.rewrite(text, measured).splitlines()
    assert kept == ["# why", "cpuid  x  180  # floor", "", "# others", "eoi    x  4", "slow   x  10580000"]
    assert new.split() == ["boot", "x", "10700000"]


@pytest.mark.parametrize("figure", [0, 3, 999, 1000, 1003, 2419, 10981, 99_900, 10_579_100])
def test_a_new_budget_is_neither_too_high_nor_too_low(figure):
    assert not contract.judge({("it", "x"): contract.budget_for(figure)}, {("it", "x"): figure})
