// SPDX-License-Identifier: Apache-2.0
/*
 * dir.c - see dir.h.
 * Trust: as in the header. Only the kernel is believed about who wrote a file.
 *
 * inotify says when to look. The lock's end is seen as the close of a file that was open for writing; as the kernel tells of that before
 * it lets go of the lock, we look again soon after, and once a second in any case. The broker writes heartbeats while somebody asks for
 * them: a connection to ROOT/APP/ins-ctl on which "watch" was said, and which is left open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/clock.h"
#include "lib/name.h"
#include "registry/dir.h"

#define SOON_MS 20
#define LOOK_MS 1000
#define WATCHED (IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)

struct dir {
	struct store s; /* first */
	char root[PATH_MAX - 300], host[ENTRY_HOST_MAX + 1];
	int wd;         /* of ROOT/APP/ins; -1: there is none */
	int watch;      /* the connection for which heartbeats are written; -1: none */
	bool alive;
	bool blind, blind_said; /* for want of descriptors or memory nothing can be seen just now, so what was seen stays */
	int64_t look_ms;
};

static const struct store_place place;

static void path_of(const struct dir *d, char path[PATH_MAX], const char *file)
{
	snprintf(path, PATH_MAX, "%s/%s/%s", d->root, d->s.app, file);
}

/* True if that error is ours, and says nothing of the file. */
static bool is_blind(struct dir *d)
{
	int err = errno;
	bool ours = err == EMFILE || err == ENFILE || err == ENOMEM;

	if (ours && !d->blind_said)
		store_say(&d->s, "cannot look into %s: %s; what is known stays", d->root, strerror(err));
	d->blind |= ours;
	d->blind_said |= ours;
	errno = err;
	return ours;
}

/* Somebody holds the lock. For reading: our own close is then none of a file open for writing. */
static bool is_alive(struct dir *d)
{
	char path[PATH_MAX];
	bool held;
	int fd;

	path_of(d, path, "lock");
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return is_blind(d) && d->alive;
	held = flock(fd, LOCK_SH | LOCK_NB) < 0;
	close(fd);
	return held;
}

/* "N.json" */
static bool is_entry(const char *name, uint32_t *ins)
{
	char want[16];
	unsigned long n = strtoul(name, NULL, 10);

	if (name[0] < '0' || name[0] > '9' || n > ENTRY_INS_MAX)
		return false;
	snprintf(want, sizeof(want), "%lu.json", n);
	*ins = (uint32_t)n;
	return !strcmp(name, want);
}

static const char *wrong_file(const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "it is no file";
	if ((st->st_uid != geteuid() && st->st_uid != 0) || st->st_mode & S_IWOTH)
		return "others than this user can write it";
	return st->st_size > ENTRY_BYTES_MAX ? "it is too large" : NULL;
}

/* Reads one file; what is not there any more is gone. */
static void look_at(struct dir *d, const char *name)
{
	static char text[ENTRY_BYTES_MAX];
	char path[PATH_MAX], key[ENTRY_KEY_BYTES + NAME_MAX];
	const char *wrong, *end;
	struct stat st;
	uint32_t ins;
	ssize_t n;
	int fd;

	if (name[0] == '.' || ((end = strrchr(name, '.')) && !strcmp(end, ".new")))
		return; /* one that is being written */
	if (!is_entry(name, &ins)) {
		snprintf(key, sizeof(key), "%s/%s/%.40s", d->host, d->s.app, name);
		store_feed(&d->s, key, NULL, 0, "its name is not that of an INS");
		return;
	}
	snprintf(key, sizeof(key), "%s/%s/%u", d->host, d->s.app, ins);
	snprintf(path, sizeof(path), "%s/%s/ins/%.20s", d->root, d->s.app, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0) {
		if (errno == ENOENT)
			store_drop(&d->s, key);
		else if (!is_blind(d))
			store_feed(&d->s, key, NULL, 0, errno == ELOOP ? "it is no file" : strerror(errno));
		return;
	}
	wrong = fstat(fd, &st) < 0 ? "it cannot be looked at" : wrong_file(&st);
	n = wrong ? 0 : read(fd, text, sizeof(text));
	close(fd);
	store_feed(&d->s, key, text, n < 0 ? 0 : (size_t)n, wrong);
}

static void look_at_all(struct dir *d)
{
	char path[PATH_MAX];
	struct dirent *e;
	DIR *dir;

	inotify_add_watch(d->s.fd, d->root, WATCHED);
	path_of(d, path, "");
	inotify_add_watch(d->s.fd, path, WATCHED);
	path_of(d, path, "ins");
	d->wd = inotify_add_watch(d->s.fd, path, WATCHED); /* before the look: nothing is missed in between */
	d->alive = is_alive(d);
	dir = d->alive ? opendir(path) : NULL;
	if (d->blind || (d->alive && !dir && is_blind(d)))
		return;
	store_begin(&d->s);
	while (dir && (e = readdir(dir)))
		look_at(d, e->d_name);
	if (dir)
		closedir(dir);
	if (!d->blind)
		store_end(&d->s);
}

static void unwatch(struct dir *d)
{
	if (d->watch >= 0)
		close(d->watch);
	d->watch = -1;
}

/* A broker that does not know the request, or is not there, writes or does not: that is seen. */
static void keep_watch(struct dir *d)
{
	static const char request[] = "{\"do\":\"watch\"}";
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char path[PATH_MAX], byte;
	ssize_t n = -1;

	while (d->watch >= 0 && (n = recv(d->watch, &byte, 1, MSG_DONTWAIT)) > 0)
		; /* its answer is what the files say */
	if (n == 0 || (n < 0 && errno == ECONNRESET))
		unwatch(d);
	path_of(d, path, "ins-ctl");
	if (d->watch >= 0 || !d->alive || strlen(path) >= sizeof(un.sun_path))
		return;
	strcpy(un.sun_path, path);
	d->watch = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->watch >= 0 && (connect(d->watch, (struct sockaddr *)&un, sizeof(un)) < 0 ||
			      send(d->watch, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0))
		unwatch(d);
}

static int wait_ms(const struct store *s)
{
	const struct dir *d = (const struct dir *)s;

	return clock_until(d->look_ms);
}

/* True when more than files in ins/ changed. */
static bool take_events(struct dir *d)
{
	char buffer[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool all = false;
	ssize_t n;

	while ((n = read(d->s.fd, buffer, sizeof(buffer))) > 0) {
		const struct inotify_event *e;

		for (char *p = buffer; p < buffer + n; p += sizeof(*e) + e->len) {
			e = (const struct inotify_event *)p;
			if (e->wd != d->wd || !e->len || e->mask & IN_ISDIR)
				all = true;
			else if (d->alive)
				look_at(d, e->name);
		}
	}
	return all;
}

static void turn(struct store *s)
{
	struct dir *d = (struct dir *)s;
	bool all = take_events(d), due = clock_ms() >= d->look_ms, blind = d->blind;

	if (due)
		d->blind = false;
	if (all || !s->heard_ms || (due && (blind || is_alive(d) != d->alive)))
		look_at_all(d);
	if (all || due) {
		keep_watch(d);
		d->look_ms = clock_ms() + (all && !d->blind ? SOON_MS : LOOK_MS);
	}
	if (!d->blind)
		s->heard_ms = clock_ms();
	if (due && !d->blind && d->blind_said) {
		store_say(s, "can look into %s again", d->root);
		d->blind_said = false;
	}
}

static int file_of(const struct dir *d, const char *key, char name[16])
{
	char want[ENTRY_KEY_BYTES];
	const char *last = strrchr(key, '/');

	if (!last || strlen(last) > 9)
		return -EINVAL;
	snprintf(want, sizeof(want), "%s/%s%s", d->host, d->s.app, last);
	if (strcmp(want, key))
		return -EINVAL; /* another's */
	snprintf(name, 16, "%.8s.json", last + 1);
	return 0;
}

static int publish(struct store *s, const char *key, const char *text, size_t bytes)
{
	const struct dir *d = (const struct dir *)s;
	char path[PATH_MAX], tmp[PATH_MAX], name[16];
	int r = file_of(d, key, name), fd;

	if (r < 0)
		return r;
	path_of(d, path, "ins");
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), "%s/%s/ins/%s", d->root, s->app, name);
	snprintf(tmp, sizeof(tmp), "%s/%s/ins/.%s", d->root, s->app, name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, text, bytes) != (ssize_t)bytes || rename(tmp, path) < 0)
		r = errno ? -errno : -EIO;
	close(fd);
	return r;
}

static int withdraw(struct store *s, const char *key)
{
	const struct dir *d = (const struct dir *)s;
	char path[PATH_MAX], name[16];
	int r = file_of(d, key, name);

	snprintf(path, sizeof(path), "%s/%s/ins/%s", d->root, s->app, r < 0 ? "" : name);
	return r < 0 ? r : unlink(path) < 0 ? -errno : 0;
}

static void close_dir(struct store *s, int limit_ms)
{
	(void)limit_ms;
	unwatch((struct dir *)s);
	close(s->fd);
	free(s);
}

static const struct store_place place = { wait_ms, turn, publish, withdraw, close_dir };

int dir_open(struct store **out, const char *root, const char *app, const struct store_watch *watch)
{
	struct dir *d;
	int r;

	if (!name_ok(app, ENTRY_NAME_MAX))
		return -EINVAL;
	if (strlen(root) >= sizeof(d->root))
		return -ENAMETOOLONG;
	if (mkdir(root, 0700) < 0 && errno != EEXIST)
		return -errno;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	store_init(&d->s, &place, app, watch);
	snprintf(d->root, sizeof(d->root), "%s", root);
	gethostname(d->host, sizeof(d->host) - 1);
	d->wd = d->watch = -1;
	d->s.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (d->s.fd < 0) {
		r = -errno;
		free(d);
		return r;
	}
	*out = &d->s;
	return 0;
}
