// SPDX-License-Identifier: GPL-2.0
/*
 * loop.c - the carrier for an INS in the same machine: /dev/mwcomms-ins. For tests; there with the module's parameter loop=1 alone.
 * Trust: who opens it is root, and still an INS like any other: it sees the pages that it was given refs of and nothing else.
 *
 * Open: an INS comes. mmap at a ref's page: that page. The first write: all is mapped; each further one: there is news. read and
 * poll: news of ours; a read of 0 bytes and POLLHUP: given up. Close: it is gone. A page that it still maps is freed when it
 * lets go of it.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/xarray.h>

#include "kmod/carrier.h"
#include "kmod/compat.h"
#include "kmod/loop.h"
#include "kmod/main.h"

struct loop {
	struct mwk_ins *ins;
	struct xarray pages;  /* by ref */
	wait_queue_head_t wait;
	atomic_t news;
	atomic_t up;
	bool gone;            /* we have given it up */
};

static atomic_t number = ATOMIC_INIT(-1);

static int share(struct mwk_ins *i, struct page *page, u32 *ref)
{
	struct loop *l = mwk_ins_private(i);

	return xa_alloc(&l->pages, ref, page, xa_limit_31b, GFP_KERNEL);
}

static void unshare(struct mwk_ins *i, struct page *page, u32 ref)
{
	struct loop *l = mwk_ins_private(i);

	xa_erase(&l->pages, ref);
	put_page(page);
}

static void notify(struct mwk_ins *i)
{
	struct loop *l = mwk_ins_private(i);

	atomic_inc(&l->news);
	wake_up_interruptible_poll(&l->wait, EPOLLIN | EPOLLRDNORM);
}

static void detach(struct mwk_ins *i)
{
	struct loop *l = mwk_ins_private(i);

	WRITE_ONCE(l->gone, true);
	wake_up_interruptible_poll(&l->wait, EPOLLHUP | EPOLLIN | EPOLLRDNORM);
}

static void last(struct mwk_ins *i)
{
	struct loop *l = mwk_ins_private(i);

	xa_destroy(&l->pages);
	kfree(l);
}

static const struct mwk_carrier carrier = {
	.name = "loop",
	.share = share,
	.unshare = unshare,
	.notify = notify,
	.detach = detach,
	.release = last,
};

/* --- the device --- */

static int loop_open(struct inode *inode, struct file *file)
{
	struct loop *l = kzalloc(sizeof(*l), GFP_KERNEL);
	u32 directory;

	if (!l)
		return -ENOMEM;
	xa_init_flags(&l->pages, XA_FLAGS_ALLOC);
	init_waitqueue_head(&l->wait);
	l->ins = mwk_ins_add(&carrier, l, (u32)atomic_inc_return(&number), mwk_slots, &directory);
	if (!l->ins) {
		xa_destroy(&l->pages);
		kfree(l);
		return -ENOMEM;
	}
	file->private_data = l;
	return nonseekable_open(inode, file);
}

static int loop_close(struct inode *inode, struct file *file)
{
	struct loop *l = file->private_data;

	mwk_ins_gone(l->ins, "its device was closed");
	return 0;
}

static vm_fault_t fault(struct vm_fault *vmf)
{
	struct loop *l = vmf->vma->vm_file->private_data;
	struct page *page;

	xa_lock(&l->pages);
	page = xa_load(&l->pages, vmf->pgoff);
	if (page)
		get_page(page);
	xa_unlock(&l->pages);
	vmf->page = page;
	return page ? 0 : VM_FAULT_SIGBUS;
}

static const struct vm_operations_struct vm_ops = { .fault = fault };

static int loop_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_ops = &vm_ops;
	return 0;
}

static ssize_t loop_read(struct file *file, char __user *to, size_t n, loff_t *pos)
{
	struct loop *l = file->private_data;
	u64 news;

	if (n < sizeof(news))
		return -EINVAL;
	while (!(news = (u64)(u32)atomic_xchg(&l->news, 0))) {
		if (READ_ONCE(l->gone))
			return 0;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(l->wait, atomic_read(&l->news) || READ_ONCE(l->gone)))
			return -ERESTARTSYS;
	}
	return copy_to_user(to, &news, sizeof(news)) ? -EFAULT : (ssize_t)sizeof(news);
}

static ssize_t loop_write(struct file *file, const char __user *from, size_t n, loff_t *pos)
{
	struct loop *l = file->private_data;

	if (READ_ONCE(l->gone))
		return -EPIPE;
	if (!atomic_xchg(&l->up, 1))
		mwk_ins_up(l->ins);
	else
		mwk_ins_news(l->ins);
	return (ssize_t)n;
}

static __poll_t loop_poll(struct file *file, poll_table *wait)
{
	struct loop *l = file->private_data;
	__poll_t mask = EPOLLOUT | EPOLLWRNORM;

	poll_wait(file, &l->wait, wait);
	if (atomic_read(&l->news))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(l->gone))
		mask |= EPOLLHUP | EPOLLIN | EPOLLRDNORM;
	return mask;
}

static const struct file_operations file_ops = {
	.owner = THIS_MODULE,
	.open = loop_open,
	.release = loop_close,
	.mmap = loop_mmap,
	.read = loop_read,
	.write = loop_write,
	.poll = loop_poll,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mwcomms-ins",
	.fops = &file_ops,
	.mode = 0600,
};

int mwk_loop_init(void)
{
	return misc_register(&device);
}

void mwk_loop_fini(void)
{
	misc_deregister(&device);
}
