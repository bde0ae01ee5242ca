// SPDX-License-Identifier: Apache-2.0
/*
 * setup.c - makes the keys of doc/xen.md, each with its owner and its readers, and takes them away.
 * Trust: the domain ids are those that xenstored knows. Nothing that a domain wrote is believed: /mw and /mw/D are dom0's own.
 *
 * A domain that ends takes the nodes that it owns with it, and xenstored forgets it in the permissions of others; so what is left of
 * it is dom0's directory, which the next setup removes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/keys.h"
#include "xen/tool.h"

#define PATH_BYTES 96

int known(struct store *s, int *ids, unsigned max)
{
	unsigned count, n = 0;
	char **names = store_list(s, KEYS_ROOT, &count);

	if (!names)
		return errno == ENOENT ? 0 : -errno;
	for (unsigned i = 0; i < count && n < max; i++) {
		char *end;
		unsigned long id = strtoul(names[i], &end, 10);

		if (end != names[i] && !*end && id < 0x7ff0)
			ids[n++] = (int)id;
	}
	free(names);
	return (int)n;
}

int remove_ins(struct store *s, int id)
{
	char path[PATH_BYTES];
	int r;

	snprintf(path, sizeof(path), KEYS_ROOT "/%d", id);
	r = store_remove(s, path);
	return r == -ENOENT ? 0 : r;
}

/* What is left of domains that are gone. */
static int sweep(struct store *s)
{
	int ids[INS_MAX * 4], r = 0, n = known(s, ids, INS_MAX * 4);

	for (int i = 0; i < n && r >= 0; i++)
		if (!store_has_domain(s, (unsigned)ids[i]))
			r = remove_ins(s, ids[i]);
	return n < 0 ? n : r;
}

static int make_ins(struct store *s, int pvm, int ins)
{
	char path[PATH_BYTES];
	int r, changed;

	snprintf(path, sizeof(path), KEYS_ROOT "/%d", ins);
	changed = store_node(s, path, 0, (int[2]){ pvm, ins });
	if (changed < 0)
		return changed;
	for (size_t i = 0; i < keys_ins_count; i++) {
		int owners[] = { [SIDE_PVM] = pvm, [SIDE_INS] = ins, [SIDE_DOM0] = 0 };

		snprintf(path, sizeof(path), KEYS_ROOT "/%d/%s", ins, keys_ins[i].name);
		r = store_node(s, path, (unsigned)owners[keys_ins[i].owner], (int[2]){ pvm, ins });
		if (r < 0)
			return r;
		changed |= r;
	}
	return changed;
}

static int make_pvm(struct store *s, int pvm)
{
	char value[16];
	int r = store_node(s, KEYS_ROOT, 0, (int[2]){ pvm, STORE_NOBODY });

	if (r >= 0)
		r = store_node(s, KEYS_PVM, 0, (int[2]){ STORE_ALL, STORE_NOBODY });
	if (r >= 0)
		r = store_node(s, KEYS_PVM "/id", 0, (int[2]){ STORE_ALL, STORE_NOBODY });
	if (r >= 0)
		r = store_node(s, KEYS_PVM "/netflow", (unsigned)pvm, (int[2]){ STORE_ALL, STORE_NOBODY });
	snprintf(value, sizeof(value), "%d", pvm);
	if (r >= 0 && store_read_id(s, KEYS_PVM "/id") != pvm)
		r = store_write(s, KEYS_PVM "/id", value);
	return r;
}

/* An INS whose directory is there already keeps what it holds; its owner may be another than before when the PVM is a new one. */
static int make(struct store *s, void *arg)
{
	struct wish *w = arg;
	int ids[INS_MAX * 4], n, r = sweep(s);

	if (r >= 0)
		r = make_pvm(s, w->pvm);
	for (unsigned i = 0; i < w->ins_count && r >= 0; i++)
		r = make_ins(s, w->pvm, w->ins[i]);
	n = r < 0 ? r : known(s, ids, INS_MAX * 4);
	for (int i = 0; i < n && r >= 0; i++)
		r = make_ins(s, w->pvm, ids[i]);
	return n < 0 ? n : r < 0 ? r : 0;
}

static int check(struct store *s, struct wish *w)
{
	int64_t now = store_read_id(s, KEYS_PVM "/id");
	bool alive = now > 0 && store_has_domain(s, (unsigned)now);

	if (w->pvm == NO_DOMAIN && !alive)
		return complain("which domain is the protected one? There is none yet; say --pvm DOMAIN");
	if (w->pvm == NO_DOMAIN)
		w->pvm = (int)now;
	if (alive && now != w->pvm)
		return complain("domain %lld is the protected one and runs; first `mw xen remove`, or end it", (long long)now);
	for (unsigned i = 0; i < w->ins_count; i++)
		if (w->ins[i] == w->pvm)
			return complain("domain %d cannot be the protected one and an INS's", w->pvm);
	return 0;
}

int setup(struct store *s, struct wish *w)
{
	int r = check(s, w);

	if (r)
		return r;
	r = store_change(s, make, w);
	return r < 0 ? complain("cannot make the keys: %s; the setup is dom0's to do, as root", strerror(-r)) : 0;
}

static int take_away(struct store *s, void *arg)
{
	struct wish *w = arg;
	int ids[INS_MAX * 4], n = known(s, ids, INS_MAX * 4), r = 0;

	for (unsigned i = 0; i < w->ins_count && r >= 0; i++)
		r = remove_ins(s, w->ins[i]);
	if (w->ins_count)
		return r;
	for (int i = 0; i < n && r >= 0; i++)
		r = remove_ins(s, ids[i]);
	if (r >= 0)
		r = store_remove(s, KEYS_PVM);
	if (r == -ENOENT)
		r = 0;
	n = r < 0 ? 0 : known(s, ids, 1);
	if (n == 0 && r >= 0)
		r = store_remove(s, KEYS_ROOT);
	return r == -ENOENT ? 0 : r;
}

int remove_keys(struct store *s, struct wish *w)
{
	int r = store_change(s, take_away, w);

	return r < 0 ? complain("cannot take the keys away: %s; that is dom0's to do, as root", strerror(-r)) : 0;
}
