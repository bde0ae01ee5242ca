// SPDX-License-Identifier: Apache-2.0
/*
 * netflow.c - see netflow.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/netflow.h"
#include "lib/addr.h"
#include "link/samples.h"

static char allow[sizeof("netflow-allow=") + NETFLOW_ALLOW_MAX * PREFIX_TEXT_BYTES];

static bool parse_ip(struct mw_addr *a, char *text)
{
	size_t n = strlen(text);
	bool six = n > 2 && text[0] == '[' && text[n - 1] == ']';

	if (six)
		text[n - 1] = 0;
	a->family = six ? MW_FAMILY_IP6 : MW_FAMILY_IP4;
	return inet_pton(six ? AF_INET6 : AF_INET, text + six, a->addr) == 1;
}

bool netflow_parse(struct mw_addr *a, const char *argument)
{
	char text[ADDR_TEXT_BYTES], *colon, *end;
	unsigned long port;

	memset(a, 0, sizeof(*a));
	if (strlen(argument) >= sizeof(text))
		return false;
	snprintf(text, sizeof(text), "%s", argument);
	colon = strrchr(text, ':');
	if (!colon || colon[1] < '0' || colon[1] > '9')
		return false;
	*colon = 0;
	port = strtoul(colon + 1, &end, 10);
	a->port = (uint16_t)port;
	return !*end && port > 0 && port <= 65535 && parse_ip(a, text);
}

static int listen_tcp(const struct mw_addr *a, int (*make)(int family))
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	int fd = make ? make(ss.ss_family) : socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1, r;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len) == 0 && listen(fd, 64) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static char *allow_text(const struct netflow_options *o)
{
	size_t at = (size_t)snprintf(allow, sizeof(allow), "netflow-allow=");
	char text[PREFIX_TEXT_BYTES];

	for (size_t i = 0; i < o->allow_count; i++)
		at += (size_t)snprintf(allow + at, sizeof(allow) - at, "%s%s", i ? "," : "", prefix_text(&o->allow[i], text));
	return allow;
}

static void add_argument(struct helper *h, const char *text)
{
	const char **at = h->argv;

	while (*at)
		at++;
	*at = text;
}

int netflow_listen(const struct netflow_options *o, int (*make)(int family), int *fd, char *why, size_t why_bytes)
{
	char text[ADDR_TEXT_BYTES];
	int tcp = o->addr.family == MW_FAMILY_NONE ? -1 : listen_tcp(&o->addr, make);

	if (tcp < 0 && o->addr.family != MW_FAMILY_NONE) {
		snprintf(why, why_bytes, "cannot listen on %s for --netflow: %s", addr_text(&o->addr, text), strerror(-tcp));
		return tcp;
	}
	*fd = tcp;
	return 0;
}

int netflow_prepare(const char *name, const char *file, const struct netflow_options *o, struct helper *h, char *why, size_t why_bytes)
{
	int own = registry_listen(name, file, SOCK_STREAM);

	if (own < 0) {
		snprintf(why, why_bytes, "cannot listen in the runtime directory: %s", strerror(-own));
		return own;
	}
	h->fds[TELEM_NETFLOW_FD - 4] = own;
	if (o->addr.family != MW_FAMILY_NONE)
		add_argument(h, allow_text(o));
	return 0;
}

void netflow_where(const char *name, const struct netflow_options *o, char text[REGISTRY_PATH_MAX])
{
	if (o->addr.family == MW_FAMILY_NONE)
		registry_path(text, name, "netflow");
	else
		addr_text(&o->addr, text);
}
