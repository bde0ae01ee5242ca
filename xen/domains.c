// SPDX-License-Identifier: Apache-2.0
/*
 * domains.c - see domains.h.
 * Trust: as in the header.
 */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/registry.h"
#include "lib/clock.h"
#include "xen/domains.h"
#include "xen/keys.h"
#include "xen/tool.h"

static struct store *store;
static const struct broker_options *options;
static struct domain domains[DOMAINS_MAX];
static size_t count;

void domains_init(struct store *s, const struct broker_options *o)
{
	store = s;
	options = o;
}

size_t domains_count(void)
{
	return count;
}

struct domain *domains_at(size_t i)
{
	return &domains[i];
}

struct domain *domains_find(int64_t id)
{
	for (size_t i = 0; i < count; i++)
		if (domains[i].id == id)
			return &domains[i];
	return NULL;
}

static const struct domain *holder_of(const char *address)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(domains[i].address, address))
			return &domains[i];
	return NULL;
}

bool domains_have(const char *address)
{
	return holder_of(address);
}

unsigned domains_serving(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < count; i++)
		n += domains[i].state == ENTRY_UP && !domains[i].ending;
	return n;
}

/* --- keys --- */

/* "" when it is missing. */
static void get(const struct domain *d, const char *key, char value[STORE_VALUE_MAX])
{
	char path[64];

	snprintf(path, sizeof(path), KEYS_ROOT "/%d/%s", d->id, key);
	if (store_read(store, path, value) < 0)
		value[0] = 0;
}

static bool is(const struct domain *d, const char *key, const char *wanted)
{
	char value[STORE_VALUE_MAX];

	get(d, key, value);
	return !strcmp(value, wanted);
}

int domains_put(int id, const char *key, const char *value)
{
	char path[64];

	snprintf(path, sizeof(path), KEYS_ROOT "/%d/%s", id, key);
	return store_write(store, path, value);
}

int domains_drain(struct domain *d)
{
	int r = d->drain ? 0 : domains_put(d->id, "drain", "1");

	return r < 0 ? r : domains_look();
}

/* Each cause once, until there is another. */
static void complain_of(struct domain *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void complain_of(struct domain *d, const char *format, ...)
{
	char text[sizeof(d->told)];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (strcmp(text, d->told) && seldom_may(&d->said, clock_ms()))
		broker_say("INS domain %d %s", d->id, text);
	strcpy(d->told, text);
}

/* --- what dom0 says --- */

static void read_ours(struct domain *d, int64_t now)
{
	char value[STORE_VALUE_MAX];

	if (!d->name[0]) {
		store_name(store, (unsigned)d->id, value);
		snprintf(d->name, sizeof(d->name), "%.63s", value);
	}
	get(d, "address", value);
	if (!d->address[0] && value[0] && (!pool_has(&options->pool, value, d->address) || holder_of(d->address) != d)) {
		d->address[0] = 0;
		complain_of(d, "was given %.46s, which is not of the pool, or another's", value);
	}
	d->made = is(d, "made", options->name);
	if (!d->drain && is(d, "drain", "1"))
		d->drained_ms = d->busy_ms = now;
	d->drain = d->drained_ms != 0;
}

/* --- what it says of itself --- */

/* A domain that was made by hand keeps the first address of the pool that it has. */
static void take_address(struct domain *d, const char *ips)
{
	char word[POOL_TEXT_BYTES], address[POOL_TEXT_BYTES];
	bool any = false;

	for (size_t i = 0; !d->address[0] && values_word(ips, i, word, sizeof(word)); i++) {
		const struct domain *holder;

		if (!pool_has(&options->pool, word, address))
			continue;
		any = true;
		holder = holder_of(address);
		if (holder)
			complain_of(d, "says that it has %s, which is INS domain %d's; it gets no connections", address, holder->id);
		else if (domains_put(d->id, "address", address) == 0)
			strcpy(d->address, address);
	}
	if (!d->address[0] && ips[0] && !any)
		complain_of(d, "has no address of the pool; it gets no connections");
}

static bool has_address(const struct domain *d, const char *ips)
{
	char word[POOL_TEXT_BYTES], address[POOL_TEXT_BYTES];

	for (size_t i = 0; values_word(ips, i, word, sizeof(word)); i++)
		if (pool_has(&options->pool, word, address) && !strcmp(address, d->address))
			return true;
	return false;
}

static void take_heartbeat(struct domain *d, int64_t now)
{
	char value[STORE_VALUE_MAX];
	struct timespec t;
	uint64_t beat;

	get(d, "heartbeat", value);
	if (!values_number(value, 10, UINT32_MAX, &beat) || (d->beat_ms && beat == d->heartbeat))
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	d->heartbeat = beat;
	d->beat_ms = now;
	d->beat = (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void take_load(struct domain *d, int64_t now)
{
	char value[STORE_VALUE_MAX];

	get(d, "load", value);
	d->load_known = values_load(value, &d->load);
	if (!d->load_known || d->load.connections >= 1)
		d->busy_ms = now;
}

static enum entry_state state_of(struct domain *d, const char *ips)
{
	bool ready = is(d, "ins_state", "ready") && is(d, "pvm_state", "ready") && d->beat_ms;

	if (ready && d->address[0] && !has_address(d, ips)) {
		complain_of(d, "does not have the address that it was given, %s; it gets no connections", d->address);
		ready = false;
	} else if (ready) {
		d->was_up = true;
		d->told[0] = 0;
	}
	if (d->drain)
		return ENTRY_DRAIN;
	return ready ? ENTRY_UP : d->was_up ? ENTRY_DOWN : ENTRY_STARTING;
}

static void read_theirs(struct domain *d, int64_t now)
{
	char ips[STORE_VALUE_MAX];

	get(d, "ip_addrs", ips);
	get(d, "listening_ports", d->ports);
	take_address(d, ips);
	take_heartbeat(d, now);
	take_load(d, now);
	d->state = state_of(d, ips);
}

/* --- the registry --- */

static json_t *ports_of(const struct domain *d)
{
	json_t *a = json_array();

	for (size_t i = 0; i < options->port_count; i++) {
		const struct plan_port *p = &options->ports[i];
		char host[PLAN_ADDR_BYTES + 16];
		char *colon;

		if (p->proto == IPPROTO_TCP ? !values_listens(d->ports, p->ins_port) : !d->was_up)
			continue;
		plan_port_text(host, sizeof(host), p);
		colon = strrchr(host, ':');
		if (colon)
			*colon = 0;
		json_array_append_new(a, json_pack("{s:s,s:i,s:s,s:i}", "proto", p->proto == IPPROTO_UDP ? "udp" : "tcp", "port", p->ins_port, "host",
						   colon ? host : "", "host_port", p->host_port));
	}
	return a;
}

json_t *domains_entry(const struct domain *d)
{
	static const char *const states[] = { [ENTRY_STARTING] = "starting", [ENTRY_UP] = "up", [ENTRY_DRAIN] = "drain", [ENTRY_DOWN] = "down" };
	bool is4 = options->pool.family == AF_INET;
	char host[ENTRY_HOST_MAX + 1] = "";

	gethostname(host, sizeof(host) - 1);
	if (!d->address[0])
		return NULL;
	return json_pack("{s:i,s:s,s:i,s:s,s:s,s:s,s:s,s:f,s:{s:f,s:f,s:f},s:o,s:s}", "v", 1, "app", options->name, "ins", d->id, "host", host, "address",
			 is4 ? d->address : "", "address6", is4 ? "" : d->address, "state", states[d->state], "heartbeat", d->beat, "load", "cpu",
			 d->load.cpu, "connections", d->load.connections, "rate", d->load.rate, "ports", ports_of(d), "domain", d->name);
}

static void path_of(char path[REGISTRY_PATH_MAX], const struct domain *d, const char *end)
{
	char file[32];

	snprintf(file, sizeof(file), "ins/%d.json%s", d->id, end);
	registry_path(path, options->name, file);
}

static void withdraw(struct domain *d)
{
	char path[REGISTRY_PATH_MAX];

	path_of(path, d, "");
	if (d->entry)
		unlink(path);
	free(d->entry);
	d->entry = NULL;
}

static void publish(struct domain *d)
{
	char path[REGISTRY_PATH_MAX], new[REGISTRY_PATH_MAX];
	json_t *j = domains_entry(d);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

	path_of(path, d, "");
	path_of(new, d, ".new");
	if (!text) {
		withdraw(d);
	} else if (!d->entry || strcmp(text, d->entry)) {
		if (json_dump_file(j, new, JSON_COMPACT) < 0 || rename(new, path) < 0)
			complain_of(d, "cannot be announced: %s: %s", path, strerror(errno));
		free(d->entry);
		d->entry = text;
		text = NULL;
	}
	free(text);
	json_decref(j);
}

int domains_directory(const char *name)
{
	char path[REGISTRY_PATH_MAX];

	registry_path(path, name, "ins");
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	broker_say("%s: %s", path, strerror(errno));
	return -errno;
}

void domains_tidy(void)
{
	char path[REGISTRY_PATH_MAX];
	struct dirent *e;
	DIR *dir;

	registry_path(path, options->name, "ins");
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.' && !domains_find(atoi(e->d_name)))
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
}

/* --- all --- */

static void forget(size_t i)
{
	struct domain *d = &domains[i];

	broker_say("INS domain %d%s%s is gone", d->id, d->name[0] ? " " : "", d->name);
	withdraw(d);
	memmove(d, d + 1, (--count - i) * sizeof(*d));
}

static void meet(int id, int64_t now)
{
	struct domain *d = domains_find(id);

	if (!d && count == DOMAINS_MAX)
		return; /* the registry takes no more either */
	if (!d) {
		d = &domains[count++];
		*d = (struct domain){ .id = id, .seen_ms = now, .state = ENTRY_STARTING };
	}
	d->present = true;
}

int domains_look(void)
{
	int64_t now = clock_ms();
	int ids[INS_MAX * 4], n = known(store, ids, INS_MAX * 4);

	for (size_t i = 0; i < count; i++)
		domains[i].present = false;
	for (int i = 0; i < n; i++) {
		if (store_has_domain(store, (unsigned)ids[i]))
			meet(ids[i], now);
		else
			remove_ins(store, ids[i]); /* its own keys went with it */
	}
	for (size_t i = count; n >= 0 && i-- > 0;)
		if (!domains[i].present)
			forget(i);
	for (size_t i = 0; n >= 0 && i < count; i++)
		read_ours(&domains[i], now); /* of all, before any may claim an address */
	for (size_t i = 0; n >= 0 && i < count; i++) {
		read_theirs(&domains[i], now);
		publish(&domains[i]);
	}
	return n < 0 ? n : 0;
}
