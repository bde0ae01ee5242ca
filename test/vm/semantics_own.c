// SPDX-License-Identifier: Apache-2.0
/* semantics_own.c - whose sockets are: of the machine's own stack, or of the device. */
#include "semantics.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Does the machine's own stack list that inode among its sockets? */
static int listed(const char *table, unsigned long inode)
{
	char line[512];
	unsigned long its;
	int found = 0;
	FILE *f = fopen(table, "re");

	while (f && fgets(line, sizeof(line), f))
		found |= sscanf(line, "%*d: %*s %*s %*x %*s %*s %*s %*d %*d %lu", &its) == 1 && its == inode;
	if (f)
		fclose(f);
	return found;
}

static void say_whose(const char *what)
{
	struct stat st;
	int port, fd = listener(0, &port);

	fstat(fd, &st);
	say("%s: %s", what, listed("/proc/net/tcp", st.st_ino) || listed("/proc/net/tcp6", st.st_ino) ? "the kernel's" : "the device's");
	close(fd);
}

void test_whose(void)
{
	char self[4096] = "";
	char *const nothing[] = { NULL };

	if (getenv("PATH") == NULL) {
		say_whose("after exec");
		return;
	}
	say_whose("a listener");
	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		return;
	if (fork() == 0) {
		execle(self, self, family == AF_INET6 ? "6" : "4", "whose", NULL, nothing);
		_exit(1);
	}
	wait(NULL);
}

void test_lowest(void)
{
	int first = socket(family, SOCK_STREAM, 0), second = socket(family, SOCK_DGRAM, 0);

	say("%d %d", first, second);
	close(first);
	close(second);
}
