"""Does the engine reproduce published numbers? Papers, benchmarks, traces, the founding case.

Each number is computed as a user would: an experiment is run, or its chain is solved. Tolerances
come from the rounding of the published number, and of its inputs where these are rounded too (the
engine then computes both ends); a simulated number has 5 standard errors more. Models that are only
fitted to the published numbers (two parameters to eight numbers, say) have the stated tolerance.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from mtpsim.exact.chain_solver import solve
from verification.adaptive_verification import glm
from verification.check import Check, Table
from verification.other_depths import between, dspark, gemma, vllm_deep, xllm
from verification.papers import founding_case, leviathan_1, leviathan_4
from verification.published_fact import PLAIN, Fact, experiment
from verification.published_values import VLLM_8
from verification.server_facts import gemma as served_gemma
from verification.serving import curves, deepseek, throughput, vllm
from verification.shapes import trees
from verification.step_times import experts, mac, start_up, two_depths
from verification.thresholds import thresholds
from verification.traces import traces

FALSE_ALARM = 6e-7  # per simulated number
SOURCES: dict[str, Callable[[bool], Iterator[Fact]]] = {
    "founding case": founding_case,
    "Leviathan, table 1": leviathan_1,
    "Leviathan, table 4": leviathan_4,
    "DeepSeek-V3": deepseek,
    "vLLM, depths 1 and 8": vllm,
    "accept length by depth": curves,
    "trees of one 30B-A3B model": trees,
    "DSpark by threshold": thresholds,
    "adaptive verification of GLM-5.2": glm,
    "throughput by batch": throughput,
    "a server: Gemma-4": served_gemma,
    "vLLM's start-up tables": start_up,
    "step times of an M5 Max": mac,
    "Llama-3.1-8B, two depths": two_depths,
    "experts of neighbouring tokens": experts,
    "real traces": traces,
    "Gemma-4-31B on an H100": gemma,
    "vLLM, depth 1 from depth 8": vllm_deep,
    "accept length between two depths": between,
    "DSpark, rates that rise": dspark,
    "xLLM, short answers": xllm,
}


def control() -> Check:
    """Survival rates used as conditional rates must not give the published accept length."""
    keys = {"model": "independent", "rates": VLLM_8, "rates_are": "conditional"}
    wrong = solve(experiment(keys, PLAIN).acceptance.chain(), 8).accept_length
    fact = Fact("accept length, depth 8", 4.40, wrong, 0.04, "")
    result = f"{wrong:.2f} instead of 4.40"
    statement = "survival rates used as conditional must not give vLLM's accept length"
    return Check("fault: wrong definition", statement, result, not fact.agree, 0.0, True)


def checks(smoke: bool) -> Iterator[Check]:
    """A check for each source; the full run writes published.md."""
    found: dict[str, list[Fact]] = {}
    for name, source in SOURCES.items():
        facts = list(source(smoke))
        found[name] = facts
        off = [fact for fact in facts if not fact.ok]
        wrong = [f"{fact.name} {fact.published:g}, ours {fact.ours:.5g}" for fact in off]
        differ = sum(fact.differs for fact in facts)
        result = f"{len(facts)} numbers" + (f", {differ} differ as expected" if differ else "")
        result = f"{result}; WRONG: {'; '.join(wrong)}" if wrong else result
        alarm = sum(fact.simulated for fact in facts) * FALSE_ALARM
        statement = (source.__doc__ or "").rstrip(".")
        yield Check(name, statement, result, not wrong, alarm)
    yield control()
    if not smoke:
        write(found)


def write(found: dict[str, list[Fact]]) -> None:
    """Write the page."""
    parts = [(__doc__ or "").partition("\n\n")[2].strip()]
    for name, facts in found.items():
        table = Table("number", "published", "ours", "agree", "tolerance")
        for fact in facts:
            agree = "yes" if fact.agree else "no, as expected" if fact.ok else "**NO**"
            cells = (f"{fact.published:.7g}", f"{fact.ours:.6g}", agree)
            why = f"{fact.slack:.2g}: {fact.why}" if fact.slack else fact.why
            table.add(fact.name, *cells, why)
        parts += [f"## {name}", (SOURCES[name].__doc__ or "").strip(), table.markdown()]
    parts += ["`python verification/run.py published` writes this page."]
    text = "# Published numbers\n\n" + "\n\n".join(parts) + "\n"
    Path(__file__).with_name("published.md").write_text(text)
