// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - the module: its device, its parameters, its beginning and end.
 * Trust: who may open /dev/mwcomms may make sockets and read counts; sizes and pointers of its ioctls are checked.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chan/door.h"
#include "kmod/ins.h"
#include "kmod/loop.h"
#include "kmod/main.h"
#include "kmod/pool.h"
#include "kmod/sock.h"
#include "kmod/telem.h"
#include "kmod/uapi.h"
#include "kmod/xen.h"

struct mwk_counts mwk_count;
struct workqueue_struct *mwk_wq, *mwk_slow_wq;

unsigned int mwk_slots = 1024;
module_param_named(slots, mwk_slots, uint, 0444);
MODULE_PARM_DESC(slots, "sockets that each INS can have, a multiple of 64, at most 65536 (1024)");

unsigned int mwk_rx_kib = 64;
module_param_named(rx_kib, mwk_rx_kib, uint, 0644);
MODULE_PARM_DESC(rx_kib, "KiB of a connection's receive ring, a power of two, 4 to 128 (64)");

unsigned int mwk_tx_kib = 64;
module_param_named(tx_kib, mwk_tx_kib, uint, 0644);
MODULE_PARM_DESC(tx_kib, "KiB of a connection's send ring, a power of two, 4 to 128 (64)");

unsigned int mwk_spare = 16;
module_param_named(spare, mwk_spare, uint, 0644);
MODULE_PARM_DESC(spare, "slots with rings that each INS has ready for new connections (16)");

unsigned int mwk_idle_s = 60;
module_param_named(idle, mwk_idle_s, uint, 0644);
MODULE_PARM_DESC(idle, "seconds after which rings that nobody uses are taken back (60)");

unsigned int mwk_wait_s = 5;
module_param_named(wait, mwk_wait_s, uint, 0644);
MODULE_PARM_DESC(wait, "seconds that a new socket waits for the first INS before it fails with ENETDOWN (5)");

unsigned int mwk_limit_mib = 512;
module_param_named(limit, mwk_limit_mib, uint, 0644);
MODULE_PARM_DESC(limit, "MiB of all rings together (512)");

static bool loop;
module_param(loop, bool, 0444);
MODULE_PARM_DESC(loop, "make /dev/mwcomms-ins, for an INS in this machine: tests (no)");

static long tell_version(void __user *to)
{
	struct mw_dev_version v = { .abi = MW_DEV_ABI, .protocol = MW_DOOR_VERSION, .ins = mwk_ins_up_count() };

	return copy_to_user(to, &v, sizeof(v)) ? -EFAULT : 0;
}

static u64 count(const atomic64_t *c)
{
	return (u64)atomic64_read(c);
}

static long tell_stats(void __user *to)
{
	struct mw_dev_stats s = {
		.ins = mwk_ins_up_count(),
		.sockets = count(&mwk_count.sockets),
		.ring_pages = count(&mwk_count.ring_pages),
		.ring_slots = count(&mwk_count.ring_slots),
		.shared_pages = count(&mwk_count.shared_pages),
		.requests = count(&mwk_count.requests),
		.notified = count(&mwk_count.notified),
		.news = count(&mwk_count.news),
		.accepted = count(&mwk_count.accepted),
		.sent = count(&mwk_count.sent),
		.received = count(&mwk_count.received),
		.quarantined = count(&mwk_count.quarantined),
		.broken = count(&mwk_count.broken),
	};

	return copy_to_user(to, &s, sizeof(s)) ? -EFAULT : 0;
}

static long make_socket(const void __user *from)
{
	struct mw_dev_socket s;

	if (copy_from_user(&s, from, sizeof(s)))
		return -EFAULT;
	return mwk_sock_create(s.family, s.type, s.protocol, (int)s.flags);
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case MW_DEV_VERSION:
		return tell_version((void __user *)arg);
	case MW_DEV_SOCKET:
		return make_socket((const void __user *)arg);
	case MW_DEV_STATS:
		return tell_stats((void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations file_ops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mwcomms",
	.fops = &file_ops,
	.mode = 0660,
};

static int start_queues(void)
{
	mwk_wq = alloc_workqueue("mwcomms", WQ_UNBOUND | WQ_HIGHPRI | WQ_MEM_RECLAIM, 0);
	mwk_slow_wq = mwk_wq ? alloc_workqueue("mwcomms-slow", WQ_UNBOUND, 0) : NULL;
	if (mwk_slow_wq)
		return 0;
	if (mwk_wq)
		destroy_workqueue(mwk_wq);
	return -ENOMEM;
}

/* An INS's last work queues its disposal, which waits for the others of it. */
static void stop_queues(void)
{
	drain_workqueue(mwk_slow_wq);
	drain_workqueue(mwk_wq);
	destroy_workqueue(mwk_slow_wq);
	destroy_workqueue(mwk_wq);
}

static int __init start(void)
{
	int e = start_queues();

	if (e < 0)
		return e;
	e = mwk_pool_init();
	if (e < 0)
		goto no_pool;
	e = proto_register(&mwk_proto, 1);
	if (e < 0)
		goto no_proto;
	e = loop ? mwk_loop_init() : 0;
	if (e < 0)
		goto no_loop;
	e = mwk_xen_init();
	if (e < 0)
		goto no_xen;
	e = mwk_telem_init();
	if (e < 0)
		goto no_telem;
	e = misc_register(&device);
	if (e == 0)
		return 0;
	mwk_telem_fini();
no_telem:
	mwk_xen_fini();
no_xen:
	if (loop)
		mwk_loop_fini();
no_loop:
	proto_unregister(&mwk_proto);
no_proto:
	mwk_pool_fini();
no_pool:
	stop_queues();
	return e;
}

static void __exit stop(void)
{
	misc_deregister(&device);
	mwk_telem_fini();
	mwk_xen_fini();
	if (loop)
		mwk_loop_fini();
	stop_queues();
	proto_unregister(&mwk_proto);
	mwk_pool_fini();
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Sockets whose network stack is another machine's");
