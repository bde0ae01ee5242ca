// SPDX-License-Identifier: GPL-2.0
/*
 * telem.c - /dev/mwcomms-telem: what INSs say of their sockets, for reading, and an operator's orders to them.
 * Trust: who may open it for reading sees every connection, and no byte that it carries: rings are not mapped. Orders need
 * CAP_NET_ADMIN, and are the INS's to check. What an INS writes into its memory is compared here, and nothing else.
 *
 * A descriptor knows its INS by serial, so that it holds nothing of one that is gone. A mapping has all its pages from the
 * start, each counted: they stay when the INS goes, with what it said last.
 *
 * Waiting. Who finds no news arms the INS's door with the position behind the last event, and looks again; the INS notifies
 * when an event is there. All readers of one INS arm the same position, since who is behind does not wait.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "chan/msg.h"
#include "chan/tele.h"
#include "kmod/compat.h"
#include "kmod/control.h"
#include "kmod/ins.h"
#include "kmod/telem.h"
#include "kmod/uapi.h"

struct view {
	u64 serial;         /* 0: not bound */
	u32 part;
	atomic64_t seen;    /* events; unbound: changes */
};

static DECLARE_WAIT_QUEUE_HEAD(wait);
static atomic64_t changes = ATOMIC64_INIT(1);

void mwk_telem_changed(void)
{
	atomic64_inc(&changes);
	wake_up_interruptible_all(&wait);
}

/* --- events --- */

static u64 event_next(const struct mwk_ins *i)
{
	struct mw_tele __peer *t = (struct mw_tele __peer *)MW_PEER(i->tele.at);

	return mw_load_acquire(MW_WORD(&t->event_next));
}

void mwk_telem_events(struct mwk_ins *i)
{
	u64 armed = (u64)atomic64_read(&i->event_armed);

	if (armed && event_next(i) >= armed && atomic64_cmpxchg(&i->event_armed, (s64)armed, 0) == (s64)armed)
		wake_up_interruptible_poll(&wait, EPOLLIN | EPOLLRDNORM);
}

/* True: there are more than `seen`. Else there will be a wake-up. */
static bool more_events(struct mwk_ins *i, u64 seen)
{
	struct mw_door __peer *d = door_header(&i->door);
	u64 next = event_next(i);

	if (next != seen)
		return true;
	atomic64_set(&i->event_armed, (s64)(next + 1));
	mw_store(MW_WORD(&d->event_armed), next + 1);
	mw_fence(); /* pairs with the INS's, between its events and its look at event_armed */
	return event_next(i) != seen;
}

/* --- the device --- */

static int telem_open(struct inode *inode, struct file *file)
{
	struct view *v;

	if (file->f_mode & FMODE_WRITE && !capable(CAP_NET_ADMIN))
		return -EPERM;
	v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);
	if (!v)
		return -ENOMEM;
	file->private_data = v;
	return 0;
}

static int telem_close(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

static struct mwk_ins *ins_of(struct file *file)
{
	const struct view *v = file->private_data;
	u64 serial = smp_load_acquire(&v->serial);

	return serial ? mwk_ins_find(serial) : NULL;
}

static u64 part_bytes(const struct mwk_ins *i, u32 part)
{
	return PAGE_ALIGN(part == MW_TELEM_TELE ? tele_bytes(i->view.slots) : i->view.bytes);
}

static loff_t telem_seek(struct file *file, loff_t at, int whence)
{
	const struct view *v = file->private_data;
	struct mwk_ins *i = ins_of(file);
	loff_t r;

	if (!i)
		return -ENODEV;
	r = fixed_size_llseek(file, at, whence, (loff_t)part_bytes(i, v->part));
	mwk_ins_put(i);
	return r;
}

static int insert(struct vm_area_struct *vma, const struct mwk_mem *m)
{
	unsigned long at = vma->vm_start;
	int e = 0;

	for (u32 n = 0; n < m->pages && at < vma->vm_end && !e; n++, at += PAGE_SIZE)
		e = vm_insert_page(vma, at, m->page[n]);
	return e;
}

static const struct vm_operations_struct vm_ops = { };

static int telem_mmap(struct file *file, struct vm_area_struct *vma)
{
	const struct view *v = file->private_data;
	struct mwk_ins *i = ins_of(file);
	int e = -EINVAL;

	if (!i)
		return -ENODEV;
	if (vma->vm_flags & (VM_WRITE | VM_EXEC)) {
		e = -EACCES;
	} else if (vma->vm_flags & VM_MAYSHARE && !vma->vm_pgoff && vma->vm_end - vma->vm_start <= part_bytes(i, v->part)) {
		vm_flags_clear(vma, VM_MAYWRITE | VM_MAYEXEC);
		vm_flags_set(vma, VM_DONTEXPAND | VM_DONTDUMP);
		vma->vm_ops = &vm_ops; /* none of its own: what is not there is SIGBUS */
		e = insert(vma, v->part == MW_TELEM_TELE ? &i->tele : &i->arena);
	}
	mwk_ins_put(i);
	return e;
}

#define NONE_YET ERR_PTR(-EAGAIN)

/* An INS that has more events than were read, counted; NONE_YET: there will be a wake-up; NULL: it is gone. */
static struct mwk_ins *with_news(struct file *file)
{
	const struct view *v = file->private_data;
	struct mwk_ins *i = ins_of(file);

	if (!i || more_events(i, (u64)atomic64_read(&v->seen)))
		return i;
	mwk_ins_put(i);
	return NONE_YET;
}

static struct mwk_ins *wait_for_news(struct file *file)
{
	DEFINE_WAIT_FUNC(entry, woken_wake_function);
	struct mwk_ins *i;

	add_wait_queue(&wait, &entry);
	while ((i = with_news(file)) == NONE_YET && !signal_pending(current))
		wait_woken(&entry, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);
	remove_wait_queue(&wait, &entry);
	return i == NONE_YET ? ERR_PTR(-ERESTARTSYS) : i;
}

static ssize_t telem_read(struct file *file, char __user *to, size_t n, loff_t *pos)
{
	struct view *v = file->private_data;
	struct mwk_ins *i;
	u64 next;

	if (n < sizeof(next) || !smp_load_acquire(&v->serial))
		return -EINVAL;
	i = file->f_flags & O_NONBLOCK ? with_news(file) : wait_for_news(file);
	if (IS_ERR_OR_NULL(i))
		return PTR_ERR_OR_ZERO(i);
	next = event_next(i);
	mwk_ins_put(i);
	if (copy_to_user(to, &next, sizeof(next)))
		return -EFAULT;
	atomic64_set(&v->seen, (s64)next);
	return sizeof(next);
}

static __poll_t telem_poll(struct file *file, poll_table *table)
{
	const struct view *v = file->private_data;
	u64 seen = (u64)atomic64_read(&v->seen);
	struct mwk_ins *i;
	__poll_t mask = 0;

	poll_wait(file, &wait, table);
	if (!smp_load_acquire(&v->serial))
		return (u64)atomic64_read(&changes) != seen ? EPOLLIN | EPOLLRDNORM : 0;
	i = ins_of(file);
	if (!i)
		return EPOLLHUP | EPOLLIN | EPOLLRDNORM;
	if (poll_requested_events(table) & (EPOLLIN | EPOLLRDNORM) && more_events(i, seen))
		mask = EPOLLIN | EPOLLRDNORM;
	mwk_ins_put(i);
	return mask;
}

/* --- requests --- */

static long next_ins(struct view *v, struct mw_telem_ins __user *at)
{
	s64 before = atomic64_read(&changes);
	struct mw_telem_ins t;
	struct mwk_ins *i;

	if (copy_from_user(&t, at, sizeof(t)))
		return -EFAULT;
	i = mwk_ins_after(t.serial);
	if (!i) {
		if (!v->serial)
			atomic64_set(&v->seen, before);
		return -ENOENT;
	}
	t = (struct mw_telem_ins){ i->serial, i->domain, READ_ONCE(i->state) == MWK_INS_DRAIN };
	mwk_ins_put(i);
	return copy_to_user(at, &t, sizeof(t)) ? -EFAULT : 0;
}

static long bind_to(struct view *v, const struct mw_telem_bind __user *from)
{
	static DEFINE_MUTEX(binding);
	struct mw_telem_bind b;
	struct mwk_ins *i;
	long e = 0;

	if (copy_from_user(&b, from, sizeof(b)))
		return -EFAULT;
	if (!b.serial || b.part > MW_TELEM_ARENA || b.pad)
		return -EINVAL;
	i = mwk_ins_find(b.serial);
	if (!i)
		return -ENODEV;
	mutex_lock(&binding);
	if (v->serial) {
		e = -EBUSY;
	} else {
		v->part = b.part;
		atomic64_set(&v->seen, 0);
		smp_store_release(&v->serial, b.serial);
	}
	mutex_unlock(&binding);
	mwk_ins_put(i);
	return e;
}

static long ask(struct file *file, struct mw_telem_verb __user *at)
{
	struct mw_telem_verb *t;
	struct mw_req q = { };
	struct mwk_ins *i;
	struct mw_reply r;
	long e;

	BUILD_BUG_ON(sizeof(*t) != MW_VERB_BYTES);
	if (!(file->f_mode & FMODE_WRITE))
		return -EBADF;
	i = ins_of(file);
	if (!i)
		return -ENODEV;
	t = memdup_user(at, sizeof(*t));
	if (IS_ERR(t)) {
		mwk_ins_put(i);
		return PTR_ERR(t);
	}
	e = mwk_control(i, &q, MW_OP_VERB, t->record, &r, t->record);
	mwk_ins_put(i);
	if (e == 0)
		e = r.value_bytes != sizeof(*t) ? -EIO : copy_to_user(at, t, sizeof(*t)) ? -EFAULT : 0;
	else if (e == -ENETDOWN)
		e = -ENODEV;
	else if (e != -EINTR && e != -ENOMEM)
		e = -EIO;
	kfree(t);
	return e;
}

static long telem_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct view *v = file->private_data;

	switch (cmd) {
	case MW_TELEM_NEXT:
		return next_ins(v, (struct mw_telem_ins __user *)arg);
	case MW_TELEM_BIND:
		return bind_to(v, (const struct mw_telem_bind __user *)arg);
	case MW_TELEM_VERB:
		return ask(file, (struct mw_telem_verb __user *)arg);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations file_ops = {
	.owner = THIS_MODULE,
	.open = telem_open,
	.release = telem_close,
	.llseek = telem_seek,
	.mmap = telem_mmap,
	.read = telem_read,
	.poll = telem_poll,
	.unlocked_ioctl = telem_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "mwcomms-telem",
	.fops = &file_ops,
	.mode = 0640,
};

int mwk_telem_init(void)
{
	return misc_register(&device);
}

void mwk_telem_fini(void)
{
	misc_deregister(&device);
}
