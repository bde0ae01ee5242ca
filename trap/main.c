// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - mw-trap FILE ARGV0 [ARGUMENT...]: becomes FILE, with its socket calls answered by a supervisor.
 * Trust: the caller, who could have executed FILE itself.
 *
 * The supervisor is a grandchild, so that nobody waits for it but the broker, and it ends when the last process
 * under the filter has. It needs the number of the notification descriptor; from the moment when the filter is
 * loaded, this process sends nothing over a socket, so the number goes through a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/about.h"
#include "lib/elf.h"
#include "link/device.h"
#include "shim/attach.h"
#include "shim/fdtab.h"
#include "shim/space.h"
#include "shim/stream.h"
#include "trap/trap.h"

#define FAILED 125

static const char help[] =
	"Usage: mw-trap FILE ARGV0 [ARGUMENT...]\n\n"
	"Becomes FILE, with its socket calls trapped and answered by a supervisor. Is started by `mw run`, and by the library in\n"
	"the processes of an application.\n\n"
	"  FILE        the program's file, by its path\n"
	"  ARGV0       the name under which it is started\n"
	"  ARGUMENT    of it\n"
	"  -h, --help  this text\n"
	"  --version   its version\n";

/*
 * For copying descriptors of, and memory to, targets that have changed their user; and, permitted only, what a target may
 * have itself when it sets an option (target.c).
 */
static void keep_capabilities(void)
{
	static const cap_value_t wanted[] = { CAP_SYS_PTRACE, CAP_NET_ADMIN, CAP_NET_RAW };
	cap_t now = cap_get_proc(), kept = cap_init();

	for (int i = 0; now && kept && i < 3; i++) {
		cap_flag_value_t had = CAP_CLEAR;

		cap_get_flag(now, wanted[i], CAP_PERMITTED, &had);
		cap_set_flag(kept, CAP_PERMITTED, 1, &wanted[i], had);
		if (wanted[i] == CAP_SYS_PTRACE)
			cap_set_flag(kept, CAP_EFFECTIVE, 1, &wanted[i], had);
	}
	cap_set_proc(kept);
	cap_free(now);
	cap_free(kept);
}

/* Ring sockets that came by exec: what is behind the filter reads and writes descriptors themselves. */
static void convert_inherited(void)
{
	fdtab_scan();
	for (unsigned int fd = 0; fd < FDTAB_MAX; fd++)
		stream_convert((int)fd);
}

/* All but those below `first` and our own. */
static void close_from(unsigned int first)
{
	for (int ours = attach_next(first); ours >= 0; ours = attach_next(first)) {
		if ((unsigned int)ours > first)
			close_range(first, (unsigned int)ours - 1, 0);
		first = (unsigned int)ours + 1;
	}
	close_range(first, ~0u, 0);
}

static void supervise(int target, int from, int ready)
{
	sigset_t all;
	int number, listener, null = open("/dev/null", O_RDWR);

	keep_capabilities();
	setsid();
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL); /* it ends with its targets, or by SIGKILL */
	if (chdir("/") < 0 || null < 0 || read(from, &number, sizeof(number)) != sizeof(number))
		_exit(FAILED);
	listener = target_fd(target, number);
	if (listener < 0 || dup2(listener, 3) < 0)
		_exit(FAILED);
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	if (write(ready, "", 1) != 1)
		_exit(FAILED);
	close_from(4);
	prctl(PR_SET_NAME, "mw-trap");
	if (device_used())
		serve_device(3);
	else
		serve(3);
	_exit(0);
}

/* The pipe's write end, whose reader is the supervisor; a byte comes on *ready when it serves. -errno. */
static int start_supervisor(int *ready)
{
	int to[2], back[2], self = getpid();
	pid_t child;

	if (pipe2(to, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child == 0) {
		if (fork() == 0) {
			close(to[1]);
			supervise(self, to[0], back[1]);
		}
		_exit(0);
	}
	waitpid(child, NULL, 0);
	close(to[0]);
	close(back[1]);
	*ready = back[0];
	return to[1];
}

static int become(char **argv)
{
	space_restore();
	execv(argv[1], argv + 2);
	fprintf(stderr, "mw-trap: cannot run %s: %s\n", argv[1], strerror(errno));
	return errno == ENOENT ? 127 : 126;
}

int main(int argc, char **argv)
{
	int to, ready = -1, listener, r = about("mw-trap", help, argc, argv);
	char c;

	if (r >= 0)
		return r;
	if (argc < 3) {
		fprintf(stderr, "mw-trap: is started by `mw run`, not by hand\n");
		return 2;
	}
	if (!filter_allowed() && elf_secure(argv[1])) /* it keeps its privileges, and reaches nothing */
		return become(argv);
	if (!device_used())
		convert_inherited();
	to = start_supervisor(&ready);
	listener = to < 0 ? to : filter_install();
	if (listener < 0) {
		fprintf(stderr, "mw-trap: cannot filter the system calls of %s: %s\n", argv[1], strerror(-listener));
		return FAILED;
	}
	if (write(to, &listener, sizeof(listener)) != sizeof(listener) || read(ready, &c, 1) != 1) {
		fprintf(stderr, "mw-trap: the supervisor of %s did not start\n", argv[1]);
		return FAILED;
	}
	close(listener);
	close(to);
	close(ready);
	return become(argv);
}
