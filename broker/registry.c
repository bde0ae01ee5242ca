// SPDX-License-Identifier: Apache-2.0
/*
 * registry.c - see registry.h.
 * Trust: as in the header.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "broker/plan.h"
#include "broker/registry.h"
#include "lib/lock.h"

#define ROOT_BYTES 45 /* of a path below which sockets have room in sun_path */

int registry_root(char path[REGISTRY_PATH_MAX])
{
	const char *own = getenv("MW_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (own && *own)
		n = snprintf(path, ROOT_BYTES, "%s", own);
	else if (geteuid() == 0)
		n = snprintf(path, ROOT_BYTES, "/run/mw");
	else if (xdg && *xdg)
		n = snprintf(path, ROOT_BYTES, "%s/mw", xdg);
	else
		n = snprintf(path, ROOT_BYTES, "/tmp/mw-%u", geteuid());
	if (n < ROOT_BYTES)
		return 0;
	strcpy(path + ROOT_BYTES - 4, "..."); /* not the beginning, which may be another directory */
	return -ENAMETOOLONG;
}

void registry_path(char path[REGISTRY_PATH_MAX], const char *name, const char *file)
{
	char root[REGISTRY_PATH_MAX];

	registry_root(root);
	snprintf(path, REGISTRY_PATH_MAX, "%.44s/%.32s%s%s", root, name, *file ? "/" : "", file);
}

/* With the error that there was: what cannot be had leaves nothing. */
static int give_back(const char *name, int r)
{
	char path[REGISTRY_PATH_MAX];

	registry_path(path, name, "");
	rmdir(path); /* another's is not empty */
	return r;
}

static int make_dir(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return 0;
	if (errno != EEXIST || lstat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return -EPERM;
	return 0;
}

/* Who only looks whether it is held has it for a moment. */
static int lock_it(int fd)
{
	const struct timespec step = { .tv_nsec = 2000000 };
	int tries = 5;

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || --tries == 0)
			return -1;
		nanosleep(&step, NULL);
	}
	return 0;
}

int registry_claim(const char *name)
{
	char path[REGISTRY_PATH_MAX];
	int fd, r;

	r = registry_root(path);
	if (r == 0)
		r = make_dir(path);
	if (r < 0)
		return r;
	for (;;) {
		registry_path(path, name, "");
		r = make_dir(path);
		if (r < 0)
			return r;
		registry_path(path, name, "lock");
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0 && errno == ENOENT)
			continue;
		if (fd < 0)
			return give_back(name, -errno);
		if (lock_it(fd) < 0) {
			r = errno == EWOULDBLOCK ? -EBUSY : -errno;
			close(fd);
			return r;
		}
		if (lock_is(fd, path))
			return fd;
		close(fd);
	}
}

static void address_of(const char *name, const char *file, struct sockaddr_un *un)
{
	char path[REGISTRY_PATH_MAX];

	registry_path(path, name, file);
	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof(un->sun_path), "%s", path);
}

int registry_listen(const char *name, const char *file, int type)
{
	struct sockaddr_un un;
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

	if (fd < 0)
		return -errno;
	address_of(name, file, &un);
	unlink(un.sun_path);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0 || listen(fd, 16) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int registry_connect(const char *name, const char *file, int type)
{
	struct timeval limit = { .tv_sec = REGISTRY_WAIT_S };
	struct sockaddr_un un;
	int fd, r;

	if (!plan_name_ok(name))
		return -ENOENT;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	address_of(name, file, &un);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* for connect() too */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		r = errno == ECONNREFUSED ? -ENOENT : errno == EAGAIN ? -ETIMEDOUT : -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Everything in one of a name's directories but its lock. */
static void empty(const char *name, const char *file)
{
	char path[REGISTRY_PATH_MAX];
	struct dirent *e;
	DIR *d;

	registry_path(path, name, file);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && strcmp(e->d_name, "lock") != 0)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

void registry_drop(const char *name)
{
	static const char *const files[] = { "ins", "lock", "" };
	char path[REGISTRY_PATH_MAX];

	empty(name, "ins");
	empty(name, "");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		registry_path(path, name, files[i]);
		remove(path);
	}
}

/* In use: somebody holds its lock. */
static int in_use(const char *name)
{
	char path[REGISTRY_PATH_MAX];
	int fd, used;

	registry_path(path, name, "lock");
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	used = flock(fd, LOCK_SH | LOCK_NB) < 0;
	close(fd);
	return used;
}

int registry_each(void (*fn)(const char *name, void *arg), void *arg)
{
	char root[REGISTRY_PATH_MAX];
	struct dirent **list;
	int n, found = 0;

	registry_root(root);
	n = scandir(root, &list, NULL, alphasort);
	if (n < 0)
		return errno == ENOENT ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.' && in_use(list[i]->d_name)) {
			found++;
			fn(list[i]->d_name, arg);
		}
		free(list[i]);
	}
	free(list);
	return found;
}
