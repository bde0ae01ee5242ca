// SPDX-License-Identifier: Apache-2.0
/*
 * notify.c - see notify.h.
 * Trust: as in the header.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/notify.h"

static struct sockaddr_un where;
static socklen_t where_bytes;
static int64_t every_ms, last_ms;

static void take_watchdog(void)
{
	const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (!us || (pid && strtol(pid, NULL, 10) != (long)getpid()))
		return;
	every_ms = strtoll(us, NULL, 10) / 1000 / 3;
	if (every_ms < 1)
		every_ms = 1;
}

void notify_take(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;

	if (n > 1 && n < sizeof(where.sun_path) && (path[0] == '/' || path[0] == '@')) {
		where.sun_family = AF_UNIX;
		memcpy(where.sun_path, path, n);
		if (path[0] == '@')
			where.sun_path[0] = 0;
		where_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
		take_watchdog();
	}
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

bool notify_is_abstract(void)
{
	return where_bytes && !where.sun_path[0];
}

static void tell(const char *text)
{
	int fd = where_bytes ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

	if (fd < 0)
		return;
	sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&where, where_bytes);
	close(fd);
}

void notify_ready(void)
{
	tell("READY=1");
}

void notify_stopping(void)
{
	tell("STOPPING=1");
}

void notify_alive(void)
{
	if (notify_wait_ms() != 0)
		return;
	last_ms = clock_ms();
	tell("WATCHDOG=1");
}

int notify_wait_ms(void)
{
	return every_ms ? clock_until(last_ms + every_ms) : -1;
}
