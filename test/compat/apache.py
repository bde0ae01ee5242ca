# SPDX-License-Identifier: Apache-2.0
"""Apache with one of its MPMs, PHP-FPM behind it over TCP and over a UNIX socket, CGI, and its proxy."""
import glob

import web
PACKAGES = ["apache2", "apache2-utils", "php-fpm", "curl", "openssl", "python3"]
WORK = "static files, TLS, HTTP/2, PHP-FPM over TCP and a UNIX socket, CGI, proxy, graceful restart"

CONFIG = """
ServerRoot /etc/apache2
ServerName localhost
PidFile /run/apache.pid
ErrorLog /dev/stderr
User www-data
Group www-data
Listen 80
Listen 443
DocumentRoot /var/www/html
%(modules)s
ScriptSock /run/cgid.sock
KeepAliveTimeout 20
StartServers 2
TypesConfig /etc/mime.types
<Directory /var/www/html>
	Require all granted
</Directory>
ScriptAlias /cgi/ /run/cgi/
<Directory /run/cgi>
	Require all granted
</Directory>
<LocationMatch "^/tcp/(.*[.]php)$">
	ProxyPass fcgi://127.0.0.1:9100/run/php/$1
</LocationMatch>
<LocationMatch "^/unix/(.*[.]php)$">
	ProxyPass unix:/run/fpm.sock|fcgi://localhost/run/php/$1
</LocationMatch>
ProxyPass /proxy/ http://%(there)s:9000/
SetEnvIf Remote_Addr . THERE=%(there)s
<VirtualHost *:80>
</VirtualHost>
<VirtualHost *:443>
	SSLEngine on
	SSLCertificateFile %(cert)s
	SSLCertificateKeyFile %(key)s
	Protocols %(protocols)s
</VirtualHost>
"""

FPM = """
[global]
error_log = /dev/stderr
daemonize = no
[tcp]
user = www-data
listen = 127.0.0.1:9100
pm = static
pm.max_children = 3
[unix]
user = www-data
listen = /run/fpm.sock
listen.owner = www-data
pm = dynamic
pm.max_children = 4
pm.start_servers = 1
pm.min_spare_servers = 1
pm.max_spare_servers = 2
"""

PHP = """<?php
if (isset($_GET['fetch']))
	echo md5(file_get_contents("http://%(there)s:9000/bytes/" . $_GET['fetch']));
else if (isset($_GET['size']))
	echo str_repeat("0123456789", $_GET['size'] / 10);
else
	echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['REMOTE_ADDR'], ' ', md5(file_get_contents('php://input')), "\\n";
"""

SHELL_CGI = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "$REQUEST_METHOD $REMOTE_ADDR $QUERY_STRING"
[ -z "$CONTENT_LENGTH" ] || md5sum
"""

PYTHON_CGI = """#!/usr/bin/python3
import hashlib, os, sys, urllib.request
sys.stdout.write("Content-Type: text/plain\\r\\n\\r\\n")
body = urllib.request.urlopen("http://%(there)s:9000/bytes/" + os.environ["QUERY_STRING"], timeout=10).read()
print(len(body), hashlib.md5(body).hexdigest())
"""

MODULES = ("authz_core", "mime", "dir", "alias", "setenvif", "proxy", "proxy_http", "proxy_fcgi", "ssl", "socache_shmcb")


def modules(mpm):
    names = [f"mpm_{mpm}", *MODULES, *(["cgi"] if mpm == "prefork" else ["cgid", "http2"])]
    lines = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in names]
    return "\n".join(lines)


def work(lab, mpm):
    cert, key, _ = lab.certificate()
    there = {"there": lab.there}
    web.root(lab)
    web.origin(lab, 9000, there=True)
    lab.file("/run/php/page.php", PHP % there)
    lab.file("/run/cgi/shell", SHELL_CGI, mode=0o755)
    lab.file("/run/cgi/fetch", PYTHON_CGI % there, mode=0o755)
    text = CONFIG % {**there, "cert": cert, "key": key, "modules": modules(mpm),
                     "protocols": "http/1.1" if mpm == "prefork" else "h2 http/1.1"}
    if mpm == "prefork":
        text = text.replace("ScriptSock /run/cgid.sock\n", "")
    config = lab.file("/run/apache.conf", text)
    fpm = [max(glob.glob("/usr/sbin/php-fpm*")), "-y", lab.file("/run/fpm.conf", FPM), "-F"]
    lab.start(["apache2", "-f", config, "-D", "FOREGROUND"], beside=[fpm])
    lab.ready(80, 443, 9100)
    web.static(lab)
    web.odd_clients(lab)
    web.proxied(lab, 80, "/proxy")
    web.crowd(lab, 80)
    for way in ("tcp", "unix"):
        php(lab, way)
    cgi(lab)
    for version in ("--http1.1", *(() if mpm == "prefork" else ("--http2",))):
        for path in ("/page.bin", "/large.bin", "/tcp/page.php?size=100000"):
            web.curl(lab, f"{version} {path}", version, f"https://127.0.0.1{path}")
    web.reloads(lab, ["apache2", "-f", config, "-k", "graceful"], times=3)


def php(lab, way):
    with web.Client("127.0.0.1", 80) as c:
        for size in (10, 100_000, 2_000_000):
            lab.note(f"PHP over {way}: {size}", web.seen(c.ask(f"/{way}/page.php?size={size}")))
        for size in (1, 100, 500_000):
            lab.note(f"PHP over {way}: POST {size}", c.ask(f"/{way}/page.php", "POST", lab.noise("php", size)).body)
        lab.note(f"PHP over {way} fetches", c.ask(f"/{way}/page.php?fetch=300000").body)
        lab.note(f"PHP over {way}: no such page", c.ask(f"/{way}/none.php").status)
    web.crowd(lab, 80, f"/{way}/page.php?size=1000", clients=5)


def cgi(lab):
    with web.Client("127.0.0.1", 80) as c:
        lab.note("CGI", c.ask("/cgi/shell?a=b").body.decode())
        lab.note("CGI POST", c.ask("/cgi/shell", "POST", lab.noise("cgi", 200_000)).body.decode())
        lab.note("CGI that fetches", c.ask("/cgi/fetch?200000").body.decode())
