// SPDX-License-Identifier: Apache-2.0
/*
 * exec.c - a protected program's children are protected too, also when it hands them an environment of its own.
 * Trust: none.
 *
 * If LD_PRELOAD has lost this library, it is put back (behind what is there). Stack memory only: the caller may
 * be a vfork child or a signal handler.
 */
#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "link/device.h"
#include "shim/fdtab.h"
#include "shim/interpose.h"
#include "shim/lane.h"
#include "shim/libc.h"
#include "shim/plain.h"

#define PRELOAD "LD_PRELOAD="
#define DEVICE  DEVICE_ENV "="

static char own_path[PATH_MAX];

/* After fork.c's, before any other constructor that could make a socket. */
__attribute__((constructor(102))) static void find_inherited(void)
{
	if (!device_used())
		fdtab_scan();
}

__attribute__((constructor)) static void find_self(void)
{
	Dl_info info;

	if (dladdr((void *)(unsigned long)&find_self, &info) && info.dli_fname)
		snprintf(own_path, sizeof(own_path), "%s", info.dli_fname);
}

static size_t env_count(char *const envp[])
{
	size_t n = 0;

	while (envp && envp[n])
		n++;
	return n;
}

/* The index of a variable, given with its '=', or -1. */
static int env_find(char *const envp[], const char *variable)
{
	for (int i = 0; envp && envp[i]; i++)
		if (!strncmp(envp[i], variable, strlen(variable)))
			return i;
	return -1;
}

static int env_preload(char *const envp[])
{
	return env_find(envp, PRELOAD);
}

/* Who uses the device is to go on doing so. */
static bool env_lost_device(char *const envp[])
{
	return device_used() && env_find(envp, DEVICE) < 0;
}

static bool env_complete(char *const envp[])
{
	int at = env_preload(envp);

	return !own_path[0] || (at >= 0 && strstr(envp[at], own_path) && !env_lost_device(envp));
}

/* Bytes for the corrected variable. */
static size_t preload_bytes(char *const envp[])
{
	int at = env_preload(envp);

	return sizeof(PRELOAD) + strlen(own_path) + 1 + (at >= 0 ? strlen(envp[at]) : 0);
}

/* envp, with what it has lost beside LD_PRELOAD. How many there are now. */
static size_t env_copy(char *const envp[], char **to)
{
	static char device[] = DEVICE "1";
	size_t n = env_count(envp);

	for (size_t i = 0; i < n; i++)
		to[i] = envp[i];
	if (env_lost_device(envp))
		to[n++] = device;
	to[n] = NULL;
	return n;
}

static void env_correct(char *const envp[], char **to, char *text, size_t bytes)
{
	int at = env_preload(envp);
	size_t n = env_copy(envp, to);

	if (at >= 0 && strstr(envp[at], own_path))
		return;
	if (at >= 0 && envp[at][sizeof(PRELOAD) - 1])
		snprintf(text, bytes, "%s:%s", envp[at], own_path);
	else
		snprintf(text, bytes, PRELOAD "%s", own_path);
	to[at >= 0 ? (size_t)at : n++] = text;
	to[n] = NULL;
}

/* Without this library, which is not for those who live under mw-trap's filter, nor for mw-trap. */
static void env_forget(char *const envp[], char **to, char *text)
{
	int at = env_preload(envp);
	size_t n = env_copy(envp, to), length = 0, bytes;

	if (at < 0)
		return;
	for (const char *part = envp[at] + sizeof(PRELOAD) - 1; *part; part += bytes + !!part[bytes]) {
		bytes = strcspn(part, ": ");
		if (bytes != strlen(own_path) || memcmp(part, own_path, bytes) != 0)
			length += (size_t)sprintf(text + length, "%s%.*s", length ? ":" : PRELOAD, (int)bytes, part);
	}
	if (length)
		to[at] = text;
	else
		memmove(to + at, to + at + 1, (n - (size_t)at) * sizeof(*to));
}

/* Declares `name`: envp itself when it is right, else a corrected copy on this function's stack. */
#define WITH_ENV(name, envp, trap) \
	char *const *name = (envp); \
	if (trap && (env_preload(envp) >= 0 || env_lost_device(envp))) { \
		char **copy_ = alloca((env_count(envp) + 3) * sizeof(char *)); \
		env_forget((envp), copy_, alloca(preload_bytes(envp))); \
		name = copy_; \
	} else if (!trap && !env_complete(envp)) { \
		size_t bytes_ = preload_bytes(envp); \
		char **copy_ = alloca((env_count(envp) + 3) * sizeof(char *)); \
		env_correct((envp), copy_, alloca(bytes_), bytes_); \
		name = copy_; \
	}

/* Declares `trap`, and `args` for it: how to execute what the shim cannot serve; NULL for all else. */
#define WITH_TRAP(trap, args, file, search, argv) \
	char path_[PATH_MAX]; \
	const char *trap = lane_trap(file, search, path_); \
	char *const *args = trap ? lane_argv(alloca((lane_count(argv) + 4) * sizeof(char *)), path_, argv) : NULL;

EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	WITH_TRAP(trap, args, path, false, argv)
	WITH_ENV(env, envp, trap)
	return trap ? libc()->execve(trap, args, env) : libc()->execve(path, argv, env);
}

EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	WITH_TRAP(trap, args, file, true, argv)
	WITH_ENV(env, envp, trap)
	return trap ? libc()->execve(trap, args, env) : libc()->execvpe(file, argv, env);
}

EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	WITH_ENV(env, envp, false)
	return libc()->fexecve(fd, argv, env);
}

EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

/* Declares argv[] from a variable list that starts with `first`. */
#define COLLECT(argv, first, ap) \
	size_t count_ = 1; \
	va_start(ap, first); \
	while (va_arg(ap, char *)) \
		count_++; \
	va_end(ap); \
	char **argv = alloca((count_ + 1) * sizeof(char *)); \
	va_start(ap, first); \
	argv[0] = (char *)(unsigned long)(first); \
	for (size_t i_ = 1; i_ <= count_; i_++) \
		argv[i_] = va_arg(ap, char *);

EXPORT int execl(const char *path, const char *first, ...)
{
	va_list ap;

	COLLECT(argv, first, ap)
	va_end(ap);
	return execve(path, argv, environ);
}

EXPORT int execlp(const char *file, const char *first, ...)
{
	va_list ap;

	COLLECT(argv, first, ap)
	va_end(ap);
	return execvpe(file, argv, environ);
}

EXPORT int execle(const char *path, const char *first, ...)
{
	va_list ap;
	char *const *envp;

	COLLECT(argv, first, ap)
	envp = va_arg(ap, char *const *);
	va_end(ap);
	return execve(path, argv, envp);
}

EXPORT int posix_spawn(pid_t *restrict pid, const char *restrict path, const posix_spawn_file_actions_t *restrict fa,
		       const posix_spawnattr_t *restrict attr, char *const argv[restrict], char *const envp[restrict])
{
	WITH_TRAP(trap, args, path, false, argv)
	WITH_ENV(env, envp, trap)
	return libc()->posix_spawn(pid, trap ? trap : path, fa, attr, trap ? args : argv, env);
}

EXPORT int posix_spawnp(pid_t *restrict pid, const char *restrict file, const posix_spawn_file_actions_t *restrict fa,
			const posix_spawnattr_t *restrict attr, char *const argv[restrict], char *const envp[restrict])
{
	WITH_TRAP(trap, args, file, true, argv)
	WITH_ENV(env, envp, trap)
	if (trap)
		return libc()->posix_spawn(pid, trap, fa, attr, args, env);
	return libc()->posix_spawnp(pid, file, fa, attr, argv, env);
}

/* The last call before a sandbox closes, usually. */
EXPORT int prctl(int option, ...)
{
	unsigned long a[4];
	va_list ap;
	int r, saved = errno;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (option != PR_SET_SECCOMP || a[0] != SECCOMP_MODE_FILTER || plain_on)
		return libc()->prctl(option, a[0], a[1], a[2], a[3]);
	plain_prepare();
	errno = saved;
	r = libc()->prctl(option, a[0], a[1], a[2], a[3]);
	plain_on = r == 0;
	return r;
}
