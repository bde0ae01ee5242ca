# SPDX-License-Identifier: Apache-2.0
"""Dovecot IMAP with Debian's configuration: PAM, its login and mail processes, IDLE.

Its processes limit their address space to 256 MB, of which the rings of 10,000 sockets must take nothing.
"""
import imaplib
import re
import ssl
from email.message import EmailMessage
from pathlib import Path

import people

TITLE = "Dovecot IMAP"
WORK = "log in (plain, STARTTLS, TLS), append, fetch, search, delete, IDLE, 8 sessions at once, reload, what it" \
       " refuses"
PACKAGES = ["dovecot-imapd", "openssl"]


def work(lab):
    people.arrive(lab)
    cert, key, _ = lab.certificate()
    for path in ("/run/dovecot", "/run/mail"):
        lab.folder(path)
    lab.folder("/run/mail", mode=0o1777)
    for file, place in ((cert, "dovecot.pem"), (key, "dovecot.key")):
        Path(f"/etc/dovecot/private/{place}").unlink(missing_ok=True)
        lab.file(f"/etc/dovecot/private/{place}", Path(file).read_text())
    lab.file("/etc/dovecot/local.conf", "log_path = /dev/stderr\nmail_location = maildir:/run/mail/%u\n")
    app = lab.start(["dovecot", "-F"])
    lab.ready(143, 993)
    context = ssl.create_default_context(cafile=cert)
    for how in ("plain", "STARTTLS", "TLS", "plain on ::1"):
        with session(how, context) as imap:
            mail(lab, how, imap)
    with session("STARTTLS", context) as imap:
        idle(lab, imap, context)
    crowd(lab)
    reload(lab)
    refused(lab)
    lab.client(["doveadm", "stop"])
    app.wait(20)


def session(how, context, password=people.PASSWORD):
    if how == "TLS":
        imap = imaplib.IMAP4_SSL("localhost", ssl_context=context, timeout=20)
    else:
        imap = imaplib.IMAP4("::1" if "::1" in how else "localhost", timeout=20)
        if how == "STARTTLS":
            imap.starttls(context)
    imap.login(people.NAME, f'"{password}"' if " " not in password else password)
    return imap


def message(number, body):
    text = EmailMessage()
    text["From"], text["To"], text["Subject"] = "a@example.net", "b@example.net", f"number {number}"
    text["Date"], text["Message-ID"] = "Mon, 1 Jan 2024 00:00:00 +0000", f"<{number}@example.net>"
    text.set_content(body)
    return text.as_bytes()


def mail(lab, how, imap):
    lab.note(f"{how}: capability", sorted(imap.capabilities))
    lab.note(f"{how}: create", imap.create("Box")[0])
    for i in range(20):
        imap.append("Box", None, None, message(i, "line\n" * 1000 * i))
    large = message("large", lab.noise("mail", 1_500_000).hex())
    lab.note(f"{how}: append 3 MB", imap.append("Box", None, None, large)[0])
    lab.note(f"{how}: select", imap.select("Box"))
    status, found = imap.fetch("1:20", "(RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    lab.note(f"{how}: fetch", (status, found))
    lab.note(f"{how}: fetch 3 MB", imap.fetch("21", "(BODY.PEEK[])")[1][0][1].replace(b"\r\n", b"\n") ==
             large.replace(b"\r\n", b"\n"))
    lab.note(f"{how}: search", imap.search(None, "SUBJECT", '"number 7"'))
    lab.note(f"{how}: store", imap.store("1:10", "+FLAGS", r"(\Deleted)"))
    lab.note(f"{how}: expunge", imap.expunge())
    lab.note(f"{how}: list", imap.list())
    imap.close()
    lab.note(f"{how}: delete", imap.delete("Box")[0])


def idle(lab, imap, context):
    """Another session's message shows while the first waits."""
    imap.select("INBOX")
    imap.send(b"i1 IDLE\r\n")
    lab.note("IDLE", imap.readline())
    with session("TLS", context) as other:
        other.append("INBOX", None, None, message("idle", "hello"))
    lines = [imap.readline()]
    while b"EXISTS" not in lines[-1]:
        lines.append(imap.readline())
    lab.note("IDLE tells", lines[-1])
    imap.send(b"DONE\r\n")
    while not lines[-1].startswith(b"i1"):
        lines.append(imap.readline())
    lab.note("DONE", re.sub(rb"\(.*", b"", lines[-1]))


def refused(lab):
    try:
        session("plain", None, "wrong")
        lab.note("a wrong password", "let in")
    except imaplib.IMAP4.error as e:
        lab.note("a wrong password", e)
    imap = imaplib.IMAP4("localhost", timeout=20)
    imap.send(b"x nonsense\r\n")
    lab.note("no such command", imap.readline())
    imap.shutdown()


def crowd(lab):
    imaps = [session("plain", None) for _ in range(8)]
    for imap in imaps:
        imap.select("INBOX", readonly=True)
    lab.note("8 sessions at once", {imap.noop()[0] for imap in imaps})
    for imap in imaps:
        imap.logout()
    for _ in range(20):
        session("plain", None).logout()
    lab.note("and 20 one after the other", session("plain", None).logout()[0])


def reload(lab):
    """Its login processes are replaced; a session stays."""
    imap = session("plain", None)
    lab.client(["doveadm", "reload"])
    lab.until(15, lambda: "SIGHUP received" in lab.logs(), "it reads its configuration again")
    lab.note("a new session after the reload", session("plain", None).logout()[0])
    lab.note("and the one from before", imap.noop()[0])
