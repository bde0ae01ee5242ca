// SPDX-License-Identifier: Apache-2.0
/*
 * meet.c - see meet.h.
 * Trust: as in the header.
 *
 * An INS that begins says first that it is closed, and goes on when the module has taken back what it shared before: so no ref or
 * port of an earlier meeting is taken for one of now.
 */
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ins/xen/load.h"
#include "ins/xen/meet.h"
#include "link/xenstore.h"

#define VERSION     1u
#define VERSIONS    "1" /* that we speak: lowest, or lowest-highest */
#define SLOTS       "4096"

volatile bool meet_stop;
static unsigned int own, pvm;
static unsigned int beats;
static uint64_t last_beat;
static char told_ports[STORE_VALUE_MAX], told_ips[STORE_VALUE_MAX], told_stats[STORE_VALUE_MAX], told_options[STORE_VALUE_MAX], told_load[64];

int meet_fd(void)
{
	return store_fd();
}

/* --- keys --- */

static const char *key(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "/mw/%u/%s", own, name);
	return path;
}

static void say(const char *name, const char *format, ...)
{
	char value[STORE_VALUE_MAX];
	va_list ap;
	int r;

	va_start(ap, format);
	vsnprintf(value, sizeof(value), format, ap);
	va_end(ap);
	r = store_write(key(name), value);
	if (r < 0)
		fprintf(stderr, "mw-ins: XenStore: cannot write %s: %s; was it prepared by `mw xen setup` on dom0?\n", key(name), strerror(-r));
}

/* Fit for a person, whom it may be told. */
static void hear(const char *name, char value[STORE_VALUE_MAX])
{
	if (store_read(key(name), value) < 0)
		value[0] = '\0';
	for (char *at = value; *at; at++)
		*at = isprint((unsigned char)*at) ? *at : '?';
}

static bool is(const char *name, const char *what)
{
	char value[STORE_VALUE_MAX];

	hear(name, value);
	return !strcmp(value, what);
}

/* A number in that base, and nothing else. */
static bool number(const char *text, int base, unsigned long most, unsigned int *n)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, base);
	*n = (unsigned int)v;
	return *text >= '0' && *text <= 'f' && !*end && !errno && v <= most;
}

/* Until something is written, or a second is over. False: it shall end. */
static bool wait_a_while(void)
{
	struct pollfd p = { .fd = store_fd(), .events = POLLIN };

	if (!meet_stop && poll(&p, 1, 1000) > 0)
		store_changed();
	return !meet_stop && store_fd() >= 0;
}

/* --- who is who --- */

static int own_id(void)
{
	char value[STORE_VALUE_MAX];
	int r = store_read("domid", value);

	return r < 0 ? r : number(value, 10, 0x7fef, &own) ? 0 : -EPROTO;
}

static bool pvm_known(void)
{
	char value[STORE_VALUE_MAX];

	return store_read("/mw/pvm/id", value) == 0 && number(value, 10, 0x7fef, &pvm) && pvm != own;
}

/* Do both speak version 1? A version of the other side's, "a" or "a-b". */
static bool version_fits(const char *theirs)
{
	char low[STORE_VALUE_MAX];
	unsigned int from, to;
	char *dash;

	snprintf(low, sizeof(low), "%s", theirs);
	dash = strchr(low, '-');
	if (dash)
		*dash = '\0';
	if (!number(low, 10, 1000, &from) || !number(dash ? dash + 1 : low, 10, 1000, &to))
		return false;
	return from <= VERSION && VERSION <= to;
}

static void say_ips(void)
{
	struct ifaddrs *all, *a;
	char text[STORE_VALUE_MAX] = "", host[NI_MAXHOST];
	size_t at = 0;

	if (getifaddrs(&all) < 0)
		return;
	for (a = all; a; a = a->ifa_next) {
		int family = a->ifa_addr ? a->ifa_addr->sa_family : 0;
		socklen_t n = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

		if ((family != AF_INET && family != AF_INET6) || a->ifa_flags & IFF_LOOPBACK ||
		    getnameinfo(a->ifa_addr, n, host, sizeof(host), NULL, 0, NI_NUMERICHOST) || strchr(host, '%'))
			continue;
		if (at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "", host);
	}
	freeifaddrs(all);
	if (strcmp(text, told_ips) != 0)
		say("ip_addrs", "%s", text);
	memcpy(told_ips, text, sizeof(text));
}

/* What a new TCP socket of this machine has: an operator may have changed it with sysctl. */
static void say_options(void)
{
	char text[STORE_VALUE_MAX], congestion[16] = "";
	socklen_t n = sizeof(congestion) - 1, room_n = sizeof(int);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), in = 0, out = 0;

	if (fd < 0)
		return;
	if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, &n) == 0 && getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &in, &room_n) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &out, &room_n) == 0) {
		snprintf(text, sizeof(text), "congestion=%s rcvbuf=%d sndbuf=%d", congestion, in, out);
		if (strcmp(text, told_options) != 0)
			say("sockopts", "%s", text);
		memcpy(told_options, text, sizeof(text));
	}
	close(fd);
}

/* --- the meeting --- */

static bool pvm_ready(void)
{
	char state[STORE_VALUE_MAX];

	hear("pvm_state", state);
	return (!strcmp(state, "init") || !strcmp(state, "ready")) && is("gnt_ref_chunks", "1");
}

/* Its keys of a meeting before are taken back. */
static bool clean(void)
{
	return is("gnt_ref_chunks", "") || is("gnt_ref_chunks", "0");
}

/* Waits for it, with a word when it takes long. */
static bool wait_for(bool (*there)(void), const char *what)
{
	for (int seconds = 0; !there(); seconds++) {
		if (seconds == 5)
			fprintf(stderr, "mw-ins: waits for %s\n", what);
		if (!wait_a_while())
			return false;
	}
	return true;
}

static void take_back(const char *state)
{
	say("ins_state", "%s", state);
	say("vm_evt_chn_is_bound", "0");
}

static int open_carrier(struct session *s)
{
	char ref[STORE_VALUE_MAX], port[STORE_VALUE_MAX], version[STORE_VALUE_MAX];
	unsigned int ref_number, port_number;
	int r;

	hear("gnt_ref_1", ref);
	hear("vm_evt_chn_prt", port);
	hear("pvm_version", version);
	if (!version_fits(version)) {
		fprintf(stderr, "mw-ins: domain %u speaks version '%s', and we %s\n", pvm, version, VERSIONS);
		meet_end("no common version");
		return -EPROTONOSUPPORT;
	}
	if (!number(ref, 16, 0xffffffffu, &ref_number) || !number(port, 10, 0xffffffffu, &port_number))
		r = -EPROTO;
	else
		r = s->carrier ? 0 : grant_open(pvm, port_number);
	if (!s->carrier)
		s->carrier = &carrier_xen;
	if (r == 0)
		r = memory_directory(s->carrier, ref_number, &s->shape);
	if (r == 0)
		return 0;
	fprintf(stderr, "mw-ins: domain %u, directory %s, port %s: %s\n", pvm, ref, port, strerror(-r));
	meet_end("cannot map what is shared");
	return r;
}

int meet_begin(struct session *s)
{
	int r = store_open();

	if (r == 0)
		r = own_id();
	if (r < 0) {
		fprintf(stderr, "mw-ins: XenStore: %s\n", strerror(-r));
		return r;
	}
	store_watch("/mw/pvm/id");
	if (!wait_for(pvm_known, "dom0 to say who is protected (`mw xen setup`)"))
		return -EINTR;
	store_watch(key("pvm_state"));
	store_watch(key("gnt_ref_chunks"));
	take_back("closed");
	if (!wait_for(clean, "the protected domain to take back what it shared before"))
		return -EINTR;
	say("ins_version", VERSIONS);
	say("ins_slots", SLOTS);
	say_ips();
	say_options();
	say("ins_state", "init");
	say("ins_dom_id", "%u", own);
	if (!wait_for(pvm_ready, "the protected domain")) {
		meet_end(NULL);
		return -EINTR;
	}
	return open_carrier(s);
}

void meet_up(void)
{
	say("ins_state", "ready");
	say("vm_evt_chn_is_bound", "1");
}

/* --- while it serves --- */

static void say_stats(const struct mw_tele_view *v, const struct mw_tele *t)
{
	char text[STORE_VALUE_MAX];
	uint64_t in = 0, out = 0;

	for (uint32_t i = 0; i < MW_TRAFFIC_TYPES; i++) {
		in += mw_load(&t->traffic[i].rx_bytes);
		out += mw_load(&t->traffic[i].tx_bytes);
	}
	snprintf(text, sizeof(text), "%x:%lx:%lx:%lx", v->slots, (unsigned long)mw_load(&t->sockets), (unsigned long)in, (unsigned long)out);
	if (strcmp(text, told_stats) != 0)
		say("network_stats", "%s", text);
	memcpy(told_stats, text, sizeof(text));
}

static void say_ports(const struct mw_tele_view *v, const struct mw_tele *t)
{
	char text[STORE_VALUE_MAX] = "";
	uint32_t high = mw_load(&t->slots_high);
	size_t at = 0;

	for (uint32_t i = 0; i < high && i < v->slots && at < sizeof(text) - 8; i++) {
		const struct mw_flow *f = (const struct mw_flow *)(mw_uintptr)tele_flow(v, i);

		if (mw_load_acquire(&f->id) && mw_load(&f->state) == MW_ST_LISTEN)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%x", at ? " " : "", f->local.port);
	}
	if (strcmp(text, told_ports) != 0)
		say("listening_ports", "%s", text);
	memcpy(told_ports, text, sizeof(text));
}

static void say_load(const struct mw_tele_view *v, const struct mw_tele *t)
{
	char text[sizeof(told_load)];

	load_text(v, t, text, sizeof(text));
	if (strcmp(text, told_load) != 0)
		say("load", "%s", text);
	memcpy(told_load, text, sizeof(text));
}

static void say_all(const struct mw_tele_view *v)
{
	const struct mw_tele *t = (const struct mw_tele *)(mw_uintptr)tele_header(v);
	uint64_t beat = mw_load(&t->heartbeat);

	if (beat != last_beat)
		say("heartbeat", "%u", ++beats);
	last_beat = beat;
	say_stats(v, t);
	say_load(v, t);
	say_ports(v, t);
	say_ips();
	say_options();
}

static bool pvm_goes_on(void)
{
	unsigned int before = pvm;

	return pvm_ready() && pvm_known() && pvm == before;
}

bool meet_turn(const struct mw_tele_view *v, bool second)
{
	if (store_changed() && (store_fd() < 0 || !pvm_goes_on()))
		return false;
	if (!second)
		return true;
	if (store_domain_lives(pvm) == 0)
		return false;
	if (v)
		say_all(v);
	return true;
}

void meet_closing(void)
{
	say("ins_state", "closing");
}

void meet_end(const char *error)
{
	char state[128];

	snprintf(state, sizeof(state), "error: %s", error ? error : "");
	take_back(error ? state : "closed");
}
