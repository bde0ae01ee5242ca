/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h - what runs under which name: a directory for each, /run/mw/NAME for root. Used by broker/ and ctl/.
 * Trust: the directories are the user's own, mode 0700.
 *
 * NAME/lock is held by `mw run` while it lives; NAME/ctl is the socket on which the broker answers, NAME/control and NAME/netflow
 * telemetry's; NAME/ins-ctl and NAME/ins/N.json are insctl.h's.
 * A directory whose lock nobody holds is left over and is taken over.
 */
#ifndef MW_BROKER_REGISTRY_H
#define MW_BROKER_REGISTRY_H

#include <stddef.h>

#define REGISTRY_NAME_MAX 32
#define REGISTRY_PATH_MAX 96 /* a socket's path must fit sockaddr_un */

/* The directory of all: $MW_RUNTIME_DIR, /run/mw for root, $XDG_RUNTIME_DIR/mw or /tmp/mw-UID. -ENAMETOOLONG: its beginning and "..." */
int registry_root(char path[REGISTRY_PATH_MAX]);

/* NAME/file. */
void registry_path(char path[REGISTRY_PATH_MAX], const char *name, const char *file);

/* Takes the name. Returns the lock's descriptor (close-on-exec), -EBUSY when it is in use, or -errno. */
int registry_claim(const char *name);

/* Listens on a UNIX socket NAME/file of that type. A descriptor or -errno. */
int registry_listen(const char *name, const char *file, int type);

/* Connects to it, and waits for nothing longer than REGISTRY_WAIT_S. A descriptor, -ENOENT when nothing runs under that name, or -errno. */
#define REGISTRY_WAIT_S 2
int registry_connect(const char *name, const char *file, int type);

/* Removes the name's directory. */
void registry_drop(const char *name);

/* Calls fn for each name that is in use, in order. Returns how many there were, or -errno. */
int registry_each(void (*fn)(const char *name, void *arg), void *arg);

#endif
