#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`mw xen` and the keys of doc/xen.md against Debian's xenstored: who may do what, and what is left of whom."""
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "net"))
from lib import pages, tap  # noqa: E402
from lib.tap import case, check, equal, matches  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
from xenlab import images  # noqa: E402
from xenlab.store import Refused, Store  # noqa: E402

PVM, INS, OTHER, FOREIGN = 3, 5, 6, 9
OF_INS = ("ins_dom_id", "ins_version", "ins_slots", "ins_state", "vm_evt_chn_is_bound", "ip_addrs", "heartbeat", "network_stats", "listening_ports",
          "sockopts", "load")
OF_PVM = ("pvm_version", "pvm_state", "gnt_ref_1", "gnt_ref_chunks", "vm_evt_chn_prt")
OF_DOM0 = ("address", "drain", "made")


class Domains:
    """A protected domain, two INSs' and a foreign one, introduced to a xenstored of their own."""

    def __init__(self, t):
        self.store = t.enter_context(Store())
        self.dom0 = self.store.dom0
        self.pvm, self.ins, self.other, self.foreign = (self.store.introduce(n, name) for n, name in (
            (PVM, "web"), (INS, "ins1"), (OTHER, "ins2"), (FOREIGN, "stranger")))

    def good(self, *words):
        status, said = self.store.mw(*words)
        equal((status, said if status else ""), (0, ""), f"mw xen {' '.join(map(str, words))}")
        return said

    def setup(self):
        self.good("setup", "--pvm", PVM, "--ins", INS, OTHER)


def refused(what, do, *arguments):
    try:
        do(*arguments)
    except Refused as error:
        return str(error)
    raise tap.Failed(f"{what} was allowed")


@case("every key has its owner and its reader, and nobody else writes or reads it")
def permissions(t):
    d = Domains(t)
    d.setup()
    for name in OF_INS:
        equal(d.dom0.permissions(f"/mw/{INS}/{name}"), f"n{INS},r{PVM}", name)
    for name in OF_PVM:
        equal(d.dom0.permissions(f"/mw/{INS}/{name}"), f"n{PVM},r{INS}", name)
    for name in OF_DOM0:
        path = f"/mw/{INS}/{name}"
        equal(d.dom0.permissions(path), f"n0,r{PVM},r{INS}", name)
        for client in (d.pvm, d.ins, d.other, d.foreign):
            equal(refused(f"{name} is written", client.write, path, "x"), "EACCES", name)
    equal(sorted(d.dom0.list(f"/mw/{INS}")), sorted(OF_INS + OF_PVM + OF_DOM0), "keys")
    equal(d.dom0.permissions(f"/mw/{INS}"), f"n0,r{PVM},r{INS}", "directory")
    equal(d.dom0.permissions("/mw"), f"n0,r{PVM}", "/mw")
    for name in OF_INS + OF_PVM:
        path = f"/mw/{INS}/{name}"
        owner, reader = (d.ins, d.pvm) if name in OF_INS else (d.pvm, d.ins)
        owner.write(path, "17")
        equal(reader.read(path), "17", path)
        for client, who in ((reader, "the reader"), (d.other, "another INS"), (d.foreign, "a foreign domain")):
            equal(refused(f"{who} writes {name}", client.write, path, "x"), "EACCES", name)
            equal(refused(f"{who} removes {name}", client.remove, path), "EACCES", name)
        for client, who in ((d.other, "another INS"), (d.foreign, "a foreign domain")):
            equal(refused(f"{who} reads {name}", client.read, path), "EACCES", name)


@case("nobody but dom0 makes nodes below /mw, and the domain's id is for all to read")
def makes(t):
    d = Domains(t)
    d.setup()
    for client in (d.pvm, d.ins, d.foreign):
        for path in ("/mw/x", "/mw/7/ins_dom_id", f"/mw/{INS}/more", "/mw/pvm/id", "/mw/pvm/more"):
            equal(refused(path, client.write, path, "x"), "EACCES", path)
        equal(client.read("/mw/pvm/id"), str(PVM), "the protected domain's id")
    d.pvm.write("/mw/pvm/netflow", "10.0.0.1:4739")
    equal(d.foreign.read("/mw/pvm/netflow"), "10.0.0.1:4739", "netflow")
    equal(refused("an INS writes netflow", d.ins.write, "/mw/pvm/netflow", "x"), "EACCES", "netflow")


@case("setup again changes nothing; what was made wrong by hand becomes right; a new INS comes to those that are there")
def again(t):
    d = Domains(t)
    d.good("setup", "--pvm", "web", "--ins", "ins1")
    d.ins.write(f"/mw/{INS}/ins_state", "ready")
    d.good("setup", "--pvm", "web", "--ins", "ins1")
    equal(d.pvm.read(f"/mw/{INS}/ins_state"), "ready", "the state")
    d.dom0.set_permissions(f"/mw/{INS}/ins_slots", "w0", f"w{FOREIGN}")
    d.good("setup", "--ins", "ins2")
    equal(d.dom0.permissions(f"/mw/{INS}/ins_slots"), f"n{INS},r{PVM}", "repaired")
    equal(d.dom0.permissions(f"/mw/{OTHER}/ins_slots"), f"n{OTHER},r{PVM}", "new")
    equal(d.pvm.read(f"/mw/{INS}/ins_state"), "ready", "the state")


@case("the protected side sees an INS that says it is there, and nobody else does")
def watches(t):
    d = Domains(t)
    d.setup()
    for client in (d.pvm, d.foreign):
        client.watch("/mw")
        while client.event(0.3):
            pass
    d.ins.write(f"/mw/{INS}/ins_dom_id", INS)
    equal(d.pvm.event(), f"/mw/{INS}/ins_dom_id", "the event")
    equal(d.foreign.event(0.3), None, "a foreign domain's event")


@case("a domain that ends takes its keys along, the other side hears of it, and setup sweeps up")
def ends(t):
    d = Domains(t)
    d.setup()
    d.pvm.watch(f"/mw/{INS}/ins_dom_id")
    d.ins.write(f"/mw/{INS}/ins_dom_id", INS)
    while d.pvm.event(0.3):
        pass
    d.store.release(INS)
    equal(d.pvm.event(), f"/mw/{INS}/ins_dom_id", "the event")
    equal(refused("read", d.pvm.read, f"/mw/{INS}/ins_dom_id"), "ENOENT", "the key")
    matches(d.store.mw("status")[1], rf"^ins {INS}.*gone", "status")
    d.good("setup", "--ins", OTHER)
    equal(sorted(d.dom0.list("/mw")), [str(OTHER), "pvm"], "what is left")


@case("a protected domain that comes back under another number takes the keys over")
def returns(t):
    d = Domains(t)
    d.setup()
    d.store.release(PVM)
    again = d.store.introduce(PVM + 8, "web")
    d.good("setup", "--pvm", "web")
    equal(d.dom0.permissions(f"/mw/{INS}/gnt_ref_1"), f"n{PVM + 8},r{INS}", "its key")
    equal(d.dom0.permissions(f"/mw/{INS}/ins_dom_id"), f"n{INS},r{PVM + 8}", "the INS's")
    equal(again.read("/mw/pvm/id"), str(PVM + 8), "id")


@case("status tells who is there and what every key holds, whatever a domain wrote into it")
def status(t):
    d = Domains(t)
    matches(d.store.mw("status")[1], "no domain is protected here.*mw xen setup", "before")
    d.setup()
    d.ins.write(f"/mw/{INS}/ins_state", "ready\n\x1b[2Jevil" + "x" * 1000)
    code, said = d.store.mw("status", "--keys")
    equal(code, 0, "status")
    matches(said, rf"^pvm {PVM} \(web\)", "protected")
    matches(said, rf"^ins {INS} \(ins1\): state ready\?\?\[2Jevilx+, ", "INS")
    matches(said, rf"^    gnt_ref_1 +n{PVM},r{INS} +-$", "key")
    check("\x1b" not in said, "an escape sequence came through")


@case("remove takes one INS's keys away, or all")
def removes(t):
    d = Domains(t)
    d.setup()
    d.good("remove", "--ins", INS)
    equal(sorted(d.dom0.list("/mw")), [str(OTHER), "pvm"], "what is left")
    d.good("remove")
    equal(refused("read", d.dom0.list, "/mw"), "ENOENT", "/mw")
    d.good("remove")


@case("examples of mw-xen(8), but the broker's")
def examples(t):
    d = Domains(t)
    lines = [line for line in pages.commands("mw-xen.8") if " broker " not in line]
    check(len(lines) >= 3, f"examples: {lines}")
    for line in lines:
        d.good(*shlex.split(line)[2:])


@case("what cannot be is said with the domain's id")
def complains(t):
    d = Domains(t)
    for words, text in ((["setup", "--ins", INS], "which domain is the protected one"),
                        (["setup", "--pvm", 77], "domain '77' does not run here; see `xl list`"),
                        (["setup", "--pvm", "nobody"], "domain 'nobody' does not run here"),
                        (["setup", "--pvm", PVM, "--ins", 77], "domain '77' does not run"),
                        (["setup", "--pvm", PVM, "--ins", PVM], f"domain {PVM} cannot be"),
                        (["setup", "--pvm", 0], "domain 0 is dom0")):
        code, said = d.store.mw(*words)
        check(code == 1 and text in said, f"{words}: {code} {said}")
    d.setup()
    code, said = d.store.mw("setup", "--pvm", FOREIGN)
    check(code == 1 and f"domain {PVM} is the protected one" in said, said)
    d.foreign.close()
    code, said = d.store.mw("setup", "--pvm", PVM, number=FOREIGN)
    check(code == 1 and "dom0" in said, f"from a domain: {code} {said}")
    equal(d.store.mw("dance")[0], 2, "usage")


if __name__ == "__main__":
    images.xen_root()   # fetched, if need be, while there still is a network
    tap.main()
