// SPDX-License-Identifier: Apache-2.0
/*
 * insctl.c - see insctl.h.
 * Trust: as in the header.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/entries.h"
#include "broker/insctl.h"
#include "broker/upgrade.h"

#define REQUEST_BYTES 256
#define CLIENTS (INSCTL_POLLS - 1)

static struct {
	const struct run_options *o;
	int listen;
	int clients[CLIENTS];
	bool watches[CLIENTS];
	uint32_t waits[CLIENTS]; /* for the upgrade of that INS, counted from 1 */
	size_t count;
} c = { .listen = -1 };

int insctl_init(const struct run_options *o)
{
	int r = entries_init(o);

	if (r < 0)
		return r;
	c.o = o;
	c.listen = registry_listen(o->name, "ins-ctl", SOCK_SEQPACKET);
	return c.listen < 0 ? c.listen : 0;
}

bool insctl_watched(void)
{
	for (size_t i = 0; i < c.count; i++)
		if (c.watches[i])
			return true;
	return false;
}

static json_t *list(struct net *net)
{
	json_t *a = json_array();

	for (size_t i = 0; i < inss_count(); i++)
		json_array_append_new(a, entries_one(net, inss_at(i)));
	return json_pack("{s:o}", "ins", a);
}

static json_t *add(struct net **net)
{
	char why[512] = "";
	int r;

	if (!c.o->isolated)
		return json_pack("{s:s}", "error", "an application on the host's network (--net host) has one INS");
	r = inss_start(net, -1, why, sizeof(why));
	if (r < 0)
		return json_pack("{s:s}", "error", why[0] ? why : strerror(-r));
	return json_pack("{s:I}", "ins", (json_int_t)inss_at(inss_count() - 1)->number);
}

static size_t count_up(void)
{
	size_t n = 0;

	for (size_t i = 0; i < inss_count(); i++)
		n += inss_at(i)->state == MW_INS_UP;
	return n;
}

static struct one_ins *one_of(const json_t *number)
{
	json_int_t n = json_is_integer(number) ? json_integer_value(number) : -1;

	return n >= 0 && n < MW_INS_MAX ? inss_find((uint32_t)n) : NULL;
}

static json_t *no_such(void)
{
	return json_pack("{s:s}", "error", "there is no INS of that number");
}

/* NULL: it has begun, and is answered when it is done. */
static json_t *upgrade(const json_t *number, int by, uint32_t *waits)
{
	struct one_ins *ins = one_of(number);
	char why[256] = "";

	if (!ins)
		return no_such();
	if (upgrade_begin(ins, c.o, by, why, sizeof(why)) < 0)
		return json_pack("{s:s}", "error", why);
	*waits = ins->number + 1;
	return NULL;
}

static json_t *change(struct net *net, const char *what, const json_t *number)
{
	struct one_ins *ins = one_of(number);

	if (!ins)
		return no_such();
	if (ins->state == MW_INS_UP && count_up() == 1)
		return json_pack("{s:s}", "error", "it is the only one that takes connections: add another first");
	if (ins->state == MW_INS_UP)
		inss_drain(net, ins); /* what is new goes elsewhere before it is gone */
	if (!strcmp(what, "kill"))
		upgrade_kill(ins); /* the rest when it has ended */
	return json_pack("{s:I}", "ins", (json_int_t)ins->number);
}

static const char *what_of(const json_t *q)
{
	return json_string_value(json_object_get(q, "do"));
}

static json_t *answer_to(struct net **net, const json_t *q, int fd, uint32_t *waits)
{
	const char *what = what_of(q);

	if (what && (!strcmp(what, "list") || !strcmp(what, "watch")))
		return list(*net);
	if (c.o->pvm)
		return json_pack("{s:s}", "error", "INS domains are dom0's: see `mw frontend` and `xl` there");
	if (what && !strcmp(what, "add"))
		return add(net);
	if (what && (!strcmp(what, "drain") || !strcmp(what, "kill")))
		return change(*net, what, json_object_get(q, "ins"));
	if (what && !strcmp(what, "upgrade"))
		return upgrade(json_object_get(q, "ins"), fd, waits);
	return json_pack("{s:s}", "error", "a request is {\"do\":\"list\"|\"watch\"|\"add\"|\"drain\"|\"kill\"|\"upgrade\"}, the last three with \"ins\"");
}

/* True: it stays. */
static bool serve(struct net **net, int fd, uint32_t *waits)
{
	bool stays;
	char text[REQUEST_BYTES];
	ssize_t n = recv(fd, text, sizeof(text), MSG_DONTWAIT);
	json_t *q = n > 0 ? json_loadb(text, (size_t)n, 0, NULL) : NULL, *a = n > 0 ? answer_to(net, q, fd, waits) : NULL;
	char *out = a ? json_dumps(a, JSON_COMPACT) : NULL;

	if (out)
		send(fd, out, strlen(out), MSG_DONTWAIT | MSG_NOSIGNAL);
	stays = *waits || (out && what_of(q) && !strcmp(what_of(q), "watch"));
	free(out);
	json_decref(a);
	json_decref(q);
	if (n > 0)
		entries_write(*net);
	return stays;
}

/* Who is answered hangs up, and goes as one who watches does. */
void insctl_upgraded(const struct one_ins *ins, const char *why)
{
	json_t *a = why ? json_pack("{s:s}", "error", why) : json_pack("{s:I}", "ins", (json_int_t)ins->number);
	char *out = a ? json_dumps(a, JSON_COMPACT) : NULL;

	for (size_t i = 0; out && i < c.count; i++) {
		if (c.waits[i] != ins->number + 1)
			continue;
		if (send(c.clients[i], out, strlen(out), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			shutdown(c.clients[i], SHUT_RDWR); /* it need not wait for more */
		c.waits[i] = 0;
	}
	free(out);
	json_decref(a);
	entries_due();
}

static void drop(size_t i)
{
	close(c.clients[i]);
	c.clients[i] = c.clients[--c.count];
	c.watches[i] = c.watches[c.count];
	c.waits[i] = c.waits[c.count];
}

size_t insctl_polls(struct pollfd *p)
{
	p[0] = (struct pollfd){ .fd = c.listen, .events = POLLIN };
	for (size_t i = 0; i < c.count; i++)
		p[i + 1] = (struct pollfd){ .fd = c.clients[i], .events = POLLIN };
	return c.count + 1;
}

/* A client has one request, and is answered once. */
void insctl_events(struct net **net, const struct pollfd *p, size_t n)
{
	int fd;

	for (size_t i = n - 1; i > 0; i--) {
		if (!p[i].revents)
			continue;
		c.watches[i - 1] = !c.watches[i - 1] && serve(net, p[i].fd, &c.waits[i - 1]);
		if (!c.watches[i - 1])
			drop(i - 1);
	}
	if (!p[0].revents || (fd = accept4(c.listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0)
		return;
	if (c.count == CLIENTS)
		drop(0);
	c.watches[c.count] = false;
	c.waits[c.count] = 0;
	c.clients[c.count++] = fd;
}
