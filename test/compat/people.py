# SPDX-License-Identifier: Apache-2.0
"""A person with a password and a home, for servers that people log into; /etc becomes a copy."""
NAME, PASSWORD = "visitor", "s3cret word"
HOME = f"/run/home/{NAME}"


def arrive(lab):
    lab.private("/etc")
    lab.folder("/run/home")
    lab.client(["useradd", "-m", "-d", HOME, "-s", "/bin/bash", NAME])
    lab.client(["chpasswd"], stdin=f"{NAME}:{PASSWORD}\n")
