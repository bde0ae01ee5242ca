// SPDX-License-Identifier: Apache-2.0
/*
 * landlock.c - see landlock.h.
 * Trust: as in the header. Numbers are of Linux's include/uapi/linux/landlock.h, of which a build's may be older than the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/landlock.h"

#define EXECUTE     (1ull << 0)
#define WRITE_FILE  (1ull << 1)
#define READ_FILE   (1ull << 2)
#define READ_DIR    (1ull << 3)
#define REMOVE_FILE (1ull << 5)
#define TRUNCATE    (1ull << 14)
#define IOCTL_DEV   (1ull << 15)
#define OF_FILE     (WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV) /* what a rule about a file may have */

#define SCOPE_ABSTRACT_UNIX (1ull << 0)
#define SCOPE_SIGNAL        (1ull << 1)

#define QUERY_VERSION 1u
#define RULE_PATH     1

struct ruleset {
	uint64_t files, net, scopes;
};

struct path_rule {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

/* All that an ABI knows of files: bits 0 to ... */
static uint64_t file_rights(long abi)
{
	static const unsigned int bits[] = { 0, 13, 14, 15, 15, 16 };
	size_t last = sizeof(bits) / sizeof(bits[0]) - 1;

	return (1ull << bits[abi < (long)last ? (size_t)abi : last]) - 1;
}

static int allow_below(int set, const char *path, uint64_t rights)
{
	struct path_rule rule = { .parent = open(path, O_PATH | O_CLOEXEC) };
	struct stat st;
	int r = 0;

	if (rule.parent < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(rule.parent, &st) < 0)
		r = -errno;
	rule.allowed = r == 0 && S_ISDIR(st.st_mode) ? rights : rights & OF_FILE;
	if (r == 0 && syscall(SYS_landlock_add_rule, set, RULE_PATH, &rule, 0) < 0)
		r = -errno;
	close(rule.parent);
	return r;
}

static int allow_all(int set, const char *const *paths, uint64_t rights)
{
	int r = 0;

	for (; r == 0 && paths && *paths; paths++)
		r = allow_below(set, *paths, rights);
	return r;
}

int landlock_enter(const struct landlock_room *room)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, QUERY_VERSION);
	struct ruleset what = { .files = abi > 0 ? file_rights(abi) : 0, .scopes = (room->names ? 0 : SCOPE_ABSTRACT_UNIX) | (room->signals ? 0 : SCOPE_SIGNAL) };
	int set, r;

	if (abi <= 0)
		return 0;
	set = (int)syscall(SYS_landlock_create_ruleset, &what, abi >= 6 ? sizeof(what) : sizeof(what.files), 0);
	if (set < 0)
		return -errno;
	r = allow_all(set, room->readable, READ_FILE | READ_DIR);
	if (r == 0)
		r = allow_all(set, room->writable, what.files & ~EXECUTE);
	if (r == 0)
		r = allow_all(set, room->removable, REMOVE_FILE);
	if (r == 0 && syscall(SYS_landlock_restrict_self, set, 0) < 0)
		r = errno == E2BIG ? 0 : -errno; /* the container's manager has used all layers */
	close(set);
	return r;
}
