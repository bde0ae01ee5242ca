// SPDX-License-Identifier: Apache-2.0
/*
 * ipfix.c - see ipfix.h.
 * Trust: as in the header.
 *
 * Telemetry gets numbers and open files: "ipfix udp PORT NAME ADDR...", "ipfix file FD NAME", "ipfix-timeout S".
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "broker/ipfix.h"

#define ARG_BYTES 1024
#define ADDRS_MAX 4

static char args[TELEM_IPFIX_MAX + 1][ARG_BYTES];

static bool parse_host(struct ipfix_target *t, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;
	unsigned long port;
	char *end;

	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (n && memchr(text, ':', n)) {
		return false;
	}
	if (n == 0 || n >= sizeof(t->host) || memchr(text, ' ', n))
		return false;
	port = strtoul(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || !port || port > 65535)
		return false;
	memcpy(t->host, text, n);
	snprintf(t->port, sizeof(t->port), "%lu", port);
	return true;
}

bool ipfix_parse(struct ipfix_target *t, const char *text)
{
	const char *colon = strchr(text, ':');

	memset(t, 0, sizeof(*t));
	if (!colon || (size_t)(colon - text) >= sizeof(t->kind))
		return false;
	memcpy(t->kind, text, (size_t)(colon - text));
	if (!strcmp(t->kind, "file")) {
		t->path = colon + 1;
		return t->path[0] && strlen(t->path) < ARG_BYTES - 64;
	}
	return (!strcmp(t->kind, "udp") || !strcmp(t->kind, "tcp")) && parse_host(t, colon + 1);
}

static int open_file(const char *path, char *why, size_t why_bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	struct stat st;
	int r = fd < 0 ? -errno : 0;

	if (r == 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
		r = -EINVAL;
	if (r == 0)
		return fd;
	snprintf(why, why_bytes, "--ipfix: cannot write to %s: %s", path, r == -EINVAL ? "it is not a regular file" : strerror(-r));
	if (fd >= 0)
		close(fd);
	return r;
}

static int resolve(const struct ipfix_target *t, char *arg, char *why, size_t why_bytes)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list;
	int r = getaddrinfo(t->host, t->port, &hints, &list), n = 0;
	size_t used = strlen(arg);

	if (r) {
		snprintf(why, why_bytes, "--ipfix: cannot find %s: %s; give its address", t->host, gai_strerror(r));
		return -EHOSTUNREACH;
	}
	for (const struct addrinfo *a = list; a && n < ADDRS_MAX; a = a->ai_next) {
		char text[NI_MAXHOST];

		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST) || strchr(text, '%') || used + strlen(text) + 2 > ARG_BYTES)
			continue;
		used += (size_t)snprintf(arg + used, ARG_BYTES - used, " %s", text);
		n++;
	}
	freeaddrinfo(list);
	if (!n)
		snprintf(why, why_bytes, "--ipfix: %s has no address but one of a single link; give another", t->host);
	return n ? 0 : -EHOSTUNREACH;
}

/* What telemetry that runs has is written over by what is whole: the same, or newer addresses. */
static int prepare_one(const char *text, int number, struct helper *telem, char *why, size_t why_bytes)
{
	struct ipfix_target t;
	int fd = TELEM_IPFIX_FD + number, r;
	char arg[ARG_BYTES];

	if (!ipfix_parse(&t, text))
		return -EINVAL;
	if (t.path) {
		snprintf(args[number], ARG_BYTES, "ipfix file %d %s", fd, t.path);
		fd = open_file(t.path, why, why_bytes);
		telem->fds[TELEM_IPFIX_FD + number - 4] = fd;
		return fd < 0 ? fd : 0;
	}
	snprintf(arg, sizeof(arg), "ipfix %s %s %s", t.kind, t.port, text);
	r = resolve(&t, arg, why, why_bytes);
	if (r == 0)
		strcpy(args[number], arg);
	return r;
}

int ipfix_prepare(const struct run_options *o, struct helper *telem, char *why, size_t why_bytes)
{
	size_t next = 0;
	int r = 0;

	while (telem->argv[next])
		next++;
	for (size_t i = 0; i < o->ipfix_count && r == 0; i++) {
		r = prepare_one(o->ipfix[i], (int)i, telem, why, why_bytes);
		telem->argv[next++] = args[i];
	}
	if (o->ipfix_timeout_s) {
		snprintf(args[TELEM_IPFIX_MAX], ARG_BYTES, "ipfix-timeout %u", o->ipfix_timeout_s);
		telem->argv[next++] = args[TELEM_IPFIX_MAX];
	}
	return r;
}
