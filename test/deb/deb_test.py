# SPDX-License-Identifier: Apache-2.0
"""The Debian packages without a Debian to install them in: built, one version everywhere, lintian, what is in which."""
import fnmatch
import re
import sys
from pathlib import Path

import packages
from packages import NAMES, TOP, contents, field, said
from root import STORE

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "net"))

from lib import tap                                 # noqa: E402
from lib.tap import case, check, equal, matches     # noqa: E402

SPDX = {"Apache-2.0": "Apache-2.0", "GPL-2.0": "GPL-2", "GPL-2.0 WITH Linux-syscall-note": "GPL-2 with Linux-syscall-note exception",
        "MIT OR GPL-2.0": "Expat or GPL-2"}


@case("built from a copy: nothing is left in the tree", limit=400)
def built(_):
    before = said("git", "status", "--porcelain", "--ignored")
    packages.build()
    equal(said("git", "status", "--porcelain", "--ignored"), before, "files in the tree")
    equal([path.name for path in STORE.glob("mwcomms-*/")], [], "the copy")
    for name in NAMES:
        equal(field(name, "Version"), packages.version(), f"version of {name}")


@case("lintian has neither errors nor warnings", limit=200)
def lintian(_):
    changes, = STORE.glob("*.changes")
    equal(said("lintian", "--allow-root", "--fail-on=error,warning", changes), "", "lintian")


@case("what is in which package")
def which(_):
    found = {name: contents(name) for name in NAMES}
    for name, paths in found.items():
        for path in paths:
            check(path.startswith("/usr/"), f"{name}: {path} is not below /usr")
    mw = found["mwcomms"]
    for path in ("/usr/bin/mw", "/usr/libexec/mwcomms/mw-ins", "/usr/libexec/mwcomms/mw-front", "/usr/libexec/mwcomms/mw-telem", "/usr/libexec/mwcomms/mw-trap",
                 "/usr/libexec/mwcomms/mw-names"):
        equal(mw.get(path), "-rwxr-xr-x", path)
    for path in ("/usr/lib/mwcomms/libmwshim.so", "/usr/lib/systemd/system/mw@.service", "/usr/lib/systemd/system/mw-frontend@.service"):
        equal(mw.get(path), "-rw-r--r--", path)
    check("/usr/libexec/mwcomms/mw-xen" in found["mwcomms-xen"] and "/usr/libexec/mwcomms/mw-xen" not in mw, "mw-xen is in mwcomms-xen alone")
    of = {"libmwchan.3": "libmwchan-dev", "mw-channel.7": "libmwchan-dev", "mwcomms.4": "mwcomms-dkms", "mw-xen.8": "mwcomms-xen", "mw-xenstore.5": "mwcomms-xen"}
    for page in (TOP / "man").iterdir():
        path = f"/usr/share/man/man{page.suffix[1:]}/{page.name}.gz"
        equal([name for name, paths in found.items() if path in paths], [of.get(page.name, "mwcomms")], f"whose {page.name} is")
    check("xenstore" not in field("mwcomms", "Depends"), "mwcomms needs nothing of Xen")
    source = f"/usr/src/mwcomms-{packages.version()}/"
    for path in ("dkms.conf", "kmod/Kbuild", "kmod/main.c", "chan/ring.c"):
        check(source + path in found["mwcomms-dkms"], path)
    for path in (TOP / "chan").glob("*.h"):
        check(f"/usr/include/mwcomms/{path.name}" in found["libmwchan-dev"], f"{path.name} is in libmwchan-dev")


@case("one version: of the packages, the programs, the module")
def one_version(_):
    of = {"meson.build": r"^  version: '([\d.]+)'", "kmod/dkms.conf": r'^PACKAGE_VERSION="([\d.]+)"', "debian/changelog": r"^mwcomms \(([\d.]+)\)",
          "Makefile": r"/usr/src/mwcomms-([\d.]+)$"}
    seen = {name: re.findall(pattern, (TOP / name).read_text(), re.M) for name, pattern in of.items()}
    equal(seen, {name: [packages.version()] for name in of}, "versions")


@case("debian/copyright says of each file what its SPDX line says")
def copyrights(_):
    rules = re.findall(r"^Files: (.*)\nCopyright: .*\nLicense: (.*)$", (TOP / "debian/copyright").read_text(), re.M)
    for name in said("git", "ls-files").split():
        if not (TOP / name).is_file():
            continue
        line = re.search(r"SPDX-License-Identifier: (.*?)(?: \*/)?$", "\n".join((TOP / name).read_text(errors="replace").splitlines()[:3]), re.M)
        stated = [licence for patterns, licence in rules if any(fnmatch.fnmatchcase(name, one) for one in patterns.split())]
        if line:
            equal(stated[-1], SPDX[line[1]], f"the licence of {name}")


@case("debian/control's build dependencies are what `make deb` installs")
def build_depends(_):
    text = (TOP / "Makefile").read_text().replace("\\\n", " ")
    installed = set(" ".join(re.findall(r"^PACKAGES_(?:BUILD|DEB) *= (.*)$", text, re.M)).split())
    wanted = re.search(r"^Build-Depends:\n((?: .*\n)+)", (TOP / "debian/control").read_text(), re.M)[1]
    wanted = {word.strip().split(" ")[0].replace("-compat", "").replace("dh-sequence-dkms", "dh-dkms") for word in wanted.split(",")} - {"", "dh-sequence-installsysusers"}
    equal(sorted(wanted - installed), [], "not installed")
    matches(text, r"^deb:.*\n\t@tools/deps.sh \$\(PACKAGES_BUILD\) \$\(PACKAGES_DEB\)", "make deb")


if __name__ == "__main__":
    tap.main()
