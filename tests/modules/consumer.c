// SPDX-License-Identifier: GPL-2.0
/*
 * vdpa_test_consumer: takes interrupts that are offered for an eventfd, as KVM
 * does for a virtual machine.
 *
 * Each open /sys/kernel/debug/vdpa_test_consumer is a consumer. Written to it is
 * the number of an eventfd of the writing process, and it is one for that until
 * it is closed; with a '!' before the number, one that refuses what is offered.
 * Read from it is `IRQ TAKEN LOST`: the interrupt that it has or -1, and how
 * often it was given one and lost one.
 */

#define pr_fmt(fmt) "vdpa_test_consumer: " fmt

#include <linux/debugfs.h>
#include <linux/eventfd.h>
#include <linux/irqbypass.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

struct consumer {
	struct irq_bypass_consumer bypass;
	struct eventfd_ctx *eventfd;
	struct mutex lock;	/* of `eventfd` */
	bool refuses;
	int irq;
	unsigned int taken;
	unsigned int lost;
};

static struct dentry *file;

static struct consumer *to_consumer(struct irq_bypass_consumer *bypass)
{
	return container_of(bypass, struct consumer, bypass);
}

static int add_producer(struct irq_bypass_consumer *bypass, struct irq_bypass_producer *producer)
{
	struct consumer *c = to_consumer(bypass);

	if (c->refuses)
		return -EOPNOTSUPP;
	WRITE_ONCE(c->irq, producer->irq);
	WRITE_ONCE(c->taken, c->taken + 1);
	return 0;
}

static void del_producer(struct irq_bypass_consumer *bypass, struct irq_bypass_producer *producer)
{
	struct consumer *c = to_consumer(bypass);

	WRITE_ONCE(c->irq, -1);
	WRITE_ONCE(c->lost, c->lost + 1);
}

static int consumer_open(struct inode *inode, struct file *f)
{
	struct consumer *c = kzalloc(sizeof(*c), GFP_KERNEL);

	if (!c)
		return -ENOMEM;
	c->bypass.add_producer = add_producer;
	c->bypass.del_producer = del_producer;
	c->irq = -1;
	mutex_init(&c->lock);
	f->private_data = c;
	return 0;
}

static int begin(struct consumer *c, int fd)
{
	struct eventfd_ctx *eventfd;
	int ret;

	if (c->eventfd)
		return -EBUSY;
	eventfd = eventfd_ctx_fdget(fd);
	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	ret = irq_bypass_register_consumer(&c->bypass, eventfd);
	if (ret) {
		eventfd_ctx_put(eventfd);
		return ret;
	}
	c->eventfd = eventfd;
	return 0;
}

static ssize_t consumer_write(struct file *f, const char __user *buf, size_t len, loff_t *pos)
{
	struct consumer *c = f->private_data;
	char text[16] = "";
	int fd, ret;

	if (len >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, len))
		return -EFAULT;
	ret = kstrtoint(text + (text[0] == '!'), 10, &fd);
	if (ret)
		return ret;
	mutex_lock(&c->lock);
	c->refuses = text[0] == '!';
	ret = begin(c, fd);
	mutex_unlock(&c->lock);
	return ret ?: len;
}

static ssize_t consumer_read(struct file *f, char __user *buf, size_t len, loff_t *pos)
{
	struct consumer *c = f->private_data;
	char text[40];
	int size;

	size = scnprintf(text, sizeof(text), "%d %u %u\n", READ_ONCE(c->irq), READ_ONCE(c->taken),
			 READ_ONCE(c->lost));
	return simple_read_from_buffer(buf, len, pos, text, size);
}

static int consumer_release(struct inode *inode, struct file *f)
{
	struct consumer *c = f->private_data;

	irq_bypass_unregister_consumer(&c->bypass);
	if (c->eventfd)
		eventfd_ctx_put(c->eventfd);
	kfree(c);
	return 0;
}

static const struct file_operations consumer_fops = {
	.owner = THIS_MODULE,
	.open = consumer_open,
	.read = consumer_read,
	.write = consumer_write,
	.release = consumer_release,
	.llseek = default_llseek,
};

static int __init consumer_init(void)
{
	file = debugfs_create_file("vdpa_test_consumer", 0600, NULL, NULL, &consumer_fops);
	return PTR_ERR_OR_ZERO(file);
}

static void __exit consumer_exit(void)
{
	debugfs_remove(file);
}

module_init(consumer_init);
module_exit(consumer_exit);
MODULE_DESCRIPTION("Consumer of bypassed interrupts for tests");
MODULE_LICENSE("GPL");
