// SPDX-License-Identifier: Apache-2.0
/*
 * limit.c - the limit of address space, set and told as the application's own: see lib/space.h.
 * Trust: arguments are the application's own, and may be wrong addresses: see user.h.
 */
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/space.h"
#include "link/device.h"
#include "shim/attach.h"
#include "shim/interpose.h"
#include "shim/libc.h"
#include "shim/user.h"

/*
 * Are this process's limits raised, or shall they be? Not where the hard limit is one that we could not raise; and of
 * another process we know only from its limit whether it has a reservation.
 */
static bool raises(pid_t pid, bool *self)
{
	struct rlimit now;

	if (device_used()) /* whose rings are in the kernel's memory */
		return false;
	*self = pid == 0 || pid == (pid_t)syscall(SYS_getpid);
	return syscall(SYS_prlimit64, pid, RLIMIT_AS, NULL, &now) == 0 && now.rlim_max >= SPACE_BYTES &&
	       (*self || space_limited(now.rlim_cur));
}

static int space(pid_t pid, const struct rlimit *theirs, struct rlimit *old)
{
	struct rlimit to, was;
	bool self;

	if (theirs) {
		if (user_get(&to, theirs, sizeof(to)) < 0)
			return -EFAULT;
		if (raises(pid, &self) && (!self || to.rlim_cur == RLIM_INFINITY || attach_reserve() == 0)) {
			to.rlim_cur = space_raise(to.rlim_cur);
			to.rlim_max = space_raise(to.rlim_max);
		}
	}
	if (syscall(SYS_prlimit64, pid, RLIMIT_AS, theirs ? &to : NULL, old ? &was : NULL) < 0)
		return -errno;
	if (!old)
		return 0;
	was.rlim_cur = space_lower(was.rlim_cur);
	was.rlim_max = space_lower(was.rlim_max);
	return user_put(old, &was, sizeof(was));
}

EXPORT BEFORE_SANITIZER int prlimit(pid_t pid, enum __rlimit_resource which, const struct rlimit *to, struct rlimit *old)
{
	if (which == RLIMIT_AS)
		return (int)ret(space(pid, to, old));
	return (int)syscall(SYS_prlimit64, pid, which, to, old);
}

EXPORT BEFORE_SANITIZER int setrlimit(__rlimit_resource_t which, const struct rlimit *to)
{
	return prlimit(0, which, to, NULL);
}

EXPORT BEFORE_SANITIZER int getrlimit(__rlimit_resource_t which, struct rlimit *old)
{
	return prlimit(0, which, NULL, old);
}

EXPORT int prlimit64(pid_t pid, enum __rlimit_resource which, const struct rlimit64 *to, struct rlimit64 *old)
	__attribute__((alias("prlimit")));
EXPORT int setrlimit64(__rlimit_resource_t which, const struct rlimit64 *to) __attribute__((alias("setrlimit")));
EXPORT int getrlimit64(__rlimit_resource_t which, struct rlimit64 *old) __attribute__((alias("getrlimit")));
