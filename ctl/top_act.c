// SPDX-License-Identifier: Apache-2.0
/*
 * top_act.c - orders of `mw top` to an application's telemetry: one JSON line there, one back.
 * Trust: the answer is parsed by jansson; what it says of an error is cleaned before it is shown. One that is silent is
 * waited for REGISTRY_WAIT_S.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/clean.h"
#include "ctl/top.h"

#define ANSWER_BYTES (1u << 18) /* with the ids of 10,000 connections */

static int send_all(int fd, const char *text, size_t n)
{
	while (n > 0) {
		ssize_t r = send(fd, text, n, MSG_NOSIGNAL);

		if (r < 0)
			return -errno;
		text += r;
		n -= (size_t)r;
	}
	return 0;
}

/* A line without its end. There is never more than one on its way, since one is asked for at a time. */
static int receive_line(int fd, char text[ANSWER_BYTES])
{
	size_t n = 0;

	while (n + 1 < ANSWER_BYTES) {
		ssize_t r = recv(fd, text + n, ANSWER_BYTES - 1 - n, 0);

		if (r < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (r == 0)
			return -ECONNRESET;
		n += (size_t)r;
		if (text[n - 1] == '\n') {
			text[n - 1] = 0;
			return 0;
		}
	}
	return -EMSGSIZE;
}

static int exchange(int fd, json_t *request, char answer[ANSWER_BYTES])
{
	char *text = json_dumps(request, JSON_COMPACT);
	int r = text ? send_all(fd, text, strlen(text)) : -ENOMEM;

	if (r == 0)
		r = send_all(fd, "\n", 1);
	free(text);
	return r < 0 ? r : receive_line(fd, answer);
}

json_t *top_act(const char *app, uint32_t ins, json_t *request, char why[TOP_WHY_BYTES])
{
	char file[CONTROL_BYTES];
	int fd = registry_connect(app, control_file(ins, file), SOCK_STREAM), r = fd;
	static char text[ANSWER_BYTES];
	const char *error;
	json_t *answer;

	if (fd >= 0) {
		r = exchange(fd, request, text);
		close(fd);
	}
	json_decref(request);
	if (r < 0) {
		snprintf(why, TOP_WHY_BYTES, "%s does not take orders: %s", app, strerror(-r));
		return NULL;
	}
	answer = json_loads(text, 0, NULL);
	if (json_is_true(json_object_get(answer, "ok")))
		return answer;
	error = json_string_value(json_object_get(answer, "error"));
	snprintf(why, TOP_WHY_BYTES, "%s", error ? error : "not understood");
	clean_text(why);
	json_decref(answer);
	return NULL;
}
