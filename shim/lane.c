// SPDX-License-Identifier: Apache-2.0
/*
 * lane.c - a child that the shim cannot serve (static, Go, with privileges of its own) is executed through mw-trap.
 * Trust: the file is the user's; see lib/elf.c.
 *
 * Stack memory only: the caller may be a vfork child or a signal handler.
 */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/lane.h"
#include "lib/elf.h"

static char trap_path[PATH_MAX];

/* First of: beside this library (a build tree), where `make install` puts it. As broker/spawn.c finds us. */
__attribute__((constructor)) static void find_trap(void)
{
	Dl_info info;
	const char *slash;
	int n;

	if (!dladdr((void *)(unsigned long)&find_trap, &info) || !info.dli_fname || !(slash = strrchr(info.dli_fname, '/')))
		return;
	n = (int)(slash - info.dli_fname);
	snprintf(trap_path, sizeof(trap_path), "%.*s/mw-trap", n, info.dli_fname);
	if (access(trap_path, X_OK) < 0)
		snprintf(trap_path, sizeof(trap_path), "%.*s/../../libexec/mwcomms/mw-trap", n, info.dli_fname);
	if (access(trap_path, X_OK) < 0)
		trap_path[0] = 0;
}

const char *lane_trap(const char *file, bool search, char path[])
{
	if (!trap_path[0] || !file)
		return NULL;
	if (search ? elf_search(file, path) < 0 : strlen(file) >= PATH_MAX)
		return NULL;
	if (!search)
		strcpy(path, file);
	return elf_kind(path) == ELF_DYNAMIC && !elf_secure(path) ? NULL : trap_path;
}

size_t lane_count(char *const argv[])
{
	size_t n = 0;

	while (argv && argv[n])
		n++;
	return n;
}

char *const *lane_argv(char **to, char *path, char *const argv[])
{
	size_t n = lane_count(argv);

	to[0] = trap_path;
	to[1] = path;
	to[2] = path; /* where there is no argv[0] */
	for (size_t i = 0; i < n; i++)
		to[2 + i] = argv[i];
	to[2 + (n ? n : 1)] = NULL;
	return to;
}
