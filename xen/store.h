/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - XenStore as this program needs it. Used by xen/.
 * Trust: xenstored, which is dom0's. Values that domains wrote are text to show, and are made harmless before.
 */
#ifndef MW_XEN_STORE_H
#define MW_XEN_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <xenstore.h>

#define STORE_NOBODY (-1) /* of a reader */
#define STORE_ALL    (-2)
#define STORE_VALUE_MAX 1024 /* as link/xenstore.h */

struct store {
	struct xs_handle *h;
	xs_transaction_t t; /* XBT_NULL: none */
};

/* 0 or -errno. */
int store_open(struct store *s);
void store_close(struct store *s);

/*
 * Runs `change` in a transaction, as often as others' changes make it necessary. 0, or -errno of it: then nothing is changed.
 */
int store_change(struct store *s, int (*change)(struct store *s, void *arg), void *arg);

/* A node's value, at most STORE_VALUE_MAX - 1 bytes of it, what is not printable shown as '?'. 0 or -errno. */
int store_read(struct store *s, const char *path, char value[STORE_VALUE_MAX]);
/* A domain's id in a node; -errno. */
int64_t store_read_id(struct store *s, const char *path);
int store_write(struct store *s, const char *path, const char *value);
int store_remove(struct store *s, const char *path);
/* The names below a node, *count of them, in one block that the caller frees; NULL, errno set. */
char **store_list(struct store *s, const char *path, unsigned *count);

/*
 * Makes a node if there is none, empty, which `owner` owns and writes and `readers[2]` (or STORE_NOBODY) read; STORE_ALL as the
 * first: everybody does. What a node that is there holds stays; its permissions become these. 1: something was changed, 0, or -errno.
 */
int store_node(struct store *s, const char *path, unsigned owner, const int readers[2]);
/* Permissions as xenstore-ls shows them: "n5,r3". 0 or -errno. */
int store_permissions(struct store *s, const char *path, char text[64]);

/* The domain of a number or a name, which must be there; -ENOENT, or -errno. */
int64_t store_domain(struct store *s, const char *word);
bool store_has_domain(struct store *s, unsigned id);
/* Its name, "" without. */
void store_name(struct store *s, unsigned id, char value[STORE_VALUE_MAX]);

#endif
