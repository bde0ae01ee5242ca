# SPDX-License-Identifier: Apache-2.0
"""One measurement, and the order in which they are made: rounds, in which each case goes through all setups in turn."""
import resource
import time
from pathlib import Path

import idle
import react
import report
from cases import CASES, IDLE, REACT, cores_awake
from procs import Failure, Table
from setups import SETUPS, started


def measure(running, case, seconds, rate, everyone):
    """One sample, with what each role, the idle setups and the rest of the machine used of the CPUs meanwhile."""
    running.check()
    before, start = Usage(everyone), time.monotonic()
    with cores_awake(case.awake):
        sample = case.load.run(running.place, running.port, seconds, rate)
    sample["seconds"] = time.monotonic() - start
    after = Usage(everyone)
    running.check()
    used = {name: used_since(before.setups[name], after.setups[name]) for name in everyone}
    sample["cpu_ns"] = {role: sum(by_pid.values()) for role, by_pid in used[running.name].items()}
    busy = flat(used[running.name])
    sample["idle_cpu_ns"] = {name: sum(flat(roles).values()) for name, roles in used.items()
                             if busy.keys().isdisjoint(flat(roles))}
    ours = {pid: ns for roles in used.values() for pid, ns in flat(roles).items()}
    sample["others_cpu_ns"] = max(0, after.others - before.others - sum(ours.values()))
    return sample


class Usage:
    """CPU time used so far, in ns: by each setup, role and process; by the machine less us and our ended children."""

    def __init__(self, everyone):
        table = Table()
        self.setups = {name: one.cpu(table) for name, one in everyone.items()}
        own = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
        self.others = machine_busy_ns() - sum(one.ru_utime + one.ru_stime for one in own) * 1e9


def flat(roles):
    return {pid: ns for by_pid in roles.values() for pid, ns in by_pid.items()}


def used_since(before, after):
    return {role: {pid: ns - before[role].get(pid, 0) for pid, ns in by_pid.items()} for role, by_pid in after.items()}


def machine_busy_ns():
    """All but idle and iowait of the first line of /proc/stat (ticks of 10 ms), stolen time included."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) * 10_000_000


def measure_rounds(options, cases, everyone, samples, problems):
    rates = {}
    for number in range(1, options.rounds + 1):
        for case in cases:
            by_setup = samples.setdefault(case.name, {name: [] for name in everyone})
            for name in turned(list(everyone), number):
                one, key = everyone[name], (case.name, name)
                try:
                    if key not in rates:
                        rates[key] = case.load.trial(one.place, one.port)
                    sample = measure(one, case, options.seconds, rates[key], everyone)
                    rates[key] = sample["rate"]
                except Failure as failure:
                    problems.add(f"{case.name} {name}, round {number}: {failure}")
                    sample = None
                by_setup[name].append(sample)
            show_progress(number, options.rounds, case.name, by_setup)


def turned(names, number):
    """Another setup goes first in every round."""
    turn = (number - 1) % len(names) if names else 0
    return names[turn:] + names[:turn]


def show_progress(number, rounds, case, by_setup):
    rates = ", ".join(f"{name} {values[-1]['rate']:,.0f}/s" if values[-1] else f"{name} failed"
                      for name, values in by_setup.items())
    print(f"round {number} of {rounds}, {case}: {rates}", flush=True)


def measure_fresh(bench, case, names, what, problems):
    """{setup: what(its running)} on fresh servers, whose memory no load has stirred yet."""
    result = {}
    with started(bench, "nginx", names, problems) as everyone:
        for name, running in everyone.items():
            try:
                result[name] = what(running)
            except Failure as failure:
                problems.add(f"{case} {name}: {failure}")
    return result


def measure_idle(options, bench, problems):
    names = [name for name in options.setups if not SETUPS[name].seen]
    return report.idle_summary(measure_fresh(bench, IDLE, names, lambda one: idle.measure(one, options.idle), problems))


def measure_react(options, bench, problems):
    names = [name for name in options.setups if SETUPS[name].mw and not SETUPS[name].isolated]
    return measure_fresh(bench, REACT, names, lambda one: react.measure(bench, one), problems)


def measure_all(options, bench, problems):
    """(samples, idle, react): see report."""
    samples = {}
    memory = measure_idle(options, bench, problems) if IDLE in options.only else {}
    soon = measure_react(options, bench, problems) if REACT in options.only else {}
    for app in ("nginx", "redis"):
        cases = [case for case in CASES if case.app == app and case.name in options.only]
        if cases:
            with started(bench, app, options.setups, problems) as everyone:
                measure_rounds(options, cases, everyone, samples, problems)
    return samples, memory, soon
