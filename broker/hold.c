/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a port of the host for as long as it is published.
 * Trust: believes the kernel; the caller has checked the port.
 *
 * The socket is bound and never listens, and has no SO_REUSEADDR, so every other bind to the port fails, whatever its options
 * and whichever of the held addresses it names. Linux looks at both sockets' SO_REUSEADDR at the time of the second bind, so
 * ours is on at three moments: while a TCP one is bound (else a port with old connections in TIME_WAIT could not be held), while
 * hold_listen makes its socket beside it, and while an application that has one address takes another. Of two UDP sockets at ::1
 * it is the first that gets the datagrams, and that is the held one: confine_datagrams() makes ours the better match.
 */
#include "broker/hold.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/confine.h"

static socklen_t make_addr(struct sockaddr_storage *out, int family, const uint8_t *addr, uint16_t port)
{
	struct sockaddr_in *in = (struct sockaddr_in *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	out->ss_family = (sa_family_t)family;
	if (family == AF_INET) {
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, addr, 4);
		return sizeof(*in);
	}
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, addr, 16);
	return sizeof(*in6);
}

static void set_reuse(int fd, int on)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
}

static void set_beside(int fd, int on)
{
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
}

/* `beside`: others of the same port may listen too. They are the same application's: the held port keeps out the rest. */
static int bound_socket(const struct plan_port *port, int family, const uint8_t *addr, bool reuse, bool beside)
{
	struct sockaddr_storage ss;
	socklen_t bytes = make_addr(&ss, family, addr, port->host_port);
	int type = port->proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
	int fd = socket(family, type | SOCK_CLOEXEC, port->proto);
	int on = 1;

	if (fd < 0)
		return -errno;
	if (family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	set_reuse(fd, reuse);
	if (beside)
		set_beside(fd, 1);
	if (bind(fd, (struct sockaddr *)&ss, bytes)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/*
 * Linux remembers of a port that the last bind() had SO_REUSEPORT, and then lets others of the same user in without
 * a look at the held socket. The next bind() without it makes it forget; the address is one that nobody uses.
 */
static void forget_reuse(const struct hold *hold, const struct plan_port *port)
{
	static const uint8_t spare[16] = { 127, 255, 255, 254 };
	int held = hold->fd[0], fd;

	if (held >= 0)
		set_reuse(held, 1);
	fd = bound_socket(port, AF_INET, spare, true, false);
	if (fd >= 0)
		close(fd);
	if (held >= 0)
		set_reuse(held, 0);
}

int hold_open(struct hold *out, const struct plan_port *port, bool has_v6, bool beside)
{
	static const int family[2] = { AF_INET, AF_INET6 };
	struct hold h = { { -1, -1 } };

	for (int i = 0; i < 2; i++) {
		if (port->family != AF_UNSPEC && port->family != family[i])
			continue;
		if (family[i] == AF_INET6 && port->family == AF_UNSPEC && !has_v6)
			continue;
		/* Two UDP sockets that both have SO_REUSEADDR never conflict, and UDP has no TIME_WAIT. */
		h.fd[i] = bound_socket(port, family[i], port->addr, port->proto == IPPROTO_TCP, beside);
		if (h.fd[i] < 0) {
			int err = h.fd[i];

			hold_close(&h);
			return err;
		}
		set_reuse(h.fd[i], 0);
		set_beside(h.fd[i], 0);
	}
	if (beside)
		forget_reuse(&h, port);
	*out = h;
	return 0;
}

void hold_make_way(struct hold *hold, bool on)
{
	for (int i = 0; i < 2; i++) {
		if (hold->fd[i] < 0)
			continue;
		set_reuse(hold->fd[i], on);
		set_beside(hold->fd[i], on);
	}
}

void hold_settle(struct hold *hold, const struct plan_port *port)
{
	hold_make_way(hold, false);
	forget_reuse(hold, port);
}

void hold_close(struct hold *hold)
{
	for (int i = 0; i < 2; i++)
		if (hold->fd[i] >= 0)
			close(hold->fd[i]);
}

static int start_listening(int fd, int backlog)
{
	int r = confine_listener(fd);

	return r < 0 ? r : listen(fd, backlog) < 0 ? -errno : 0;
}

int hold_listen(const struct hold *hold, const struct plan_port *port, int family, int backlog)
{
	static const uint8_t lo4[16] = { 127, 0, 0, 1 }, lo6[16] = { [15] = 1 };
	const uint8_t *addr = family == AF_INET ? lo4 : lo6;
	int held = hold->fd[family == AF_INET6];
	int fd;

	if (plan_port_is_loopback(port))
		addr = port->addr;
	else if (!plan_port_is_any(port))
		held = -1;
	if (held < 0)
		return -EADDRNOTAVAIL;
	set_reuse(held, 1);
	fd = bound_socket(port, family, addr, true, true);
	if (fd >= 0) {
		int r = port->proto == IPPROTO_UDP ? confine_datagrams(fd) : start_listening(fd, backlog);

		if (r < 0) {
			close(fd);
			fd = r;
		}
	}
	set_reuse(held, 0);
	forget_reuse(hold, port);
	return fd;
}
