/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What was called, in which order, for user space to read in debugfs. A write
 * to the file empties it. Lines that no longer fit are counted, not stored.
 */
#ifndef RECORDER_H
#define RECORDER_H

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#define RECORDER_SIZE (512 * 1024)

/*
 * Part of the module's own memory: a device may be released, and that recorded,
 * after the module's exit function.
 */
struct recorder {
	spinlock_t lock;	/* taken in any context: operations may be atomic */
	size_t used;
	size_t lost;
	bool console;
	char text[RECORDER_SIZE];
};

static __printf(2, 0) void recorder_vadd(struct recorder *r, const char *fmt, va_list args)
{
	char line[200];
	unsigned long flags;
	int n = vscnprintf(line, sizeof(line) - 1, fmt, args);

	line[n] = '\n';
	line[n + 1] = '\0';
	spin_lock_irqsave(&r->lock, flags);
	if (r->used + n + 1 < RECORDER_SIZE) {
		memcpy(r->text + r->used, line, n + 1);
		r->used += n + 1;
	} else {
		r->lost++;
	}
	spin_unlock_irqrestore(&r->lock, flags);
	if (r->console)
		pr_info("recorder: %s", line);
}

static __printf(2, 3) void recorder_add(struct recorder *r, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	recorder_vadd(r, fmt, args);
	va_end(args);
}

static int recorder_show(struct seq_file *s, void *unused)
{
	struct recorder *r = s->private;
	unsigned long flags;
	char *copy;
	size_t used, lost;

	copy = kvmalloc(RECORDER_SIZE, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	spin_lock_irqsave(&r->lock, flags);
	used = r->used;
	lost = r->lost;
	memcpy(copy, r->text, used);
	spin_unlock_irqrestore(&r->lock, flags);
	seq_write(s, copy, used);
	if (lost)
		seq_printf(s, "lost %zu\n", lost);
	kvfree(copy);
	return 0;
}

static int recorder_open(struct inode *inode, struct file *file)
{
	return single_open(file, recorder_show, inode->i_private);
}

static ssize_t recorder_clear(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct recorder *r = ((struct seq_file *)file->private_data)->private;
	unsigned long flags;

	spin_lock_irqsave(&r->lock, flags);
	r->used = 0;
	r->lost = 0;
	spin_unlock_irqrestore(&r->lock, flags);
	return len;
}

static const struct file_operations recorder_fops = {
	.owner = THIS_MODULE,
	.open = recorder_open,
	.read = seq_read,
	.write = recorder_clear,
	.llseek = seq_lseek,
	.release = single_release,
};

#endif
