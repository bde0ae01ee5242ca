/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir.h - the registry of one host: a file ROOT/APP/ins/N.json for each INS. Used by front/.
 * Trust: the files are those of the user that we are, or root's, and nobody else can write them; others are reported and ignored.
 *
 * Entries count while somebody holds ROOT/APP/lock (broker/registry.h): when their broker is dead, they are gone.
 */
#ifndef MW_REGISTRY_DIR_H
#define MW_REGISTRY_DIR_H

#include "registry/store.h"

/* -ENAMETOOLONG, -EINVAL for what is no name, or what the kernel says to inotify and to making `root`. */
int dir_open(struct store **out, const char *root, const char *app, const struct store_watch *watch);

#endif
