// SPDX-License-Identifier: Apache-2.0
/*
 * share.c - see share.h.
 * Trust: as in the header.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "broker/deposit.h"
#include "broker/share.h"
#include "lib/addr.h"
#include "link/sockopts.h"

#define SHARES_MAX 1024
#define HOSTS_MAX  2
#define TRIES      20 /* 10 ms each */

static struct share {
	uint32_t id;             /* 0: none */
	uint32_t origin;         /* the INS that said BM_LISTEN */
	struct broker_msg said;
	struct plan_addrs own;   /* that INS's addresses */
	int domain, bell, model;
	int hosts[HOSTS_MAX], host_count;
	uint32_t hosts_of;       /* the INS that has them */
} shares[SHARES_MAX];
static struct net *network;      /* for addresses */

static struct share *find(uint32_t id)
{
	for (size_t i = 0; id && i < SHARES_MAX; i++)
		if (shares[i].id == id)
			return &shares[i];
	return NULL;
}

static void copy(const int table[][2], int from, int to)
{
	for (int i = 0; table[i][0] >= 0; i++) {
		uint8_t was[64], is[64];
		socklen_t n = sizeof(was), m = sizeof(is);

		if (getsockopt(from, table[i][0], table[i][1], was, &n) < 0 || getsockopt(to, table[i][0], table[i][1], is, &m) < 0 ||
		    (n == m && !memcmp(was, is, n)))
			continue;
		setsockopt(to, table[i][0], table[i][1], was, sockopts_settable(table[i][0], table[i][1], was, n));
	}
}

static bool in_table(const int table[][2], int level, int name)
{
	for (int i = 0; table[i][0] >= 0; i++)
		if (table[i][0] == level && table[i][1] == name)
			return true;
	return false;
}

/* The address that it has on that INS: its own one in place of the origin's own. */
static struct mw_addr address_on(const struct share *s, const struct plan_addrs *to)
{
	bool six = s->said.addr.family == MW_FAMILY_IP6;
	struct mw_addr addr = s->said.addr;
	uint8_t own[16];

	if (to && inet_pton(six ? AF_INET6 : AF_INET, six ? s->own.ins6 : s->own.ins4, own) == 1 && !memcmp(own, addr.addr, six ? 16 : 4))
		inet_pton(six ? AF_INET6 : AF_INET, six ? to->ins6 : to->ins4, addr.addr);
	return addr;
}

/* A socket that listens in that INS's network. The descriptor or -errno. */
static int listener_for(const struct share *s, const struct one_ins *ins)
{
	struct mw_addr a = address_on(s, net_addrs(network, ins->number));
	struct sockaddr_storage ss;
	socklen_t n = addr_to_sockaddr(&a, &ss);
	const struct timespec pause = { .tv_nsec = 10000000 };
	int fd = net_socket(ins->netns, s->domain, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP), r;

	if (fd < 0)
		return fd;
	copy(sockopts_kept, s->model, fd);
	copy(sockopts_inherited, s->model, fd);
	for (int left = TRIES;; left--) {
		if (bind(fd, (struct sockaddr *)&ss, n) == 0 && listen(fd, s->said.backlog) == 0)
			return fd;
		if (errno != EADDRINUSE || !left)
			break;
		nanosleep(&pause, NULL); /* an earlier one of that port: the application has closed it, but not yet this INS */
	}
	r = -errno;
	close(fd);
	return r;
}

static const char *key_of(char key[DEPOT_KEY], const struct share *s)
{
	return deposit_key(key, "share/%u", s->id);
}

static void leave(const struct share *s)
{
	int fds[2 + HOSTS_MAX] = { s->bell, s->model };
	char key[DEPOT_KEY];

	memcpy(fds + 2, s->hosts, (size_t)s->host_count * sizeof(int));
	deposit_put(key_of(key, s), s, sizeof(*s), fds, 2 + s->host_count, NULL);
}

static void give(const struct share *s, struct one_ins *ins, int fd)
{
	struct broker_msg m = s->said;
	int fds[2] = { fd, s->bell };

	m.kind = BM_SHARE;
	m.share = s->id;
	m.slot = m.gen = 0;
	m.name = s->domain == AF_INET ? MW_FAMILY_IP4 : MW_FAMILY_IP6;
	inss_send(ins, &m, NULL, 0, fds, 2);
}

static void forget(struct share *s)
{
	char key[DEPOT_KEY];

	deposit_drop(key_of(key, s));
	close(s->bell);
	close(s->model);
	while (s->host_count)
		close(s->hosts[--s->host_count]);
	s->id = 0;
}

static void tell(struct one_ins *ins, uint32_t kind, uint32_t id, const int *fds, int count)
{
	struct broker_msg m = { .kind = kind, .share = id };

	inss_send(ins, &m, NULL, 0, fds, count);
}

/* On all others, or on none. */
static int give_all(struct share *s)
{
	int fds[PLAN_INS_MAX], r = 0;
	size_t n = 0;

	for (size_t i = 0; i < inss_count() && r == 0; i++) {
		fds[n] = -1;
		if (inss_at(i)->number != s->origin)
			fds[n] = listener_for(s, inss_at(i));
		if (fds[n] == -EADDRINUSE)
			r = fds[n];
		n++;
	}
	for (size_t i = 0; i < n; i++) {
		if (fds[i] < 0)
			continue;
		if (r == 0)
			give(s, inss_at(i), fds[i]);
		close(fds[i]);
	}
	return r;
}

int share_begin(struct net *net, uint32_t ins, const struct broker_msg *m, const int fds[2], uint32_t *id)
{
	const struct plan_addrs *own = net_addrs(net, ins);
	socklen_t n = sizeof(int);
	struct share *s = shares;
	int r;

	network = net;
	*id = 0;
	while (s < shares + SHARES_MAX && s->id)
		s++;
	if (s == shares + SHARES_MAX || fds[0] < 0 || fds[1] < 0 || !own ||
	    getsockopt(fds[0], SOL_SOCKET, SO_DOMAIN, &s->domain, &n) < 0 || (s->domain != AF_INET && s->domain != AF_INET6))
		return 0;
	s->model = socket(s->domain, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (s->model < 0)
		return 0;
	copy(sockopts_kept, fds[0], s->model);
	copy(sockopts_inherited, fds[0], s->model);
	s->id = ++deposit_words()->last_share;
	s->origin = s->hosts_of = ins;
	s->said = *m;
	s->own = *own;
	s->bell = fcntl(fds[1], F_DUPFD_CLOEXEC, 0);
	s->host_count = 0;
	leave(s);
	r = s->bell < 0 ? -errno : give_all(s);
	if (r < 0) {
		forget(s);
		return r;
	}
	*id = s->id;
	return 0;
}

void share_hosts(uint32_t id, const int *fds, int count)
{
	struct share *s = find(id);

	for (int i = 0; s && i < count && s->host_count < HOSTS_MAX; i++) {
		s->hosts[s->host_count] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		s->host_count += s->hosts[s->host_count] >= 0;
	}
	if (s && count)
		leave(s);
}

bool share_was(uint32_t id, struct broker_msg *was, uint32_t *was_of)
{
	const struct share *s = find(id);

	if (!s)
		return false;
	*was = s->said;
	*was_of = s->origin;
	return true;
}

uint32_t share_of(uint32_t ins, uint32_t slot, uint32_t gen)
{
	for (const struct share *s = shares; s < shares + SHARES_MAX; s++)
		if (s->id && s->origin == ins && s->said.slot == slot && s->said.gen == gen)
			return s->id;
	return 0;
}

void share_end(uint32_t id, uint32_t told_by)
{
	struct share *s = find(id);

	if (!s)
		return;
	for (size_t i = 0; i < inss_count(); i++)
		if (inss_at(i)->number != told_by)
			tell(inss_at(i), BM_UNSHARE, id, NULL, 0);
	forget(s);
}

void share_set(uint32_t told_by, const struct broker_msg *m, const uint8_t *value, uint32_t n)
{
	struct share *s = find(m->share);

	if (!s)
		return;
	if (m->level < 0) {
		s->said.backlog = m->backlog;
		leave(s);
	} else if (m->bytes >= 0 && (uint32_t)m->bytes <= n &&
		 (in_table(sockopts_kept, m->level, m->name) || in_table(sockopts_inherited, m->level, m->name)))
		setsockopt(s->model, m->level, m->name, value, (socklen_t)m->bytes);
	for (size_t i = 0; i < inss_count(); i++)
		if (inss_at(i)->number != told_by)
			inss_send(inss_at(i), m, value, n, NULL, 0);
}

void share_give(struct one_ins *ins)
{
	for (struct share *s = shares; s < shares + SHARES_MAX; s++) {
		int fd = s->id && s->origin != ins->number ? listener_for(s, ins) : -1;

		if (fd < 0)
			continue;
		give(s, ins, fd);
		close(fd);
	}
}

void share_hosts_move(struct one_ins *ins)
{
	for (struct share *s = shares; s < shares + SHARES_MAX; s++) {
		struct one_ins *to = inss_up(s->id);

		if (!s->id || s->hosts_of != ins->number || !to)
			continue;
		if (ins->state != MW_INS_NONE)
			tell(ins, BM_HOSTS, s->id, NULL, 0);
		tell(to, BM_HOSTS, s->id, s->hosts, s->host_count);
		s->hosts_of = to->number;
		leave(s);
	}
}

size_t share_ports(uint16_t *ports, size_t max)
{
	size_t n = 0;

	for (struct share *s = shares; s < shares + SHARES_MAX && n < max; s++) {
		size_t i = 0;

		while (s->id && i < n && ports[i] != s->said.addr.port)
			i++;
		if (s->id && i == n)
			ports[n++] = s->said.addr.port;
	}
	return n;
}

void share_adopt(struct net *net)
{
	struct share *s = shares;
	struct deposit *d;

	network = net;
	for (size_t i = 0; (d = deposit_next("share/", &i)) && s < shares + SHARES_MAX;) {
		if (d->n != sizeof(*s))
			continue;
		memcpy(s, d->bytes, sizeof(*s));
		s->bell = d->fds[0];
		s->model = d->fds[1];
		for (int j = 0; j < s->host_count; j++)
			s->hosts[j] = d->fds[2 + j];
		for (int j = 0; j < DEPOSIT_FDS; j++)
			d->fds[j] = -1;
		s++;
	}
}
