// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - see control.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "front/control.h"
#include "lib/clock.h"

#define LATE_MS     15000
#define ADD_LATE_MS 75000 /* a domain of Xen's is created before it is answered */

void control_stop(struct control *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

int control_ask(struct control *c, const char *socket_path, const char *what, uint32_t ins, char why[CONTROL_WHY_BYTES])
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	bool adds = !strcmp(what, "add");
	char text[64];
	int n, r = 0;

	if (strlen(socket_path) >= sizeof(un.sun_path)) {
		snprintf(why, CONTROL_WHY_BYTES, "the path of its socket is too long");
		return -ENAMETOOLONG;
	}
	strcpy(un.sun_path, socket_path);
	n = adds ? snprintf(text, sizeof(text), "{\"do\":\"add\"}") :
				   snprintf(text, sizeof(text), "{\"do\":\"%s\",\"ins\":%u}", what, ins);
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&un, sizeof(un)) < 0 || send(c->fd, text, (size_t)n, MSG_NOSIGNAL) < 0) {
		r = -errno;
		snprintf(why, CONTROL_WHY_BYTES, "%s", r == -ENOENT || r == -ECONNREFUSED ? "it does not run on this host" : strerror(-r));
		control_stop(c);
	}
	c->late_ms = clock_ms() + (adds ? ADD_LATE_MS : LATE_MS);
	return r;
}

static void read_answer(const char *text, size_t n, char *why)
{
	json_t *j = json_loadb(text, n, 0, NULL);
	const char *error = json_string_value(json_object_get(j, "error"));

	if (error)
		snprintf(why, CONTROL_WHY_BYTES, "%s", error);
	else if (!json_is_object(j))
		snprintf(why, CONTROL_WHY_BYTES, "its answer makes no sense");
	json_decref(j);
}

bool control_turn(struct control *c, int64_t now_ms, char why[CONTROL_WHY_BYTES])
{
	static char text[65536];
	ssize_t n = recv(c->fd, text, sizeof(text), 0);

	why[0] = 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR) && now_ms < c->late_ms)
		return false;
	if (n > 0)
		read_answer(text, (size_t)n, why);
	else
		snprintf(why, CONTROL_WHY_BYTES, "it does not answer");
	control_stop(c);
	return true;
}
