// SPDX-License-Identifier: Apache-2.0
/*
 * control.c - a client of telemetry's `control` socket.
 * Trust: an answer is looked at for one word, or parsed by jansson and looked up by name. None is waited for for ever.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "broker/registry.h"
#include "ctl/ctl.h"

#define WAIT_S 60 /* for an order to be carried out: thousands of connections take about a second */

const char *control_file(uint32_t ins, char text[CONTROL_BYTES])
{
	snprintf(text, CONTROL_BYTES, ins ? "control-%u" : "control", ins);
	return text;
}

/* A connection on which that was asked, or -errno. */
static int control_ask(const char *name, uint32_t ins, const char *text)
{
	char file[CONTROL_BYTES];
	int fd = registry_connect(name, control_file(ins, file), SOCK_STREAM);

	if (fd < 0)
		return fd;
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0)
		return fd;
	close(fd);
	return -1;
}

int control_follow(const char *name, uint32_t ins, bool samples)
{
	return control_ask(name, ins, samples ? "{\"do\":\"follow\",\"samples\":true}\n" : "{\"do\":\"follow\"}\n");
}

bool control_fresh(const char *name, uint32_t ins)
{
	char text[256];
	int fd = control_ask(name, ins, "{\"do\":\"sample\"}\n");
	ssize_t n = fd < 0 ? -1 : recv(fd, text, sizeof(text) - 1, 0);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	text[n] = 0;
	return strstr(text, "\"ok\":true") != NULL;
}

/* --- one request, its answers --- */

int link_open(struct link *l, const char *name, uint32_t ins)
{
	struct timeval t = { .tv_sec = WAIT_S };
	char file[CONTROL_BYTES];
	int fd = registry_connect(name, control_file(ins, file), SOCK_STREAM);

	if (fd < 0) {
		ask_absent(name);
		return EXIT_PROBLEM;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	l->f = fdopen(fd, "r+");
	if (l->f)
		return EXIT_OK;
	fprintf(stderr, "mw: cannot ask %s: %s\n", name, strerror(errno));
	close(fd);
	return EXIT_PROBLEM;
}

int link_send(struct link *l, json_t *request)
{
	int r = json_dumpf(request, l->f, JSON_COMPACT) < 0 || fputc('\n', l->f) == EOF || fflush(l->f) == EOF;

	json_decref(request);
	return r ? EXIT_PROBLEM : EXIT_OK;
}

json_t *link_line(struct link *l)
{
	json_t *o = json_loadf(l->f, JSON_DISABLE_EOF_CHECK, NULL);

	if (!o)
		fprintf(stderr, "mw: telemetry did not answer; it is started again by itself: try once more\n");
	return o;
}

json_t *link_answer(const char *name, uint32_t ins, json_t *request)
{
	struct link l;
	json_t *answer;

	if (link_open(&l, name, ins)) {
		json_decref(request);
		return NULL;
	}
	answer = link_send(&l, request) ? NULL : link_line(&l);
	fclose(l.f);
	return answer;
}
