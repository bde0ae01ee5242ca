// SPDX-License-Identifier: Apache-2.0
/*
 * options.c - see options.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "link/telem.h"
#include "telem/options.h"

const struct sockopt options[] = {
	{ "sndbuf", SOL_SOCKET, SO_SNDBUF, OPTION_INT, "bytes that may wait to be sent" },
	{ "rcvbuf", SOL_SOCKET, SO_RCVBUF, OPTION_INT, "bytes that may wait to be read" },
	{ "sndlowat", SOL_SOCKET, SO_SNDLOWAT, OPTION_INT, "bytes" },
	{ "rcvlowat", SOL_SOCKET, SO_RCVLOWAT, OPTION_INT, "bytes that must be there before the application is told" },
	{ "sndtimeo", SOL_SOCKET, SO_SNDTIMEO, OPTION_TIME, "seconds that a blocked send waits; 0: for ever" },
	{ "rcvtimeo", SOL_SOCKET, SO_RCVTIMEO, OPTION_TIME, "seconds that a blocked read waits; 0: for ever" },
	{ "linger", SOL_SOCKET, SO_LINGER, OPTION_LINGER, "seconds, 0: close is a reset, off" },
	{ "keepalive", SOL_SOCKET, SO_KEEPALIVE, OPTION_INT, "1 or 0" },
	{ "keepidle", IPPROTO_TCP, TCP_KEEPIDLE, OPTION_INT, "seconds" },
	{ "keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, OPTION_INT, "seconds" },
	{ "keepcnt", IPPROTO_TCP, TCP_KEEPCNT, OPTION_INT, "probes without an answer" },
	{ "user_timeout", IPPROTO_TCP, TCP_USER_TIMEOUT, OPTION_INT, "milliseconds that sent bytes may stay unacknowledged" },
	{ "nodelay", IPPROTO_TCP, TCP_NODELAY, OPTION_INT, "1 or 0" },
	{ "quickack", IPPROTO_TCP, TCP_QUICKACK, OPTION_INT, "1: acknowledge at once, 0: delayed" },
	{ "congestion", IPPROTO_TCP, TCP_CONGESTION, OPTION_TEXT, "cubic, reno, ..." },
	{ "defer_accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, OPTION_INT, "seconds that a listener waits for the first byte" },
	{ "reuseaddr", SOL_SOCKET, SO_REUSEADDR, OPTION_INT, "1 or 0" },
	{ "reuseport", SOL_SOCKET, SO_REUSEPORT, OPTION_INT, "1 or 0" },
	{ "nonblock", VERB_LEVEL, VERB_NONBLOCK, OPTION_INT, "1: the application's calls do not wait; 0: as it says itself" },
};
const uint32_t option_count = sizeof(options) / sizeof(options[0]);

const struct sockopt *option_named(const char *name)
{
	for (uint32_t i = 0; i < option_count; i++)
		if (!strcmp(options[i].name, name))
			return &options[i];
	return NULL;
}

static bool parse_int(const char *text, int *v)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	*v = (int)n;
	return !errno && end != text && !*end && n == *v;
}

int option_parse(const struct sockopt *o, const char *text, uint8_t value[OPTION_VALUE_MAX])
{
	struct linger linger = { .l_onoff = 1 };
	struct timeval time;
	double seconds;
	char *end;
	int v;

	switch (o->type) {
	case OPTION_INT:
		if (!parse_int(text, &v))
			return -EINVAL;
		memcpy(value, &v, sizeof(v));
		return sizeof(v);
	case OPTION_LINGER:
		if (!strcmp(text, "off"))
			linger.l_onoff = 0;
		else if (!parse_int(text, &linger.l_linger) || linger.l_linger < 0)
			return -EINVAL;
		memcpy(value, &linger, sizeof(linger));
		return sizeof(linger);
	case OPTION_TIME:
		seconds = strtod(text, &end);
		if (end == text || *end || !(seconds >= 0 && seconds < 1e9))
			return -EINVAL;
		time.tv_sec = (time_t)seconds;
		time.tv_usec = (suseconds_t)((seconds - (double)time.tv_sec) * 1e6 + 0.5); /* 2.3 is a little less */
		time.tv_sec += time.tv_usec / 1000000;
		time.tv_usec %= 1000000;
		memcpy(value, &time, sizeof(time));
		return sizeof(time);
	case OPTION_TEXT:
		if (!*text || strlen(text) >= 16)
			return -EINVAL;
		memcpy(value, text, strlen(text));
		return (int)strlen(text);
	}
	return -EINVAL;
}

static uint32_t bytes_of(enum option_type type)
{
	return type == OPTION_INT ? sizeof(int) : type == OPTION_LINGER ? sizeof(struct linger) : type == OPTION_TIME ? sizeof(struct timeval) : 1;
}

const char *option_text(const struct sockopt *o, const uint8_t *value, uint32_t bytes, char text[OPTION_TEXT_BYTES])
{
	union {
		int n;
		struct linger linger;
		struct timeval time;
	} v = { 0 };

	if (bytes < bytes_of(o->type))
		return "?";
	if (o->type == OPTION_TEXT) {
		snprintf(text, OPTION_TEXT_BYTES, "%.*s", (int)bytes, (const char *)value);
		return text;
	}
	memcpy(&v, value, bytes_of(o->type));
	if (o->type == OPTION_TIME)
		snprintf(text, OPTION_TEXT_BYTES, "%.15g", (double)v.time.tv_sec + (double)v.time.tv_usec / 1e6);
	else if (o->type == OPTION_LINGER && !v.linger.l_onoff)
		return "off";
	else
		snprintf(text, OPTION_TEXT_BYTES, "%d", o->type == OPTION_LINGER ? v.linger.l_linger : v.n);
	return text;
}
