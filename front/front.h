/* SPDX-License-Identifier: Apache-2.0 */
/*
 * front.h - shared inside front/ only: mw-front's two jobs and their options.
 * Trust: the command line is the user's.
 */
#ifndef MW_FRONT_FRONT_H
#define MW_FRONT_FRONT_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "front/scale.h"
#include "front/spread.h"
#include "registry/store.h"

#define FRONT_UP_FD 3 /* to the broker that started us; HELPER: broker/helper.h */

struct front_options {
	char name[ENTRY_NAME_MAX + 1];
	char root[PATH_MAX - 400];	/* the runtime directory */
	const char *etcd;		/* NULL: the directory of this host */
	enum balance balance;
	unsigned heartbeat_ms;
	struct scale scale;		/* max 0: none are started or retired */
	bool keep, plan;
	const char *helper;		/* NULL: started by a person */
};

/* options.c: 0, or the exit status that ends us; -1: it was help. */
int options_frontend(struct front_options *o, int argc, char **argv);
int options_registry(struct front_options *o, int argc, char **argv);

/* frontend.c, mirror.c: the exit status */
int frontend(const struct front_options *o);
void frontend_say(const char *format, ...) __attribute__((format(printf, 1, 2))); /* a line for a person */
int mirror(const struct front_options *o);

/* ports.c: which published ports a server of this host has */
struct rules_taken;
struct member;
void ports_adopt(char *table); /* takes the found table's text, or NULL: what it forwards is not taken */
size_t ports_taken(const struct rules_taken **out, const struct member *members, size_t count, const char *here);

/* sandbox.c: no capability is left but that one (-1: none), and no file but those that are needed; `locked`: files of the runtime
 * directory may be removed. 0 or -errno */
int sandbox_enter(const struct front_options *o, int capability, bool locked);

#endif
