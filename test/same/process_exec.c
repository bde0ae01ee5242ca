// SPDX-License-Identifier: Apache-2.0
/*
 * process_exec.c - fork, vfork, spawn and exec, with sockets in hand.
 * Trust: a test's own processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/same/peer.h"
#include "test/same/process.h"

/* --- what an executed program does with what it was given --- */

static int child_listener(int fd)
{
	int c = accept(fd, NULL, NULL);

	say("accept: %s", word(c));
	talk(c, "accepted");
	return 0;
}

static int child_pending(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int error = -1;
	socklen_t n = sizeof(error);

	say("poll of one that connects: %d", poll(&p, 1, 100));
	say("unstuffed: %d", peer_do(PEER, PEER_UNSTUFF, 0));
	say("poll afterwards: %d", poll(&p, 1, 10000));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
	fcntl(fd, F_SETFL, 0);
	talk(fd, error ? "failed" : "connected");
	return 0;
}

int child_main(int argc, char **argv)
{
	int fd = argc > 3 ? atoi(argv[3]) : -1;

	if (!strcmp(argv[2], "connected"))
		talk(fd, "inherited");
	else if (!strcmp(argv[2], "listener"))
		return child_listener(fd);
	else if (!strcmp(argv[2], "pending"))
		return child_pending(fd);
	else if (!strcmp(argv[2], "closed"))
		say("close-on-exec: %s", word(send(fd, "x", 1, MSG_NOSIGNAL)));
	else if (!strcmp(argv[2], "fresh"))
		talk(dial(), "new one");
	else if (!strcmp(argv[2], "space"))
		return child_space();
	return 0;
}

static void exec_self(const char *what, int fd, char *const envp[])
{
	char number[16];
	char *argv[] = { (char *)(unsigned long)self(), (char *)(unsigned long)"--child", (char *)(unsigned long)what,
			 number, NULL };

	snprintf(number, sizeof(number), "%d", fd);
	execve(self(), argv, envp);
	_exit(126);
}

static void after_exec(const char *what, int fd, char *const envp[])
{
	pid_t pid = fork();

	if (pid == 0)
		exec_self(what, fd, envp);
	say("%s: %s", what, end_of(pid));
}

/* --- scripts --- */

static void use(int fd)
{
	talk(fd, "in the child");
}

static void close_it(int fd)
{
	close(fd);
}

static void forks(void)
{
	int fd = dial();

	say("child: %s", end_of(child(use, fd)));
	talk(fd, "parent afterwards");
	say("child closes: %s", end_of(child(close_it, fd)));
	talk(fd, "parent afterwards");
}

static void last_in_child(void)
{
	int fd = dial();
	pid_t pid = child(use, fd);

	close(fd);
	say("child: %s", end_of(pid));
	say("peer then reads: %d", peer_do(PEER, PEER_READ, 1));
}

static void vforks(void)
{
	int fd = dial();
	pid_t pid = vfork();

	if (pid == 0) {
		dup2(fd, 1);
		close(fd);
		execl("/bin/sh", "sh", "-c", "echo spoken", (char *)NULL);
		_exit(127);
	}
	say("child: %s", end_of(pid));
	say("peer reads: %d", peer_do(PEER, PEER_READ, 7));
	talk(fd, "parent afterwards");
	pid = vfork();
	if (pid == 0) {
		close(fd);
		execl("/nonexistent", "none", (char *)NULL);
		_exit(errno == ENOENT ? 3 : 4);
	}
	say("child: %s", end_of(pid));
	talk(fd, "parent afterwards");
}

static void spawns(void)
{
	int fd = dial(), r, other = dup(fd);
	char *argv[] = { (char *)(unsigned long)"sh", (char *)(unsigned long)"-c",
			 (char *)(unsigned long)"echo to the socket; cat; test -e /proc/self/fd/9 && echo open", NULL };
	posix_spawn_file_actions_t fa;
	pid_t pid;

	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, fd, 1);
	posix_spawn_file_actions_adddup2(&fa, other, 9);
	posix_spawn_file_actions_addclose(&fa, fd);
	posix_spawn_file_actions_addclose(&fa, other);
	r = posix_spawnp(&pid, "sh", &fa, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&fa);
	say("spawn: %d, %s", r, r ? "none" : end_of(pid));
	say("peer reads: %d", peer_do(PEER, PEER_READ, 19));
	talk(fd, "parent afterwards");
}

static void execs(void)
{
	int port, fd = dial(), l;

	after_exec("connected", fd, environ);
	talk(fd, "parent afterwards");
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	after_exec("closed", fd, environ);
	close(fd);
	l = listening(&port);
	peer_do(PEER, PEER_CONNECT, port);
	after_exec("listener", l, environ);
	close(l);
}

static void exec_pending(void)
{
	after_exec("pending", pending(), environ);
}

static void __attribute__((unused)) exec_bare(void)
{
	char *none[] = { NULL };
	int fd = dial();

	after_exec("connected", fd, none);
	after_exec("fresh", fd, none);
}

static void writes_only(void)
{
	int fd = dial();
	pid_t pid = fork();

	if (pid == 0) {
		dup2(fd, 1);
		dup2(fd, 2);
		execl("/bin/sh", "sh", "-c", "echo out; echo err >&2; printf 'more %d' 7; ls -d /", (char *)NULL);
		_exit(127);
	}
	say("child: %s", end_of(pid));
	say("peer reads: %d", peer_do(PEER, PEER_READ, 16));
	talk(fd, "parent afterwards");
}

static void as_daemon(int fd)
{
	if (daemon(1, 1) < 0)
		say("daemon: %s", word(-1));
	talk(fd, "old one in the daemon");
	close(fd);
	talk(dial(), "new one in the daemon");
}

/* The write end of a pipe tells when the last of them has ended. */
static void outlived(void (*run)(int))
{
	int fd = dial(), p[2];
	char c;

	if (pipe(p) < 0)
		abort();
	if (fork() == 0) {
		close(p[0]);
		run(fd);
		_exit(0);
	}
	close(p[1]);
	close(fd);
	say("the pipe ends: %zd", read(p[0], &c, 1));
	while (wait(NULL) > 0)
		;
}

static void daemons(void)
{
	outlived(as_daemon);
}

static void as_double(int fd)
{
	setsid();
	if (fork() != 0)
		_exit(0);
	talk(fd, "old one");
	close(fd);
	talk(dial(), "new one");
}

static void double_fork(void)
{
	outlived(as_double);
}

/* Forks that run no handler of pthread_atfork. */
static void bare_forks(void)
{
	int fd = dial();
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		talk(fd, "child of clone()");
		talk(dial(), "its own");
		_exit(0);
	}
	say("clone: %s", end_of(pid));
	fd = dial();
	pid = _Fork();
	if (pid == 0) {
		talk(fd, "child of _Fork()");
		talk(dial(), "its own");
		_exit(0);
	}
	say("_Fork: %s", end_of(pid));
	fd = dial();
	talk(fd, "parent afterwards");
}

/* One descriptor table, two memories. */
static void shared_table(void)
{
	int fd = dial(), made;
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		talk(fd, "shared");
		close(fd);
		made = dial();
		_exit(made == fd ? 0 : 1);
	}
	say("child: %s", end_of(pid));
	talk(fd, "what it made in the same place");
}

static bool stop;

static void *traffic(void *at)
{
	int ends[2], bad = 0;
	char b[100];

	pair_of(ends);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		bad += send(ends[0], b, sizeof(b), 0) != sizeof(b);
		bad += recv(ends[1], b, sizeof(b), MSG_WAITALL) != sizeof(b);
	}
	*(int *)at = bad;
	return NULL;
}

static void one_call(int port)
{
	int fd = dial_port(port, 0);

	_exit(fd < 0 || send(fd, "x", 1, 0) != 1);
}

static void fork_under_load(void)
{
	int bad[3], port, l = listening(&port), failed = 0, status, got = 0;
	pthread_t t[3];
	char c;

	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, traffic, &bad[i]);
	for (int i = 0; i < 60; i++) {
		pid_t pid = child(one_call, port);
		int fd = accept(l, NULL, NULL);

		got += recv(fd, &c, 1, 0) == 1;
		close(fd);
		failed += waitpid(pid, &status, 0) != pid || status;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	say("children that failed: %d, bytes %d, threads' errors %d", failed, got, bad[0] + bad[1] + bad[2]);
}

const struct script exec_scripts[] = {
	{ "fork", forks }, { "last-in-child", last_in_child }, { "vfork", vforks }, { "spawn", spawns }, { "execs", execs },
	{ "exec-pending", exec_pending }, { "writes-only", writes_only },
#ifndef __SANITIZE_ADDRESS__ /* whose runtime must be in the environment that this one empties */
	{ "exec-bare", exec_bare },
#endif
	{ "daemon", daemons }, { "double-fork", double_fork }, { "bare-forks", bare_forks },
	{ "shared-table", shared_table }, { "fork-under-load", fork_under_load }, { NULL, NULL },
};
