// SPDX-License-Identifier: Apache-2.0
/*
 * tree.c - see tree.h.
 * Trust: as in the header.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "broker/tree.h"
#include "lib/clock.h"

#define SPARED_MAX 256
#define CHILDREN_MAX 4096
#define STEP_MS 5

const char *tree_how(int status, char text[TREE_HOW_BYTES])
{
	if (WIFSIGNALED(status))
		snprintf(text, TREE_HOW_BYTES, "signal %d", WTERMSIG(status));
	else
		snprintf(text, TREE_HOW_BYTES, "status %d", WEXITSTATUS(status));
	return text;
}

/* The parent of a process, or -1. The command in /proc/PID/stat may hold anything: its last ')' ends it. */
static pid_t parent_of(pid_t pid)
{
	char path[32], line[512], *end = NULL;
	int parent = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fgets(line, sizeof(line), f))
		for (char *c = line; *c; c++)
			if (*c == ')')
				end = c;
	if (!end || sscanf(end + 1, " %*c %d", &parent) != 1)
		parent = -1;
	fclose(f);
	return parent;
}

/* Direct children of `pid`; returns how many were written to `out` (at most `max`). */
static size_t children(pid_t pid, pid_t *out, size_t max)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	size_t n = 0;

	while (d && (e = readdir(d)) && n < max) {
		pid_t p = (pid_t)strtol(e->d_name, NULL, 10);

		if (p > 0 && parent_of(p) == pid)
			out[n++] = p;
	}
	if (d)
		closedir(d);
	return n;
}

bool tree_in_namespace(pid_t pid, const char *kind, ino_t wanted)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
	if (!wanted && stat(path, &st) == 0)
		wanted = st.st_ino;
	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	return wanted && stat(path, &st) == 0 && st.st_ino == wanted;
}

static pid_t spared[SPARED_MAX], also;

void tree_also(pid_t pid)
{
	also = pid;
}

void tree_spare(pid_t pid)
{
	for (int i = 0; i < SPARED_MAX; i++) {
		if (spared[i] != (pid < 0 ? -pid : 0))
			continue;
		spared[i] = pid < 0 ? 0 : pid;
		return;
	}
}

static bool is_spared(pid_t pid)
{
	for (int i = 0; i < SPARED_MAX; i++)
		if (spared[i] == pid)
			return true;
	return false;
}

size_t tree_signal(int sig, pid_t except)
{
	static pid_t list[CHILDREN_MAX];
	size_t n = children(getpid(), list, CHILDREN_MAX), sent = 0;

	if (also)
		n += children(also, list + n, CHILDREN_MAX - n);

	for (size_t i = 0; i < n; i++) {
		if (list[i] == except || (except && is_spared(list[i])))
			continue;
		sent++;
		if (sig)
			kill(list[i], sig);
	}
	return sent;
}

void tree_kill(pid_t except, int limit_ms)
{
	struct timespec step = { .tv_nsec = STEP_MS * 1000000 };

	for (int64_t until = clock_ms() + limit_ms; clock_ms() < until && tree_signal(SIGKILL, except);) {
		nanosleep(&step, NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
