# SPDX-License-Identifier: Apache-2.0
"""README's two commands in a root directory of bare Debian 12, as they are typed: readme_test.py [COMMAND...]

On this machine's network, because they install what is missing. `make run` is watched until nginx's page comes, and interrupted; `make check` must
say that nothing failed. The checkout there is a clone of this one, so what is not committed is not in it. Takes an hour.
"""
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

import root
from packages import TOP

ROOT = root.STORE / "readme"
LIMIT_SECONDS = 3 * 3600
PAGE = "http://127.0.0.1:8080/"


def commands():
    """The first words of the indented lines below "Two commands", up to the first text."""
    block = re.search(r"^## Two commands\n[^\n]*\n\n((?:    .*\n)+)", (TOP / "README.md").read_text(), re.M)[1]
    return [line.split("#")[0].strip() for line in block.splitlines()]


def prepare():
    """What README asks for: Debian 12, root, make, and a checkout."""
    root.remove(ROOT)
    root.copy_to(ROOT)
    (ROOT / "etc/apt/apt.conf.d/retries").write_text('Acquire::Retries "5";\n')
    root.run(ROOT, "sh", "-c", "apt-get -q update && apt-get -q install -y --no-install-recommends make")
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", TOP, ROOT / "root/mwcomms"], check=True)


def typed(command, **options):
    return subprocess.Popen(root.inside(ROOT, "sh", "-c", f"cd /root/mwcomms && exec {command}"), stdin=subprocess.DEVNULL, start_new_session=True, **options)


def page():
    try:
        with urllib.request.urlopen(PAGE, timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def runs(command):
    """Until the page comes, then Ctrl-C. It ends then, and the page with it."""
    if page():
        return f"{PAGE} is taken already"
    with typed(command) as child:
        try:
            deadline = time.monotonic() + LIMIT_SECONDS
            while "isolated network stack" not in page():
                if child.poll() is not None or time.monotonic() > deadline:
                    return f"no page at {PAGE}; status {child.poll()}"
                time.sleep(0.5)
            print(f"# {PAGE}: {page().strip()}", flush=True)
            os.killpg(child.pid, signal.SIGINT)
            child.wait(20)
        finally:
            child.poll() is None and os.killpg(child.pid, signal.SIGKILL)
    return "the page is still there" if page() else ""


def checks(command):
    """To its end."""
    with typed(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        last = ""
        for line in child.stdout:
            print("#", line, end="", flush=True)
            last = line
    return "" if child.returncode == 0 and re.match(r"[1-9]\d* passed, 0 failed", last) else f"status {child.returncode}: {last}"


def main():
    if os.geteuid() != 0:
        print("1..0 # SKIP needs root")
        return
    wanted = sys.argv[1:] or commands()
    print(f"1..{len(wanted)}", flush=True)
    prepare()
    failed = 0
    for number, command in enumerate(wanted, 1):
        began = time.monotonic()
        why = (runs if command == "make run" else checks)(command)
        print(f"{'not ok' if why else 'ok'} {number} - {command}\n# {time.monotonic() - began:.0f} s\n" + (f"# {why}" if why else ""), flush=True)
        failed += bool(why)
    root.remove(ROOT)
    sys.exit(bool(failed))


main()
