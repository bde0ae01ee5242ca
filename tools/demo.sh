#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `make run`: nginx with a small page, protected, on port 8080 of this host; its connections are shown as they come.
# FOR=SECONDS ends it by itself. PORT=N takes another port.
set -u
mw=${MW_BUILD:-build}/mw
port=${PORT:-8080}
if ! [[ $port =~ ^[0-9]{1,5}$ && ${FOR:-1} =~ ^[0-9]+$ ]]; then
	echo "PORT and FOR are numbers: make run PORT=8081 FOR=10, not PORT='$port' FOR='${FOR:-}'" >&2
	exit 2
fi
dir=$(mktemp -d /tmp/mw-demo.XXXXXX) || exit 1
app='' flows=''

finish() {
	trap - EXIT INT TERM
	[ -n "$flows" ] && kill "$flows" 2>/dev/null
	[ -n "$app" ] && kill "$app" 2>/dev/null && wait "$app"
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 0' INT TERM

mkdir "$dir/html"
echo '<h1>This page went through an isolated network stack.</h1>' >"$dir/html/index.html"
chmod -R a+rX "$dir"
cat >"$dir/nginx.conf" <<CONF
daemon off;
pid $dir/nginx.pid;
error_log $dir/error.log;
events {}
http {
	access_log off;
	sendfile on;
	server { listen 80; listen [::]:80; root $dir/html; }
}
CONF

net=(-p "$port:80")
if [ "$(id -u)" != 0 ]; then
	net=(--net host)
	sed -i "s/listen 80; listen \[::\]:80;/listen $port;/" "$dir/nginx.conf"
fi
"$mw" run --name demo "${net[@]}" -- nginx -c "$dir/nginx.conf" 2>"$dir/mw.log" &
app=$!
for _ in $(seq 100); do
	curl -fs -o /dev/null "http://127.0.0.1:$port/" && break
	kill -0 "$app" 2>/dev/null || break
	sleep 0.1
done
if ! curl -fs -o /dev/null "http://127.0.0.1:$port/"; then
	cat "$dir/mw.log" "$dir/error.log" >&2 2>/dev/null
	echo "nginx does not answer on port $port; if that is in use: make run PORT=8081" >&2
	exit 1
fi
echo "nginx is protected on port $port. Try it from another terminal:"
echo "    curl http://127.0.0.1:$port/"
echo "    $mw ps; $mw flows; $mw top; $mw doctor demo"
echo "Its connections, as they come and go${FOR:+, for $FOR seconds} (Ctrl-C ends it):"
"$mw" flows --follow demo &
flows=$!
if [ -n "${FOR:-}" ]; then
	curl -fs "http://127.0.0.1:$port/"
	sleep "$FOR"
else
	wait "$app"
fi
