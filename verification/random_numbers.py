"""Are the random words right, and independent across addresses as the kernels use them?

Known answers and a second implementation say that the generator is Philox4x32-10. A battery then
reads words in the orders in which the engine reads addresses: along ticks, along requests, tile by
tile, and with purposes, arms, seeds or far requests in turn, so that a dependence between
neighbouring addresses lies between neighbouring words. Faults put in on purpose must be caught.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import stats

from mtpsim.kernels.philox import ARMS, DRAFT, FATES, PATH, SCORES, STALE, VERIFY, philox_block
from verification import battery
from verification.check import Check, Table
from verification.mixers import FAULTS, RIGHT, STREAMS, Fault, Words, engine
from verification.printed import PHILOX

ALPHA = 1e-4  # false alarms of each check
SEEDS, WORDS = 8, 2**21  # of the full run, for each stream
FAULTY_WORDS = 2**17  # what a fault is looked for in
STEALTHY = ("7 rounds", "key schedule dropped")  # known to pass batteries: see the page
QUICK = {  # in the smoke: a fault and a stream that shows it
    "4 rounds": "along ticks",
    "5 rounds": "purposes in turn",
    "seed ignored": "seeds in turn",
    "requests overlap": "tiles, as kernels read",
    "purpose cut to 8 bits": "arms in turn",
    "request cut to 32 bits": "requests 2^32 apart",
}
DIEHARDER = ("0", "2", "8", "9", "10", "15", "16", "100", "101")
DEEPEST = 64  # greatest depth of an experiment


def known_answers() -> Check:
    """The published vectors, by the kernel's own function."""
    hits, out = 0, np.empty(4, np.uint64)
    for counter, key, output in PHILOX:
        philox_block(np.array(counter, np.uint64), np.array(key, np.uint64), out)
        hits += tuple(out.tolist()) == output
    statement = "Philox4x32-10 gives Random123's published words"
    return Check("known answers", statement, f"{hits} of {len(PHILOX)}", hits == len(PHILOX))


def second_implementation() -> Check:
    """The kernel's words and NumPy's, at random addresses on both sides of 2^32."""
    rng, wrong, total = np.random.default_rng(1), 0, 0
    for _ in range(200):
        key = int(rng.integers(0, 2**63)) * 2 + int(rng.integers(2))
        first = int(rng.choice([0, 2**32 - 3, int(rng.integers(2**62))]))
        tick, purpose = 4 * int(rng.integers(2**28)), int(rng.integers(2**20))
        ours, theirs = (mixer(key, first, tick, purpose, 8, 7) for mixer in (engine, RIGHT))
        wrong += int((ours != theirs).sum())
        total += ours.size
    statement = "the kernel's words are those of a second implementation, bit for bit"
    return Check("second implementation", statement, f"{wrong} of {total:,} differ", wrong == 0)


def purposes_apart() -> Check:
    """No two uses of words share a purpose, at any depth, in any arm."""
    used = [PATH, STALE, *(SCORES + j for j in range(DEEPEST))]
    used += [FATES + j for j in range(DEEPEST)]
    used += [base + ARMS * arm for base in (VERIFY, DRAFT) for arm in range(1000)]
    repeated = len(used) - len(set(used))
    statement = "uses of words have purposes of their own, to depth 64 and over 1,000 arms"
    return Check("purposes", statement, f"{repeated} of {len(used):,} repeated", repeated == 0)


def avalanche(fault: Fault = RIGHT, bases: int = 4096) -> tuple[float, float]:
    """Flip each bit of an address: p that each output bit flips half of the time; worst share."""
    rng = np.random.default_rng(2)
    high = np.array([64, 32, 32, 64])  # request, call, purpose, key
    base = [rng.integers(0, 2**62, bases).astype(np.uint64) * np.uint64(4) for _ in high]
    base = [part >> np.uint64(64 - bits) for part, bits in zip(base, high, strict=True)]
    before = np.stack(fault.calls(*base)).astype(np.uint32)
    flips = []
    for part, bits in enumerate(high):
        for bit in range(bits):
            address = list(base)
            address[part] = base[part] ^ (np.uint64(1) << np.uint64(bit))
            changed = before ^ np.stack(fault.calls(*address)).astype(np.uint32)
            octets = np.ascontiguousarray(changed[..., None]).view(np.uint8)
            flips.append(np.unpackbits(octets, axis=-1).sum(1))
    counts = np.array(flips)
    p = battery.binomial_table(counts, bases)
    return p, float(np.abs(counts / bases - 0.5).max())


def batteries(smoke: bool) -> dict[str, dict[str, list[float]]]:
    """p-values of the engine's words by stream and test, one for each seed."""
    seeds, words = (1, 2**16) if smoke else (SEEDS, WORDS)
    found: dict[str, dict[str, list[float]]] = {}
    for number, (name, stream) in enumerate(STREAMS.items()):
        found[name] = {test: [] for test in battery.TESTS}
        for seed in range(seeds):
            for test, p in battery.run(stream(engine, words, 1000 * (number + 1) + seed)).items():
                found[name][test].append(p)
    return found


def judged(found: dict[str, dict[str, list[float]]]) -> Iterator[Check]:
    """A check for each stream: the least p against Bonferroni's limit."""
    for stream, tests in found.items():
        ps = np.concatenate(list(tests.values()))
        yield Check(
            stream,
            f"words in this order pass {len(ps)} tests",
            f"least p {ps.min():.2g}, limit {ALPHA / len(ps):.1g}",
            bool(ps.min() >= ALPHA / len(ps)),
            ALPHA,
        )


def uniform(found: dict[str, dict[str, list[float]]]) -> Check:
    """p-values of each test, over streams and seeds, are uniform."""
    pooled = {
        test: float(stats.kstest([p for s in found.values() for p in s[test]], "uniform").pvalue)
        for test in battery.TESTS
    }
    worst = min(pooled, key=lambda test: pooled[test])
    return Check(
        "p-values are uniform",
        f"Kolmogorov-Smirnov for each of {len(pooled)} tests over all streams",
        f"least p {pooled[worst]:.2g} ({worst}), limit {ALPHA / len(pooled):.1g}",
        pooled[worst] >= ALPHA / len(pooled),
        ALPHA,
    )


def caught_by(fault: Fault, streams: list[str]) -> dict[str, list[str]]:
    """Streams in which a fault is seen, and the tests that see it."""
    limit = ALPHA / (len(battery.TESTS) * len(STREAMS))
    words = FAULTY_WORDS if len(streams) > 1 else 2**16
    seen = {}
    for name in streams:
        ps = battery.run(STREAMS[name](fault, words, 77))
        if hits := [test for test, p in ps.items() if p < limit]:
            seen[name] = hits
    return seen


def known_to_fail(fault: Fault) -> bool:
    """Whether the published answers see the fault."""
    if fault.address != "right" or not fault.keyed:
        return False  # the mixer itself is right
    for counter, key, output in PHILOX:
        parts = [np.uint64(word) for word in counter]
        out = fault.mix(parts, np.uint64(key[0] | key[1] << 32))
        if tuple(int(word) for word in out) != output:
            return True
    return False


def controls(smoke: bool, table: Table) -> Iterator[Check]:
    """Faults: each must be caught, and those that batteries can see, by the battery."""
    for name, fault in FAULTS.items():
        if smoke and name not in QUICK:
            continue
        seen = caught_by(fault, [QUICK[name]] if smoke else list(STREAMS))
        tests = sorted({test for hits in seen.values() for test in hits})
        flips = not smoke and avalanche(fault, 512)[0] < ALPHA
        answers = known_to_fail(fault)
        table.add(
            name,
            f"{len(seen)} of {len(STREAMS)}",
            ", ".join(seen) if len(seen) < len(STREAMS) else "all",
            ", ".join(tests) if len(tests) < len(battery.TESTS) else "all",
            "yes" if flips else "-",
            "yes" if answers else "-",
        )
        ways = [f"{len(tests)} tests in {len(seen)} streams"] if seen else []
        ways += ["avalanche"] * flips + ["known answers"] * answers
        yield Check(
            f"fault: {name}",
            "must be seen by known answers" if name in STEALTHY else "must be seen by the battery",
            "seen by " + ", ".join(ways) if ways else "not seen",
            answers if name in STEALTHY else bool(seen),
            0.0,
            control=True,
        )


def pipe(stream: str, process: subprocess.Popen[bytes]) -> None:
    """Feed words to a process until it has enough."""
    assert process.stdin is not None
    seed = 5000
    try:
        while process.poll() is None:
            words: Words = STREAMS[stream](engine, 2**21, seed)
            process.stdin.write(words.tobytes())
            seed += 1
    except BrokenPipeError:
        pass


def dieharder(stream: str) -> Check:
    """A battery that others wrote, where it is installed; chunks of 2^21 words, a seed each."""
    ps = []
    for test in DIEHARDER:
        command = ["dieharder", "-g", "200", "-d", test, "-p", "20", "-D", "pvalues"]
        with subprocess.Popen(
            [*command, "-D", "test_name"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        ) as process:
            pipe(stream, process)
            assert process.stdout is not None
            lines = process.stdout.read().decode().splitlines()
            ps += [float(line.split("|")[-1]) for line in lines if "|" in line]
    limit = ALPHA / max(len(ps), 1)
    return Check(
        f"dieharder, {stream}",
        f"{len(DIEHARDER)} tests of dieharder (Brown 2003), {len(ps)} p-values",
        f"least p {min(ps, default=0):.2g}, limit {limit:.1g}",
        min(ps, default=0) >= limit,
        ALPHA,
    )


def checks(smoke: bool) -> Iterator[Check]:
    """All of it; the full run writes random_numbers.md and .png."""
    yield known_answers()
    yield second_implementation()
    yield purposes_apart()
    p, worst = avalanche(bases=512 if smoke else 4096)
    statement = "a flipped bit of the address flips each output bit half of the time: 192 x 128"
    yield Check("avalanche", statement, f"p {p:.2g}, worst by {worst:.3f}", p >= ALPHA, ALPHA)
    found = batteries(smoke)
    yield from judged(found)
    if not smoke:
        yield uniform(found)
    table = Table("fault", "streams", "which", "tests that see it", "avalanche", "known answers")
    yield from controls(smoke, table)
    if smoke:
        return
    if shutil.which("dieharder"):
        for stream in ("tiles, as kernels read", "purposes in turn"):
            yield dieharder(stream)
    write(found, table)


def write(found: dict[str, dict[str, list[float]]], table: Table) -> None:
    """The page and its picture."""
    streams = Table("words", *battery.TESTS)
    for name, tests in found.items():
        streams.add(name, *(f"{min(ps):.2g}" for ps in tests.values()))
    text = f"""# Random numbers

{SEEDS} seeds of {WORDS:,} words for each stream; least of {SEEDS} p-values by test:

{streams.markdown()}

The least of {SEEDS} uniform numbers is below .006 once in 20 times, and of all {SEEDS} x
{len(streams.rows)} x {len(battery.TESTS)} numbers here below {ALPHA:g} by chance about once in
{1 / (SEEDS * len(streams.rows) * len(battery.TESTS) * ALPHA):.0f} runs.

## Faults put in on purpose

The same battery on {FAULTY_WORDS:,} words of each stream, of a generator with one fault; seen where
a p-value is below {ALPHA:g} divided by all tests of all streams.

{table.markdown()}

Philox with seven rounds is known to pass BigCrush (Salmon et al. 2011), and so does it pass here,
as does one whose key stays the same from round to round: no statistics tells them from the right
one, but the known answers do. Faults of the addresses leave the mixer right, so only the battery
sees them, and only where neighbours in the stream are those that got confused: this is why there
are nine streams.

![p-values of the engine's words and of faulty ones](random_numbers.png)

`python verification/run.py random_numbers` makes this page.
"""
    Path(__file__).with_name("random_numbers.md").write_text(text)
    picture(found)


def picture(found: dict[str, dict[str, list[float]]]) -> None:
    """p-values of the engine's words, by stream, over those of faulty words."""
    import matplotlib.pyplot as plt

    fault_streams = {name: QUICK.get(name, "along ticks") for name in FAULTS}
    fault_streams.update(
        {
            "6 rounds": "purposes in turn",
            "request ignored": "along requests",
            "request cut to 16 bits": "requests 2^32 apart",
            "purpose ignored": "purposes in turn",
            "purpose added to tick": "purposes in turn",
        }
    )
    rows: list[tuple[str, np.ndarray, str]] = [
        (name, np.concatenate(list(tests.values())), "C0") for name, tests in found.items()
    ]
    for name, stream in fault_streams.items():
        ps = np.array(list(battery.run(STREAMS[stream](FAULTS[name], FAULTY_WORDS, 77)).values()))
        rows.append((f"{name} ({stream})", ps, "C3"))
    figure, axes = plt.subplots(figsize=(9, 8.4), layout="constrained")
    jitter = np.random.default_rng(0)
    for height, (_, ps, colour) in enumerate(rows):
        depth = np.minimum(-np.log10(np.maximum(ps, 1e-300)), 24)
        spread = jitter.uniform(-0.25, 0.25, ps.size)
        axes.scatter(depth, height + spread, s=8, color=colour, alpha=0.5, linewidths=0)
    limit = -np.log10(ALPHA / (len(battery.TESTS) * SEEDS))
    axes.axvline(limit, color="0.4", linewidth=1)
    axes.text(limit + 0.15, -0.9, "alarm beyond this line", color="0.4", fontsize=9)
    axes.axhline(len(found) - 0.5, color="0.7", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -1.4)
    axes.set_xlabel("-log10 p of a test (24: beyond drawing)")
    axes.set_title(
        "Random words as the kernels read them (blue) pass a battery\n"
        "that sees faults (red): a dot a test"
    )
    figure.savefig(Path(__file__).with_name("random_numbers.png"), dpi=110)
    plt.close(figure)
