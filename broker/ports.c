/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ports.c - see ports.h.
 * Trust: as in the header; the kernel.
 */
#include "broker/ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/deposit.h"
#include "lib/conntrack.h"

/* ---- what an heir must know ---- */

static const char *port_key(char key[DEPOT_KEY], const struct plan_port *p)
{
	char hex[2 * sizeof(p->addr) + 1];

	for (size_t i = 0; i < sizeof(p->addr); i++)
		snprintf(hex + 2 * i, 3, "%02x", p->addr[i]);
	return deposit_key(key, "port/%d-%d-%s-%u", p->proto, p->family, hex, p->host_port);
}

void ports_leave(const struct published *p)
{
	char key[DEPOT_KEY];

	deposit_put(port_key(key, &p->port), &p->port, sizeof(p->port), p->hold.fd, 2, NULL);
}

static void take_back(const struct published *p)
{
	char key[DEPOT_KEY];

	deposit_drop(port_key(key, &p->port));
}

void ports_adopt(struct ports *all)
{
	struct deposit *d;

	for (size_t i = 0; (d = deposit_next("port/", &i)) && all->count < PLAN_PORTS_MAX;) {
		struct published *p = &all->list[all->count];

		if (d->n != sizeof(p->port))
			continue;
		memcpy(&p->port, d->bytes, d->n);
		memcpy(p->hold.fd, d->fds, sizeof(p->hold.fd));
		p->ends = false;
		hold_settle(&p->hold, &p->port);
		all->count++;
		d->fds[0] = d->fds[1] = -1;
	}
}

/* ---- the list ---- */

struct published *ports_find(struct ports *all, const struct plan_port *port)
{
	for (struct published *p = all->list; p < all->list + all->count; p++) {
		const struct plan_port *is = &p->port;

		if (is->proto == port->proto && is->family == port->family && is->host_port == port->host_port &&
		    (is->family == AF_UNSPEC || !memcmp(is->addr, port->addr, is->family == AF_INET ? 4 : 16)))
			return p;
	}
	return NULL;
}

size_t ports_wanted(const struct ports *all, struct plan_port out[PLAN_PORTS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < all->count; i++)
		if (!all->list[i].ends)
			out[n++] = all->list[i].port;
	return n;
}

void ports_forget_led(const struct plan_port *port)
{
	if (port->proto == IPPROTO_UDP && !plan_port_is_loopback(port))
		conntrack_forget_port(port->host_port);
}

void ports_undo(struct ports *all)
{
	struct published *p = &all->list[--all->count];

	take_back(p);
	hold_close(&p->hold);
}

void ports_let_go(struct ports *all)
{
	for (size_t i = all->count; i-- > 0;) {
		struct published p = all->list[i];

		if (!p.ends)
			continue;
		all->list[i] = all->list[--all->count];
		take_back(&p);
		hold_close(&p.hold);
		ports_forget_led(&p.port);
	}
}

void ports_close(struct ports *all)
{
	for (size_t i = 0; i < all->count; i++) {
		hold_close(&all->list[i].hold);
		ports_forget_led(&all->list[i].port);
	}
	all->count = 0;
}

/* ---- holding ---- */

static int hold_failed(const struct plan_port *port, int err, char *why, size_t why_bytes)
{
	const char *proto = port->proto == IPPROTO_TCP ? "tcp" : "udp";
	char text[PLAN_ADDR_BYTES + 16];

	plan_port_text(text, sizeof(text), port);
	if (err == -EADDRINUSE)
		snprintf(why, why_bytes, "%s port %s of this host is in use by another program; stop it (ss -%cnlp 'sport "
			 "= :%u' names it) or publish on another: -p HOST:PORT, as in -p %u:%u", proto, text, *proto,
			 port->host_port, port->host_port < 50000 ? port->host_port + 8000u : port->host_port - 8000u,
			 port->ins_port);
	else if (err == -EADDRNOTAVAIL)
		snprintf(why, why_bytes, "cannot publish %s %s: that is not an address of this host; see: ip address",
			 proto, text);
	else
		snprintf(why, why_bytes, "cannot hold %s port %s of this host: %s", proto, text, strerror(-err));
	return err;
}

/* Those that a new one's address may meet: another address of the same number. */
static bool make_way(struct ports *all, const struct plan_port *port, bool on)
{
	bool any = false;

	for (struct published *p = all->list; p < all->list + all->count; p++) {
		if (p->port.proto != port->proto || p->port.host_port != port->host_port ||
		    (p->port.family != port->family && p->port.family != AF_UNSPEC && port->family != AF_UNSPEC))
			continue;
		hold_make_way(&p->hold, on);
		any = true;
	}
	return any;
}

int ports_add(struct ports *all, const struct plan_port *port, bool has_v6, char *why, size_t why_bytes)
{
	struct published *p = &all->list[all->count];
	int err;

	*p = (struct published){ .port = *port };
	if (port->family == AF_UNSPEC)
		memset(p->port.addr, 0, sizeof(p->port.addr));
	err = hold_open(&p->hold, &p->port, has_v6, make_way(all, &p->port, true));
	make_way(all, &p->port, false);
	if (err)
		return hold_failed(&p->port, err, why, why_bytes);
	all->count++;
	ports_leave(p);
	return 0;
}

int ports_listen_loopback(const struct published *p, int family, int backlog, char *why, size_t why_bytes)
{
	int fd = hold_listen(&p->hold, &p->port, family, backlog);

	return fd < 0 && fd != -EADDRNOTAVAIL ? hold_failed(&p->port, fd, why, why_bytes) : fd;
}
