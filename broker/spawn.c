// SPDX-License-Identifier: Apache-2.0
/*
 * spawn.c - the two children: the application in a network namespace with nothing in it, and the INS.
 * Trust: nothing is read from either here but "ready" and an errno.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/inss.h"
#include "broker/rtnl.h"
#include "broker/tree.h"
#include "lib/beside.h"
#include "lib/elf.h"
#include "lib/fdpass.h"
#include "lib/space.h"
#include "link/device.h"
#include "link/memfd.h"
#include "link/names.h"
#include "link/telem.h"

#define ARG_COUNT_MAX 4096
#define INS_WAITING_BYTES (16 << 20) /* some 20,000 records, while there is no broker to take them */
#define INS_FDS  (INS_ROSTER_FD - INS_BROKER_FD + 1)
#define NEXT_FDS (INS_TELE_FD - INS_BROKER_FD + 1)

static char shim_path[PATH_MAX], ins_path[PATH_MAX], trap_path[PATH_MAX], names_path[PATH_MAX], telem_path[PATH_MAX];

const char *spawn_shim_path(void)
{
	return shim_path;
}

const char *spawn_ins_path(void)
{
	return ins_path;
}

const char *spawn_names_path(void)
{
	return names_path;
}

const char *spawn_telem_path(void)
{
	return telem_path;
}

int spawn_telem_find(char *why, size_t why_bytes)
{
	int r = beside_find(telem_path, "libexec", "mw-telem");

	if (r < 0)
		snprintf(why, why_bytes, "mw-telem is not beside mw nor installed: run make, or make install; is /proc mounted?");
	return r;
}

int spawn_paths(char *why, size_t why_bytes)
{
	if (beside_find(ins_path, "libexec", "mw-ins") < 0 || beside_find(trap_path, "libexec", "mw-trap") < 0 ||
	    beside_find(names_path, "libexec", "mw-names") < 0 || beside_find(telem_path, "libexec", "mw-telem") < 0 ||
	    beside_find(shim_path, "lib", "libmwshim.so") < 0) {
		snprintf(why, why_bytes, "mw-ins, mw-trap, mw-names, mw-telem and libmwshim.so are not beside mw nor installed: "
			 "run make, or make install; is /proc mounted?");
		return -ENOENT;
	}
	return 0;
}

bool spawn_is_closed(char at[PATH_MAX])
{
	snprintf(at, PATH_MAX, "%s", shim_path);
	return geteuid() == 0 && beside_closed(at);
}

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* Without root a network namespace needs a user namespace; we stay who we are in it. */
static int own_namespace(void)
{
	char map[64];
	unsigned int uid = geteuid(), gid = getegid();
	int r;

	if (unshare(CLONE_NEWNET) == 0)
		return 0;
	if (errno != EPERM || unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -errno;
	write_file("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1\n", uid, uid);
	r = write_file("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1\n", gid, gid);
	return r < 0 ? r : write_file("/proc/self/gid_map", map);
}

/*
 * Programs take a namespace without an IPv6 address for a machine without IPv6 (Java reads /proc/net/if_inet6), so
 * there is one, on an interface that stays down: nothing can be reached over it. A kernel without IPv6 refuses.
 */
static void show_ipv6(void)
{
	int fd = rtnl_open();

	if (fd < 0)
		return;
	rtnl_addr_add(fd, if_nametoindex("lo"), "::1", 128);
	close(fd);
}

/* The names under which the application's processes find the INS and the resolver exist in their namespace alone. */
static int listen_as(const char *name, size_t bytes, int type)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	memcpy(un.sun_path, name, bytes);
	if (bind(fd, (struct sockaddr *)&un, len) < 0 || listen(fd, 512) < 0)
		return -errno;
	return fd;
}

static int listen_for_shims(int control[2])
{
	control[0] = listen_as(MW_CONNECT_NAME, sizeof(MW_CONNECT_NAME) - 1, SOCK_SEQPACKET);
	control[1] = listen_as(NAMES_CONNECT_NAME, sizeof(NAMES_CONNECT_NAME) - 1, SOCK_STREAM);
	return control[0] < 0 ? control[0] : control[1] < 0 ? control[1] : 0;
}

static void default_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The rings shall not count: see lib/space.h. A hard limit only root may raise; others keep it as it is. */
static void raise_space(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_AS, &l) < 0)
		return;
	l.rlim_cur = space_raise(l.rlim_cur);
	l.rlim_max = space_raise(l.rlim_max);
	setrlimit(RLIMIT_AS, &l);
}

static void preload(void)
{
	char value[2 * PATH_MAX];
	const char *old = getenv("LD_PRELOAD");

	snprintf(value, sizeof(value), "%s%s%s", old ? old : "", old && *old ? ":" : "", shim_path);
	setenv("LD_PRELOAD", value, 1);
}

void spawn_choose_lane(struct run_options *o)
{
	char path[PATH_MAX];
	enum elf_kind kind;

	if (o->lane != LANE_AUTO)
		return;
	o->lane = LANE_RING;
	if (elf_search(o->command[0], path) < 0)
		return;
	kind = elf_kind(path);
	if (kind != ELF_DYNAMIC || elf_secure(path))
		o->lane = LANE_STREAM;
	if (elf_secure(path))
		fprintf(stderr, geteuid() == 0 ? "mw: %s has privileges of its own: its system calls are trapped (stream lane)\n"
			: "mw: %s has privileges of its own, which trapping would take from it: it reaches no network\n", o->command[0]);
	else if (kind != ELF_DYNAMIC)
		fprintf(stderr, "mw: %s is %s: its system calls are trapped (stream lane)\n", o->command[0],
			elf_kind_text(kind));
}

int spawn_become(const struct run_options *o)
{
	char path[PATH_MAX], *argv[ARG_COUNT_MAX];
	int n = 0, r;

	if (o->xen)
		setenv(DEVICE_ENV, "1", 1);
	else
		unsetenv(DEVICE_ENV);
	if (o->lane != LANE_STREAM) {
		preload();
		execvp(o->command[0], o->command);
		return -errno;
	}
	r = elf_search(o->command[0], path);
	if (r < 0 || access(path, X_OK) < 0)
		return r < 0 ? r : -errno;
	argv[n++] = trap_path;
	argv[n++] = path;
	for (char **a = o->command; *a; a++) {
		if (n == ARG_COUNT_MAX - 1)
			return -E2BIG;
		argv[n++] = *a;
	}
	argv[n] = NULL;
	execv(trap_path, argv);
	return -errno;
}

/* In the application's process. Reports the namespace, waits for the word, becomes the command. */
static void app_child(int up, const struct run_options *o)
{
	int control[2] = { -1, -1 }, r = own_namespace();
	char go;

	if (r == 0)
		show_ipv6();
	if (r == 0)
		r = listen_for_shims(control);
	if (fdpass_send(up, &r, sizeof(r), control, r == 0 ? 2 : 0, 0) < 0 || r < 0)
		_exit(125);
	close(control[0]);
	close(control[1]);
	if (recv(up, &go, 1, 0) != 1)
		_exit(125); /* the broker is gone or gave up */
	default_signals();
	raise_space();
	r = spawn_become(o);
	send(up, &r, sizeof(r), MSG_NOSIGNAL);
	_exit(r == -ENOENT ? 127 : 126);
}

static int fork_with_pair(struct child *c, int *theirs)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	c->pid = fork();
	if (c->pid < 0) {
		close(pair[0]);
		close(pair[1]);
		return -errno;
	}
	c->fd = pair[0];
	*theirs = pair[1];
	close(c->pid ? pair[1] : pair[0]);
	return 0;
}

int spawn_app(struct child *app, int control[2], const struct run_options *o, char *why, size_t why_bytes)
{
	int theirs, status = 0, count = 2, r = fork_with_pair(app, &theirs);

	if (r < 0) {
		snprintf(why, why_bytes, "cannot start a process: %s", strerror(-r));
		return r;
	}
	if (app->pid == 0)
		app_child(theirs, o);
	if (fdpass_recv(app->fd, &status, sizeof(status), control, &count, 0) != sizeof(status) || (!status && count != 2))
		status = -ECHILD;
	if (status < 0)
		snprintf(why, why_bytes, "cannot make a network namespace for the application: %s; %s", strerror(-status),
			 geteuid() ? "allow user namespaces (sysctl user.max_user_namespaces), or run as root"
				   : "CAP_SYS_ADMIN and CONFIG_NET_NS are needed (in a container: --privileged)");
	return status;
}

int spawn_app_go(struct child *app, char *const argv[], char *why, size_t why_bytes)
{
	int r = 0;

	if (send(app->fd, "g", 1, MSG_NOSIGNAL) < 0) {
		r = -errno;
		snprintf(why, why_bytes, "cannot run %.100s: its process has ended: %s", argv[0], strerror(-r));
		return r;
	}
	if (recv(app->fd, &r, sizeof(r), 0) != sizeof(r))
		return 0; /* closed by exec: it runs */
	snprintf(why, why_bytes, "cannot run %.100s: %s%s", argv[0], strerror(-r),
		 r == -ENOENT ? "; is it installed, and in PATH?" : "");
	return r;
}

_Noreturn static void ins_become(const struct run_options *o, uint32_t number, bool next)
{
	char slots[16], ours[32];
	const char *argv[8 + GATES_MAX] = { "mw-ins", o->isolated ? "isolated" : "host", slots };
	int n = 3;

	snprintf(slots, sizeof(slots), "%u", o->max_sockets);
	snprintf(ours, sizeof(ours), "ins=%u", number);
	argv[n++] = ours;
	if (o->host_loopback)
		argv[n++] = "loopback";
	if (o->core)
		argv[n++] = "core";
	if (next)
		argv[n++] = "upgrade";
	for (size_t i = 0; i < o->gate_count; i++)
		argv[n++] = o->gates[i];
	argv[n] = NULL;
	execv(ins_path, (char *const *)(uintptr_t)argv);
	_exit(127);
}

/* As a program's descriptors from INS_BROKER_FD on, and no other beside 0 to 2. */
static void place(int *fds, int count)
{
	for (int i = 0; i < count; i++)
		fds[i] = fcntl(fds[i], F_DUPFD, INS_BROKER_FD + count);
	for (int i = 0; i < count; i++)
		if (fds[i] < 0 || dup2(fds[i], INS_BROKER_FD + i) < 0)
			_exit(1);
	close_range((unsigned int)(INS_BROKER_FD + count), ~0u, 0);
}

static void ins_child(int up, const struct one_ins *ins, const struct run_options *o, int control, int roster)
{
	char go;
	int fds[INS_FDS], r = o->isolated && unshare(CLONE_NEWNET) < 0 ? -errno : 0;

	setsid(); /* a terminal's signals are the application's */
	if (send(up, &r, sizeof(r), MSG_NOSIGNAL) < 0 || r < 0 || recv(up, &go, 1, 0) != 1)
		_exit(1);
	default_signals();
	fds[0] = up;
	fds[1] = control;
	telem_ins_fds(&ins->telem, fds + 2);
	fds[5] = roster;
	place(fds, INS_FDS);
	ins_become(o, ins->number, false);
}

static void next_child(int up, const struct one_ins *ins, const struct run_options *o, int heir)
{
	int fds[NEXT_FDS] = { up, heir };

	if (ins->netns >= 0 && setns(ins->netns, CLONE_NEWNET) < 0)
		_exit(1);
	setsid();
	default_signals();
	telem_ins_fds(&ins->telem, fds + 2);
	fds[INS_ROSTER_FD - INS_BROKER_FD] = ins->memory; /* it comes from the old one, as all else does */
	fds[INS_STATE_FD - INS_BROKER_FD] = ins->memory;
	fds[INS_ARENA_FD - INS_BROKER_FD] = ins->arena;
	fds[INS_TELE_FD - INS_BROKER_FD] = ins->tele;
	place(fds, NEXT_FDS);
	ins_become(o, ins->number, true);
}

int spawn_next(struct one_ins *ins, const struct run_options *o, int heir, char *why, size_t why_bytes)
{
	int theirs, r = fork_with_pair(&ins->next.child, &theirs);

	if (r < 0) {
		snprintf(why, why_bytes, "cannot start a process: %s", strerror(-r));
		return r;
	}
	if (ins->next.child.pid == 0)
		next_child(theirs, ins, o, heir);
	tree_spare(ins->next.child.pid);
	return 0;
}

int spawn_ins(struct one_ins *ins, const struct run_options *o, int control, int roster, char *why, size_t why_bytes)
{
	char path[64];
	int theirs, status = 0, r = fork_with_pair(&ins->child, &theirs);

	if (r < 0) {
		snprintf(why, why_bytes, "cannot start a process: %s", strerror(-r));
		return r;
	}
	if (ins->child.pid == 0 && setsockopt(theirs, SOL_SOCKET, SO_SNDBUFFORCE, &(int){ INS_WAITING_BYTES }, sizeof(int)) < 0 && o->isolated)
		fprintf(stderr, "mw: %s: few of what its INS asks for can wait while there is no broker: %s\n", o->name, strerror(errno));
	if (ins->child.pid == 0)
		ins_child(theirs, ins, o, control, roster);
	tree_spare(ins->child.pid);
	if (recv(ins->child.fd, &status, sizeof(status), 0) != sizeof(status))
		status = -ECHILD;
	if (status < 0) {
		snprintf(why, why_bytes, "cannot make a network namespace for the INS: %s; --net isolated needs root, "
			 "--net host does not", strerror(-status));
		return status;
	}
	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)ins->child.pid);
	ins->netns = open(path, O_RDONLY | O_CLOEXEC);
	if (ins->netns < 0) {
		snprintf(why, why_bytes, "cannot open %s: %s", path, strerror(errno));
		return -errno;
	}
	return 0;
}

int spawn_ins_go(struct child *ins)
{
	return send(ins->fd, "g", 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
