# SPDX-License-Identifier: Apache-2.0
"""nftables' rules around a case: none of ours are left behind, and what others have is as it was."""
import subprocess

FOREIGN = """
table inet others {
	set few { type ipv4_addr; elements = { 192.0.2.7, 192.0.2.9 } }
	chain in { type filter hook input priority filter; policy accept; ip saddr 192.0.2.254 drop; }
	chain used { ip saddr @few accept; }
}
"""


def ruleset():
    return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout


def before():
    """The rules that the case finds, some of others among them."""
    found = ruleset()
    if "table inet others" not in found:
        subprocess.run(["nft", "-f", "-"], input=FOREIGN, text=True, check=True)
        found = ruleset()
    return found


def after(found):
    """What is wrong with those that it leaves; empty: nothing."""
    left = ruleset()
    if left == found:
        return ""
    was, now = found.splitlines(), left.splitlines()
    return f"rules left behind: {[x for x in now if x not in was][:9]}, missing: {[x for x in was if x not in now][:9]}; "
