// SPDX-License-Identifier: Apache-2.0
/*
 * broker.c - `mw xen broker`: the INS domains of the protected machine as an application's INSs, announced, created, drained, destroyed.
 * Trust: XenStore as in domains.h; the user's requests; xl.
 *
 * Nothing is kept here that is not in XenStore, so a broker that dies loses nothing, but for a domain that xl left half made. Two processes:
 * the first holds the name and the published ports, and starts the second again, within the time after which a frontend would miss
 * heartbeats. The second does the rest.
 *
 * One xl runs at a time. What it is to do next is seen from the domains: those that are to end, then one that was asked for.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/registry.h"
#include "lib/clock.h"
#include "lib/std.h"
#include "xen/broker.h"
#include "xen/domains.h"
#include "xen/fill.h"
#include "xen/hold_all.h"
#include "xen/keys.h"
#include "xen/request.h"
#include "xen/tool.h"
#include "xen/xl.h"

#define LOOK_MS   1000
#define SOON_MS   100		/* between two looks */
#define EMPTY_MS  5000		/* a drained domain without connections for so long is empty */
#define DEAD_MS   60000		/* a domain of ours without a heartbeat for so long is dead */
#define AGAIN_MS  10000		/* what xl could not destroy is tried again */
#define NAME_TRIES 1000

static struct {
	struct broker_options o;
	struct store store;
	struct xl xl;
	enum { IDLE, CREATES, DESTROYS } job;
	uint64_t asked;			/* who asked for another domain; 0: nobody */
	char name[64], address[POOL_TEXT_BYTES]; /* of the one that is being created */
	int leftover;			/* one that xl left half made, or that got no keys; 0: none */
	int64_t leftover_try_ms;
	int destroys;
	int64_t look_ms, looked_ms;
	bool done;
} b;

void broker_say(const char *format, ...)
{
	char line[600];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	fprintf(stderr, "mw xen: %s: %s\n", b.o.name, line);
}

static json_t *error(const char *text)
{
	return json_pack("{s:s}", "error", text);
}

/* --- creating --- */

static void created(json_t *answer)
{
	request_answer(b.asked, answer);
	b.asked = 0;
	b.address[0] = 0;
}

static void refuse(const char *why)
{
	broker_say("cannot create an INS domain: %s", why);
	created(error(why));
}

static bool choose_name(void)
{
	for (int n = 1; n < NAME_TRIES; n++) {
		snprintf(b.name, sizeof(b.name), "%s-ins%d", b.o.name, n);
		if (store_domain(&b.store, b.name) == -ENOENT)
			return true;
	}
	return false;
}

static const char *why_not(void)
{
	int64_t pvm = store_read_id(&b.store, KEYS_PVM "/id");

	if (!b.o.template)
		return "the broker was given no --template, so it creates none";
	if (pvm < 0 || !store_has_domain(&b.store, (unsigned)pvm))
		return "no protected domain runs; `mw xen setup --pvm DOMAIN` makes it known";
	if (b.leftover) /* it may have an address */
		return "xl left the last one half made, and could not destroy it yet";
	if (domains_count() == DOMAINS_MAX)
		return "there are as many INS domains as there can be";
	if (!pool_give(&b.o.pool, domains_have, b.address))
		return "all addresses of the pool are in use";
	return choose_name() ? NULL : "no name for it is free";
}

static void config_path(char path[REGISTRY_PATH_MAX])
{
	registry_path(path, b.o.name, "create.cfg");
}

static int write_config(char why[FILL_WHY_BYTES])
{
	char ip[POOL_TEXT_BYTES + 8], path[REGISTRY_PATH_MAX], *text;
	struct fill f = { b.name, b.o.image, ip, b.o.gateway };
	FILE *out;
	int r = 0;

	snprintf(ip, sizeof(ip), "%s/%u", b.address, b.o.pool.bits);
	text = fill_template(b.o.template, &f, why);
	if (!text)
		return -EINVAL;
	config_path(path);
	out = fopen(path, "we");
	if (!out || fputs(text, out) < 0)
		r = -errno;
	if (out && fclose(out) < 0)
		r = -errno;
	if (r < 0)
		snprintf(why, FILL_WHY_BYTES, "cannot write %s: %s", path, strerror(-r));
	free(text);
	return r;
}

static void create(void)
{
	char path[REGISTRY_PATH_MAX], text[FILL_WHY_BYTES];
	const char *words[] = { "xl", "create", "-q", path, NULL }, *why = why_not();
	int r;

	if (why) {
		refuse(why);
		return;
	}
	if (write_config(text) < 0) {
		refuse(text);
		return;
	}
	config_path(path);
	r = xl_start(&b.xl, words);
	if (r < 0)
		refuse(strerror(-r));
	else
		b.job = CREATES;
}

static int prepare(int id)
{
	struct wish w = { .pvm = NO_DOMAIN, .ins = { id }, .ins_count = 1 };
	int r = setup(&b.store, &w) ? -EIO : domains_put(id, "address", b.address);

	if (r == 0)
		r = domains_put(id, "made", b.o.name);
	return r < 0 ? r : domains_look();
}

static void create_ended(const char *why)
{
	int64_t id = store_domain(&b.store, b.name);

	if (*why || id < 0 || prepare((int)id) < 0) {
		if (id >= 0) {
			b.leftover = (int)id;
			b.leftover_try_ms = 0;
		}
		refuse(*why ? why : id < 0 ? "xl has created it, and it is gone" : "its keys cannot be made");
		return;
	}
	broker_say("INS domain %d, %s, is created; its address is %s", (int)id, b.name, b.address);
	created(json_pack("{s:i}", "ins", (int)id));
}

/* --- destroying --- */

/* Again after AGAIN_MS while it is there. */
static void destroy(int id, int64_t *try_ms, int64_t now)
{
	char text[16];
	const char *words[] = { "xl", "destroy", text, NULL };
	int r;

	if (now < *try_ms)
		return;
	*try_ms = now + AGAIN_MS;
	snprintf(text, sizeof(text), "%d", id);
	r = xl_start(&b.xl, words);
	b.destroys = id;
	if (r == 0)
		b.job = DESTROYS;
	else
		broker_say("cannot run xl: %s", strerror(-r));
}

static void destroy_ended(const char *why)
{
	if (*why)
		broker_say("cannot destroy domain %d: %s", b.destroys, why);
	else if (b.destroys == b.leftover)
		b.leftover = 0;
	b.look_ms = 0;
}

static void end_it(struct domain *d, const char *why)
{
	if (!d->ending)
		broker_say("INS domain %d %s: it is destroyed", d->id, why);
	d->ending = true;
}

/* Whether its time has come. */
static void look_after(struct domain *d, int64_t now)
{
	if (d->made && !d->was_up && now - d->seen_ms > b.o.ready_ms)
		end_it(d, "is not ready in time (its console, `xl console`, and `mw xen status --keys` may tell why)");
	else if (d->made && d->was_up && now - d->beat_ms > DEAD_MS)
		end_it(d, "has had no heartbeat for a minute");
	else if (d->drain && now - (d->busy_ms > d->drained_ms ? d->busy_ms : d->drained_ms) > EMPTY_MS)
		end_it(d, "is drained and has no connections any more");
	else if (d->drain && b.o.drain_ms && now - d->drained_ms > b.o.drain_ms)
		end_it(d, "was drained, and still has connections");
}

/* --- requests --- */

static json_t *list(void)
{
	json_t *a = json_array();

	for (size_t i = 0; i < domains_count(); i++)
		json_array_append_new(a, domains_entry(domains_at(i)));
	return json_pack("{s:o}", "ins", a);
}

static json_t *change(const char *what, const json_t *number)
{
	struct domain *d = json_is_integer(number) ? domains_find(json_integer_value(number)) : NULL;
	int id, r;

	if (!d)
		return error("there is no INS of that number");
	if (d->state == ENTRY_UP && domains_serving() == 1)
		return error("it is the only one that takes connections: add another first");
	id = d->id;
	r = domains_drain(d); /* what is new goes elsewhere before it is gone */
	if (r < 0)
		return error(strerror(-r));
	d = domains_find(id);
	if (d && what[0] == 'k')
		end_it(d, "is to end");
	return json_pack("{s:i}", "ins", id);
}

static json_t *answer(const json_t *q, uint64_t by)
{
	const char *what = json_string_value(json_object_get(q, "do"));

	if (what && (!strcmp(what, "list") || !strcmp(what, "watch")))
		return list();
	if (what && !strcmp(what, "add") && b.asked)
		return error("an INS domain is being created already");
	if (what && !strcmp(what, "add")) {
		b.asked = by;
		return NULL;
	}
	if (what && (!strcmp(what, "drain") || !strcmp(what, "kill")))
		return change(what, json_object_get(q, "ins"));
	if (what && !strcmp(what, "upgrade"))
		return error("an INS domain is not upgraded: add another, and drain it");
	return error("a request is {\"do\":\"list\"|\"watch\"|\"add\"|\"drain\"|\"kill\"}, the last two with \"ins\"");
}

/* --- the loop --- */

static void look(int64_t now)
{
	int r = domains_look();

	b.looked_ms = now;
	b.look_ms = now + LOOK_MS;
	for (size_t i = 0; i < domains_count(); i++)
		look_after(domains_at(i), now);
	if (r == 0)
		return;
	broker_say("XenStore does not answer any more: %s", strerror(-r));
	b.done = true;
}

static void next_job(int64_t now)
{
	if (b.job != IDLE)
		return;
	if (b.leftover && !store_has_domain(&b.store, (unsigned)b.leftover))
		b.leftover = 0;
	if (b.leftover)
		destroy(b.leftover, &b.leftover_try_ms, now);
	for (size_t i = 0; b.job == IDLE && i < domains_count(); i++)
		if (domains_at(i)->ending)
			destroy(domains_at(i)->id, &domains_at(i)->try_ms, now);
	if (b.job == IDLE && b.asked)
		create();
}

static void job_turn(void)
{
	char why[XL_WHY_BYTES];
	bool creates = b.job == CREATES;

	if (b.job == IDLE || !xl_turn(&b.xl, why))
		return;
	b.job = IDLE;
	if (creates)
		create_ended(why);
	else
		destroy_ended(why);
}

/* Whatever it was. */
static bool store_says(void)
{
	bool any = false;

	for (char **event; (event = xs_check_watch(b.store.h)); any = true)
		free(event);
	return any;
}

static void loop(int signals)
{
	struct pollfd p[REQUEST_POLLS + 4];

	while (!b.done) {
		size_t n = request_polls(p);

		p[n] = (struct pollfd){ .fd = signals, .events = POLLIN };
		p[n + 1] = (struct pollfd){ .fd = xs_fileno(b.store.h), .events = POLLIN };
		p[n + 2] = (struct pollfd){ .fd = b.job == IDLE ? -1 : b.xl.fd, .events = POLLIN };
		p[n + 3] = (struct pollfd){ .fd = b.job == IDLE ? -1 : b.xl.said, .events = POLLIN };
		poll(p, n + 4, clock_until(b.look_ms));
		if (p[n].revents)
			return;
		if (p[n + 1].revents && store_says() && b.look_ms > b.looked_ms + SOON_MS)
			b.look_ms = b.looked_ms + SOON_MS;
		request_events(p, n, answer); /* before any of these is answered otherwise, and dropped */
		job_turn();
		if (clock_ms() >= b.look_ms)
			look(clock_ms());
		next_job(clock_ms());
	}
}

static int start(void)
{
	int r = store_open(&b.store);

	if (r < 0) {
		broker_say("cannot reach xenstored: %s; is this dom0, and are you root?", strerror(-r));
		return r;
	}
	if (!xs_watch(b.store.h, KEYS_ROOT, "mw") || !xs_watch(b.store.h, "@releaseDomain", "mw"))
		r = -errno;
	if (r == 0)
		r = request_listen(b.o.name);
	if (r < 0)
		broker_say("cannot start: %s", strerror(-r));
	domains_init(&b.store, &b.o);
	return r;
}

static int serve(void)
{
	sigset_t ends;
	int signals;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	signals = signalfd(-1, &ends, SFD_CLOEXEC); /* they are blocked */
	if (start() < 0)
		return 1;
	look(clock_ms());
	domains_tidy();
	loop(signals);
	store_close(&b.store);
	return b.done;
}

/* --- the first process --- */

static pid_t start_second(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_NAME, "mw-xen-work");
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(1);
	exit(serve());
}

/* The second's status, once it has ended; a signal for us is one for it. */
static int wait_for(pid_t pid, const sigset_t *set, bool *told)
{
	int status = 1;

	while (pid > 0 && waitpid(pid, &status, WNOHANG) != pid) {
		int sig = sigwaitinfo(set, NULL);

		if (sig == SIGTERM || sig == SIGINT) {
			*told = true;
			kill(pid, SIGTERM);
		}
	}
	return status;
}

/* Until it is told to end, or cannot begin: the exit status. */
static int keep_going(const sigset_t *set)
{
	struct timespec step = { .tv_sec = 1 };
	bool ran = false, told = false;

	for (;;) {
		int64_t begun = clock_ms();
		int status = wait_for(start_second(), set, &told);

		if (told || status == 0)
			return 0;
		ran |= WIFSIGNALED(status) || clock_ms() - begun > 1000;
		if (!ran)
			return 1;
		broker_say("its worker ended with status 0x%x; another one takes over", (unsigned)status);
		nanosleep(&step, NULL);
	}
}

int broker(int argc, char **argv)
{
	sigset_t ends;
	int lock, r = broker_options(&b.o, argc, argv);

	if (r)
		return r < 0 ? std_flushed("mw", 0) : r;
	setvbuf(stderr, NULL, _IOLBF, 0);
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	lock = registry_claim(b.o.name);
	if (lock < 0) {
		broker_say("%s", lock == -EBUSY ? "something of that name runs on this host already" : strerror(-lock));
		return 1;
	}
	r = domains_directory(b.o.name) == 0 && hold_all(b.o.ports, b.o.port_count) ? keep_going(&ends) : 1;
	registry_drop(b.o.name);
	close(lock);
	return r;
}
