// SPDX-License-Identifier: Apache-2.0
/*
 * process_leave.c - processes that give up files, rights, tables or their network namespace, with sockets in hand.
 * Trust: a test's own processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"

#define NOBODY 65534

static void both(int fd)
{
	int one = 1;

	talk(fd, "the old one");
	say("an option of it: %s", word(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))));
	close(fd);
	talk(dial(), "a new one");
}

static void in_chroot(int fd)
{
	char name[] = "/tmp/process-XXXXXX";

	say("chroot: %s", word(mkdtemp(name) ? chroot(name) : -1));
	say("chdir: %s", word(chdir("/")));
	both(fd);
}

static void chroots(void)
{
	say("child: %s", end_of(child(in_chroot, dial())));
	in_chroot(-1);
	talk(dial(), "its first");
}

static void as_nobody(int fd)
{
	say("setgroups: %s", word(setgroups(0, NULL)));
	say("setgid: %s", word(setgid(NOBODY)));
	say("setuid: %s", word(setuid(NOBODY)));
	if (fd >= 0)
		both(fd);
	say("dumpable: %d", prctl(PR_GET_DUMPABLE));
	talk(dial(), "one more");
}

static void setuids(void)
{
	say("child: %s", end_of(child(as_nobody, dial())));
	as_nobody(-1);
}

static void undumpable(void)
{
	int fd = dial();

	say("prctl: %s", word(prctl(PR_SET_DUMPABLE, 0)));
	both(fd);
	as_nobody(dial());
}

static void no_new_privileges(void)
{
	int fd = dial();

	say("prctl: %s", word(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)));
	both(fd);
}

static void own_table(void)
{
	int fd = dial();

	say("unshare: %s", word(unshare(CLONE_FILES)));
	both(fd);
}

/* In a namespace of its own: what it has stays, what it makes is of that namespace. */
static void use_outside(int fd)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0x0a000001) };
	int made = socket(AF_INET, SOCK_STREAM, 0);

	talk(fd, "the old one");
	say("shutdown of it: %s", word(shutdown(fd, SHUT_WR)));
	say("peer reads: %d", peer_do(PEER, PEER_READ, 1));
	say("socket: %s", word(made));
	say("connect: %s", word(connect(made, (struct sockaddr *)&a, sizeof(a))));
	a.sin_addr.s_addr = htonl(INADDR_ANY);
	say("bind: %s", word(bind(made, (struct sockaddr *)&a, sizeof(a))));
	say("listen: %s", word(listen(made, 5)));
	close(made);
}

static void other_network(void)
{
	int fd = dial(), one = 1;

	say("unshare: %s", word(unshare(CLONE_NEWNET)));
	say("an option: %s", word(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))));
	use_outside(fd);
}

static void other_network_raw(void)
{
	int fd = dial();

	say("unshare: %s", word(syscall(SYS_unshare, CLONE_NEWNET)));
	use_outside(fd);
}

static void other_network_child(void)
{
	int fd = dial();

	say("unshare: %s", word(unshare(CLONE_NEWNET)));
	say("child: %s", end_of(child(use_outside, fd)));
}

/* As vsftpd makes its sessions. */
static void other_network_clone(void)
{
	int fd = dial(), one = 1;
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0) {
		say("an option: %s", word(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one))));
		use_outside(fd);
		_exit(0);
	}
	say("child: %s", end_of(pid));
	close(fd);
	talk(dial(), "parent");
}

static void back_again(void)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	close(dial());
	say("unshare: %s", word(unshare(CLONE_NEWNET)));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	say("socket there: %s", word(fd));
	close(fd);
	say("setns: %s", word(setns(home, CLONE_NEWNET)));
	talk(dial(), "back");
}

const struct script leave_scripts[] = {
	{ "chroot", chroots }, { "setuid", setuids }, { "undumpable", undumpable },
	{ "no-new-privileges", no_new_privileges }, { "own-table", own_table }, { "other-network", other_network },
	{ "other-network-raw", other_network_raw }, { "other-network-child", other_network_child },
	{ "other-network-clone", other_network_clone }, { "back-again", back_again }, { NULL, NULL },
};
