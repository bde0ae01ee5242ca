// SPDX-License-Identifier: Apache-2.0
/*
 * xenstore.c - see xenstore.h.
 * Trust: as in the header; a reply that is longer than one may be ends the connection.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <xen/io/xs_wire.h>

#include "link/xenstore.h"

static int fd = -1;
static bool changed;
static char payload[XENSTORE_PAYLOAD_MAX + 1];

static int dial(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	if (s >= 0 && connect(s, (struct sockaddr *)&at, sizeof(at)) == 0)
		return s;
	if (s >= 0)
		close(s);
	return -errno;
}

int store_open(void)
{
	const char *path = getenv("XENSTORED_PATH");

	fd = path ? dial(path) : open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC);
	return fd >= 0 ? 0 : path ? fd : -errno;
}

int store_fd(void)
{
	return fd;
}

static int read_all(void *to, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = read(fd, (char *)to + done, n - done);

		if (r == 0 || (r < 0 && errno != EINTR))
			return r == 0 ? -EPIPE : -errno;
		done += r > 0 ? (size_t)r : 0;
	}
	return 0;
}

static int write_all(const void *from, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = write(fd, (const char *)from + done, n - done);

		if (r < 0 && errno != EINTR)
			return -errno;
		done += r > 0 ? (size_t)r : 0;
	}
	return 0;
}

/* The next message, its payload with a NUL behind it. Events of watches are noted. */
static int next_message(struct xsd_sockmsg *m)
{
	int r = read_all(m, sizeof(*m));

	if (r == 0 && m->len > XENSTORE_PAYLOAD_MAX)
		r = -EPROTO;
	if (r == 0)
		r = read_all(payload, m->len);
	if (r < 0)
		return r;
	payload[m->len] = '\0';
	changed |= m->type == XS_WATCH_EVENT;
	return 0;
}

static int error_of(const char *name)
{
	for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
		if (!strcmp(xsd_errors[i].errstring, name))
			return -xsd_errors[i].errnum;
	return -EPROTO;
}

/* Two strings, each with its NUL when that is to be sent. Bytes of the answer, or -errno. */
static int ask(uint32_t type, const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
	struct xsd_sockmsg m = { .type = type, .req_id = 1, .len = (uint32_t)(a_bytes + b_bytes) };
	int r = fd < 0 ? -ENOTCONN : write_all(&m, sizeof(m));

	if (r == 0)
		r = write_all(a, a_bytes);
	if (r == 0 && b_bytes)
		r = write_all(b, b_bytes);
	do
		r = r < 0 ? r : next_message(&m);
	while (r == 0 && m.type == XS_WATCH_EVENT);
	if (r < 0)
		return r;
	return m.type == XS_ERROR ? error_of(payload) : (int)m.len;
}

int store_read(const char *path, char value[STORE_VALUE_MAX])
{
	int r = ask(XS_READ, path, strlen(path) + 1, NULL, 0);

	value[0] = '\0';
	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		snprintf(value, STORE_VALUE_MAX, "%.*s", STORE_VALUE_MAX - 1, payload);
	return r < 0 ? r : 0;
}

int store_write(const char *path, const char *value)
{
	int r = ask(XS_WRITE, path, strlen(path) + 1, value, strlen(value));

	return r < 0 ? r : 0;
}

int store_watch(const char *path)
{
	int r = ask(XS_WATCH, path, strlen(path) + 1, "mw", 3);

	return r < 0 ? r : 0;
}

bool store_changed(void)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct xsd_sockmsg m;
	bool was;

	while (fd >= 0 && poll(&p, 1, 0) > 0) {
		if (next_message(&m) < 0) {
			close(fd);
			fd = -1;
			changed = true;
		}
	}
	was = changed;
	changed = false;
	return was;
}

int store_domain_lives(unsigned int domain)
{
	char id[16];
	int r;

	snprintf(id, sizeof(id), "%u", domain);
	r = ask(XS_IS_DOMAIN_INTRODUCED, id, strlen(id) + 1, NULL, 0);
	return r < 0 ? r : payload[0] == 'T';
}
