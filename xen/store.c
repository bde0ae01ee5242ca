// SPDX-License-Identifier: Apache-2.0
/*
 * store.c - see store.h.
 * Trust: as in the header.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "xen/store.h"

#define TRIES 100 /* of a transaction */

int store_open(struct store *s)
{
	s->t = XBT_NULL;
	s->h = xs_open(0);
	if (!s->h)
		return -(errno ? errno : EIO);
	if (xs_is_domain_introduced(s->h, 0)) /* which it says to dom0 alone */
		return 0;
	xs_close(s->h);
	return -EACCES;
}

void store_close(struct store *s)
{
	xs_close(s->h);
}

int store_change(struct store *s, int (*change)(struct store *s, void *arg), void *arg)
{
	int r;

	for (int n = 0; n < TRIES; n++) {
		s->t = xs_transaction_start(s->h);
		if (s->t == XBT_NULL)
			return -errno;
		r = change(s, arg);
		if (xs_transaction_end(s->h, s->t, r < 0))
			errno = 0;
		s->t = XBT_NULL;
		if (r < 0 || errno == 0)
			return r;
		if (errno != EAGAIN)
			return -errno;
	}
	return -EAGAIN;
}

int store_read(struct store *s, const char *path, char value[STORE_VALUE_MAX])
{
	unsigned bytes;
	char *read = xs_read(s->h, s->t, path, &bytes);

	if (!read)
		return -errno;
	if (bytes > STORE_VALUE_MAX - 1)
		bytes = STORE_VALUE_MAX - 1;
	for (unsigned i = 0; i < bytes; i++)
		value[i] = isprint((unsigned char)read[i]) ? read[i] : '?';
	value[bytes] = 0;
	free(read);
	return 0;
}

static int64_t id_of(const char *text)
{
	char *end;
	unsigned long id = strtoul(text, &end, 10);

	return isdigit((unsigned char)*text) && !*end && id < 0x7ff0 ? (int64_t)id : -EINVAL; /* DOMID_FIRST_RESERVED */
}

int64_t store_read_id(struct store *s, const char *path)
{
	char value[STORE_VALUE_MAX];
	int r = store_read(s, path, value);

	return r < 0 ? r : id_of(value);
}

int store_write(struct store *s, const char *path, const char *value)
{
	return xs_write(s->h, s->t, path, value, (unsigned)strlen(value)) ? 0 : -errno;
}

int store_remove(struct store *s, const char *path)
{
	return xs_rm(s->h, s->t, path) ? 0 : -errno;
}

char **store_list(struct store *s, const char *path, unsigned *count)
{
	return xs_directory(s->h, s->t, path, count);
}

static bool is_same(const struct xs_permissions *a, const struct xs_permissions *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (a[i].id != b[i].id || a[i].perms != b[i].perms)
			return false;
	return true;
}

int store_node(struct store *s, const char *path, unsigned owner, const int readers[2])
{
	struct xs_permissions wanted[3] = { { .id = owner, .perms = XS_PERM_NONE } }, *found;
	unsigned count = 1, have;
	bool same;

	if (readers[0] == STORE_ALL)
		wanted[0].perms = XS_PERM_READ;
	for (int i = 0; i < 2; i++)
		if (readers[i] > 0 && readers[i] != (int)owner)
			wanted[count++] = (struct xs_permissions){ .id = (unsigned)readers[i], .perms = XS_PERM_READ };
	found = xs_get_permissions(s->h, s->t, path, &have);
	if (!found && (errno != ENOENT || !xs_write(s->h, s->t, path, "", 0)))
		return -errno;
	same = found && have == count && is_same(found, wanted, count);
	free(found);
	if (same)
		return 0;
	return xs_set_permissions(s->h, s->t, path, wanted, count) ? 1 : -errno;
}

int store_permissions(struct store *s, const char *path, char text[64])
{
	static const char letters[] = { 'n', 'r', 'w', 'b' };
	unsigned count;
	int at = 0;
	struct xs_permissions *p = xs_get_permissions(s->h, s->t, path, &count);

	if (!p)
		return -errno;
	*text = 0;
	for (unsigned i = 0; i < count && at < 48; i++)
		at += snprintf(text + at, 64 - (size_t)at, "%s%c%u", i ? "," : "", letters[p[i].perms & 3], p[i].id);
	free(p);
	return 0;
}

bool store_has_domain(struct store *s, unsigned id)
{
	return xs_is_domain_introduced(s->h, id);
}

void store_name(struct store *s, unsigned id, char value[STORE_VALUE_MAX])
{
	char path[64];

	snprintf(path, sizeof(path), "/local/domain/%u/name", id);
	if (store_read(s, path, value) < 0)
		*value = 0;
}

static int64_t domain_named(struct store *s, const char *word)
{
	char value[STORE_VALUE_MAX];
	unsigned count;
	int64_t found = -ENOENT;
	char **ids = store_list(s, "/local/domain", &count);

	if (!ids)
		return -errno;
	for (unsigned i = 0; i < count && found < 0; i++) {
		int64_t id = id_of(ids[i]);

		if (id < 0)
			continue;
		store_name(s, (unsigned)id, value);
		if (!strcmp(value, word))
			found = id;
	}
	free(ids);
	return found;
}

int64_t store_domain(struct store *s, const char *word)
{
	int64_t id = id_of(word);

	if (id < 0)
		id = domain_named(s, word);
	return id >= 0 && !store_has_domain(s, (unsigned)id) ? -ENOENT : id;
}
