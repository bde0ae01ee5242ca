# SPDX-License-Identifier: Apache-2.0
"""From samples to ratios, a table and the targets.

A ratio is taken within one round, between measurements that are seconds apart; then come the median of the rounds
and their spread. `samples` is {case: {setup: [sample or None, one a round]}}.
"""
from dataclasses import dataclass
from statistics import median, quantiles

from cases import CASES, IDLE, IDLE_WHAT, REACT, REACT_WHAT
from setups import SETUPS


def spread(values):
    values = [value for value in values if value is not None]
    if not values:
        return None
    q1, _, q3 = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": median(values), "min": min(values), "max": max(values), "q1": q1, "q3": q3}


def cpu_per_request(sample, role):
    return sample["cpu_ns"][role] / sample["requests"] / 1000


FIGURES = {
    "rate": lambda sample: sample["rate"],
    "p50_us": lambda sample: sample["p50_us"],
    "p99_us": lambda sample: sample["p99_us"],
    "app_us": lambda sample: cpu_per_request(sample, "app"),
    "relay_us": lambda sample: cpu_per_request(sample, "relay"),
    "broker_us": lambda sample: cpu_per_request(sample, "broker"),
    "telem_us": lambda sample: cpu_per_request(sample, "telem"),
    "reader_us": lambda sample: cpu_per_request(sample, "reader"),
    "all_us": lambda sample: sum(cpu_per_request(sample, role) for role in sample["cpu_ns"]),
}
RATIOS = ("rate", "p50_us", "app_us", "all_us")


def ratios(figure, tops, bases):
    take = FIGURES[figure]
    return spread([take(top) / take(base) for top, base in zip(tops, bases)
                   if top and base and take(base) > 0])


def summarise(samples):
    """{case: {setup: {figure: spread, "of_base": {figure: spread}, "of_haproxy": {figure: spread}}}}"""
    return {case: {name: summarise_one(name, by_setup) for name in by_setup}
            for case, by_setup in samples.items()}


def summarise_one(name, by_setup):
    rounds = by_setup[name]
    summary = {figure: spread([take(one) for one in rounds if one]) for figure, take in FIGURES.items()}
    for key, other in (("of_base", SETUPS[name].base), ("of_haproxy", "haproxy")):
        if other != name and other in by_setup and SETUPS[other].isolated == SETUPS[name].isolated:
            summary[key] = {figure: ratios(figure, rounds, by_setup[other]) for figure in RATIOS}
    return summary


def idle_summary(idle):
    """Adds what a connection costs beyond the like-for-like native setup."""
    result = {}
    for name, sample in idle.items():
        base = idle.get(SETUPS[name].base)
        result[name] = dict(sample)
        if base and SETUPS[name].base != name:
            for figure in ("fresh_bytes", "used_bytes", "kernel_slab_bytes"):
                result[name][f"own_{figure}"] = sample[figure] - base[figure]
    return result


def ratio_text(value):
    return f"{value['median']:.2f} [{value['min']:.2f}..{value['max']:.2f}]" if value else "-"


def fine_text(value):
    """Of what is judged by hundredths: the middle half of the rounds."""
    return f"{value['median']:.3f} [{value['q1']:.3f}..{value['q3']:.3f}]" if value else "-"


def number_text(value, digits=0):
    return f"{value['median']:,.{digits}f}" if value else "-"


HEADS = ("", "req/s", "of base", "p50 us", "of base", "app us/req", "of base", "relay us/req")
WIDTHS = (16, 10, 18, 8, 18, 11, 18, 13)


def row_text(cells):
    first = f"  {cells[0]:<{WIDTHS[0]}}"
    return (first + "".join(f"{cell:>{width}}" for cell, width in zip(cells[1:], WIDTHS[1:]))).rstrip()


def case_lines(case, by_setup):
    yield f"{case.name}: {case.what}"
    yield row_text(HEADS)
    for name, one in by_setup.items():
        of_base = one.get("of_base", {})
        relays = one["relay_us"] and one["relay_us"]["median"] > 0
        yield row_text((name, number_text(one["rate"]), ratio_text(of_base.get("rate")),
                        number_text(one["p50_us"]), ratio_text(of_base.get("p50_us")),
                        number_text(one["app_us"], 2), ratio_text(of_base.get("app_us")),
                        number_text(one["relay_us"], 2) if relays else "-"))
    against = by_setup.get("mw-host", {}).get("of_haproxy")
    if against:
        yield (f"  mw-host of haproxy: req/s {ratio_text(against['rate'])}, p50 {ratio_text(against['p50_us'])}")
    for name, one in by_setup.items():
        if SETUPS[name].seen and one.get("of_base"):
            yield (f"  {name} of {SETUPS[name].base}, the middle half of the rounds: req/s {fine_text(one['of_base']['rate'])}, CPU a request "
                   f"{fine_text(one['of_base']['all_us'])}; mw-telem {number_text(one['telem_us'], 2)} us, readers "
                   f"{number_text(one['reader_us'], 2)} us")
    yield ""


def idle_lines(idle):
    yield f"{IDLE}: {IDLE_WHAT}, bytes (own: beyond native's)"
    yield "".join(f"{head:>{width}}" for head, width in zip(
        ("  " + " " * 10, "connections", "fresh", "fresh, own", "used", "used, own", "kernel slab, own"),
        (12, 13, 9, 12, 9, 11, 18)))
    for name, one in idle.items():
        own = [f"{one[key]:,.0f}" if key in one else "-"
               for key in ("own_fresh_bytes", "own_used_bytes", "own_kernel_slab_bytes")]
        yield (f"  {name:<10}{one['connections']:>13,}{one['fresh_bytes']:>9,.0f}{own[0]:>12}"
               f"{one['used_bytes']:>9,.0f}{own[1]:>11}{own[2]:>18}")
    yield "  fresh: never sent a byte; used: one request answered; kernel slab: whole machine, noisy"
    yield ""


def react_lines(react):
    yield f"{REACT}: {REACT_WHAT}, ms"
    yield "".join(f"{head:>{width}}" for head, width in zip(("", "what", "p50", "p99", "times"), (14, 8, 8, 8, 8)))
    for name, one in react.items():
        for what, times in one.items():
            yield f"  {name:<12}{what:>8}{times['p50_ms']:>8.2f}{times['p99_ms']:>8.2f}{times['count']:>8}"
    yield ""


def table_lines(summary, idle, react):
    for case in CASES:
        if summary.get(case.name):
            yield from case_lines(case, summary[case.name])
    if idle:
        yield from idle_lines(idle)
    if react:
        yield from react_lines(react)


def quiet_lines(samples):
    """How quiet the machine was: setups that should be idle and unrelated processes spoil a comparison."""
    shares, others = {}, []
    for sample in every_sample(samples):
        others.append(sample["others_cpu_ns"] / sample["seconds"] / 1e7)
        for name, used in sample["idle_cpu_ns"].items():
            shares.setdefault(name, []).append(used / sample["seconds"] / 1e7)
    if shares:
        yield "CPU of idle setups while another was measured, % of a core, median (highest): " + ", ".join(
            f"{name} {median(values):.2f} ({max(values):.2f})" for name, values in shares.items())
    if others:
        yield f"CPU of the machine's other processes and stolen, % of a core: {median(others):.0f} ({max(others):.0f})"
        yield ""


def every_sample(samples):
    return (one for by_setup in samples.values() for rounds in by_setup.values() for one in rounds if one)


@dataclass(frozen=True)
class Target:
    what: str
    case: str
    against: str        # of_base or of_haproxy
    figure: str
    at_least: bool
    bound: float
    setup: str = "mw-host"
    text: object = ratio_text


TARGETS = (
    Target("small-32 req/s, mw-host of native", "small-32", "of_base", "rate", True, 0.6),
    Target("small-32 req/s, mw-host of haproxy", "small-32", "of_haproxy", "rate", True, 1.1),
    Target("small-1 p50, mw-host of native", "small-1", "of_base", "p50_us", False, 1.6),
    Target("small-1-awake p50, mw-host of native", "small-1-awake", "of_base", "p50_us", False, 1.6),
    Target("large-32 req/s, mw-host of native", "large-32", "of_base", "rate", True, 0.6),
    Target("close-32 req/s, mw-host of native", "close-32", "of_base", "rate", True, 0.6),
    Target("small-32 nginx CPU per request, mw-host of native", "small-32", "of_base", "app_us", False, 0.7),
    Target("small-32 req/s, telemetry on and read, mw-host", "small-32", "of_base", "rate", True, 0.98, "mw-host-seen", fine_text),
    Target("small-32 req/s, telemetry on and read, mw-isolated", "small-32", "of_base", "rate", True, 0.98, "mw-isolated-seen",
           fine_text),
)
IDLE_BOUND = 3 * 1024
EVENT_MS, VERB_MS = 1, 5


def verdict(what, value, bound, at_least, shown):
    met = None if value is None else (value >= bound if at_least else value <= bound)
    return {"what": what, "bound": bound, "at_least": at_least, "value": value, "met": met, "shown": shown}


def judge(summary, idle, react):
    verdicts = []
    for target in TARGETS:
        got = summary.get(target.case, {}).get(target.setup, {}).get(target.against, {}).get(target.figure)
        verdicts.append(verdict(target.what, got and got["median"], target.bound, target.at_least, target.text(got)))
    for figure, which in (("own_fresh_bytes", "never used"), ("own_used_bytes", "used once")):
        own = idle.get("mw-host", {}).get(figure)
        what = f"bytes per idle connection, {which}, beyond native"
        verdicts.append(verdict(what, own, IDLE_BOUND, False, "-" if own is None else f"{own:,.0f}"))
    for name in [name for name, setup in SETUPS.items() if setup.mw and not setup.isolated]:
        verdicts += react_verdicts(name, react.get(name, {}))
    return verdicts


def react_verdicts(name, times):
    for what, bound in (("event", EVENT_MS), ("reset", VERB_MS), ("block", VERB_MS), ("set", VERB_MS), ("cap", VERB_MS)):
        p99 = times.get(what, {}).get("p99_ms")
        yield verdict(f"ms at p99, {what}, {name}", p99, bound, False, "-" if p99 is None else f"{p99:.2f}")


def verdict_lines(verdicts):
    yield "targets"
    for one in verdicts:
        word = {None: "not measured", True: "met", False: "missed"}[one["met"]]
        sign = ">=" if one["at_least"] else "<="
        yield f"  {one['what']:<54}{sign} {one['bound']:<6g}{one['shown']:>22}  {word}"
