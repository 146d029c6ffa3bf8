// SPDX-License-Identifier: GPL-2.0
/*
 * Inline functions and macros of C, as functions that Rust can call. They lose
 * the prefix in the bindings.
 */

#include <linux/bottom_half.h>
#include <linux/capability.h>
#include <linux/cpumask.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/semaphore.h>
#include <linux/uaccess.h>
#include <linux/vdpa.h>
#include <linux/virtio_ring.h>
#include <linux/workqueue.h>

int rvdpa_helper_device_match_driver_override(struct device *dev,
					      const struct device_driver *drv)
{
	return device_match_driver_override(dev, drv);
}

void rvdpa_helper_ida_init(struct ida *ida)
{
	ida_init(ida);
}

bool rvdpa_helper_within_module(unsigned long addr, const struct module *mod)
{
	return within_module(addr, mod);
}

void rvdpa_helper_wait_for_rcu_tasks(void)
{
	/* Where tasks can be preempted, plain RCU says nothing of their code. */
	static_assert(!IS_ENABLED(CONFIG_PREEMPTION) || IS_ENABLED(CONFIG_TASKS_RCU),
		      "CONFIG_TASKS_RCU is needed (CONFIG_FORCE_TASKS_RCU)");
	synchronize_rcu_tasks();
}

/* Disables bottom halves, if they can run here; says whether it did. */
bool rvdpa_helper_local_bh_try_disable(void)
{
	if (in_interrupt() || irqs_disabled())
		return false;
	local_bh_disable();
	return true;
}

void rvdpa_helper_local_bh_enable(void)
{
	local_bh_enable();
}

void rvdpa_helper_sema_init(struct semaphore *sem, int val)
{
	sema_init(sem, val);
}

/* In a kernel thread, not an interrupt of it, that uses the memory of no process. */
bool rvdpa_helper_is_idle_kthread(void)
{
	return in_task() && (current->flags & PF_KTHREAD) && !current->mm;
}

void rvdpa_helper_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

bool rvdpa_helper_queue_work(struct workqueue_struct *wq, struct work_struct *work)
{
	return queue_work(wq, work);
}

bool rvdpa_helper_queue_work_for(unsigned int cpu, struct workqueue_struct *wq,
				 struct work_struct *work)
{
	if (cpu >= nr_cpu_ids || !cpu_online(cpu))
		cpu = WORK_CPU_UNBOUND;
	return queue_work_on(cpu, wq, work);
}

unsigned int rvdpa_helper_cpumask_first(const struct cpumask *mask)
{
	return cpumask_first(mask);
}

struct workqueue_struct *rvdpa_helper_alloc_workqueue(const char *name, unsigned int flags)
{
	return alloc_workqueue("%s", flags, 0, name);
}

void *rvdpa_helper_phys_to_virt(phys_addr_t address)
{
	return phys_to_virt(address);
}

phys_addr_t rvdpa_helper_virt_to_phys(void *address)
{
	return virt_to_phys(address);
}

phys_addr_t rvdpa_helper_page_to_phys_offset(struct page *page, unsigned long offset)
{
	return page_to_phys(page) + offset;
}

/* The end of the memory that the kernel has mapped. */
phys_addr_t rvdpa_helper_end_of_memory(void)
{
	return __pa(high_memory - 1) + 1;
}

int rvdpa_helper_get_user_u16(u16 *to, const u16 __user *from)
{
	return get_user(*to, from);
}

int rvdpa_helper_get_user_u32(u32 *to, const u32 __user *from)
{
	return get_user(*to, from);
}

int rvdpa_helper_get_user_u64(u64 *to, const u64 __user *from)
{
	return get_user(*to, from);
}

int rvdpa_helper_put_user_u16(u16 value, u16 __user *to)
{
	return put_user(value, to);
}

int rvdpa_helper_put_user_u32(u32 value, u32 __user *to)
{
	return put_user(value, to);
}

int rvdpa_helper_put_user_u64(u64 value, u64 __user *to)
{
	return put_user(value, to);
}

/* Without the checks of the kernel's side, which is what a device was told. */
unsigned long rvdpa_helper_raw_copy_from_user(void *to, const void __user *from,
					      unsigned long n)
{
	return _copy_from_user(to, from, n);
}

unsigned long rvdpa_helper_raw_copy_to_user(void __user *to, const void *from,
					    unsigned long n)
{
	return _copy_to_user(to, from, n);
}

void rvdpa_helper_virtio_mb(void)
{
	virtio_mb(true);
}

bool rvdpa_helper_in_atomic_hardirq(void)
{
	return in_hardirq() || irqs_disabled();
}

bool rvdpa_helper_printk_ratelimit(void)
{
	return printk_ratelimit();
}

unsigned long rvdpa_helper_index_nospec(unsigned long index, unsigned long size)
{
	return array_index_nospec(index, size);
}

/* Counts pages as pinned by a process, unless that is more than its user may lock. */
bool rvdpa_helper_charge_pinned(struct mm_struct *mm, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;

	if (pages > LONG_MAX >> 1)
		return false;
	if (atomic64_add_return(pages, &mm->pinned_vm) > limit && !capable(CAP_IPC_LOCK)) {
		atomic64_sub(pages, &mm->pinned_vm);
		return false;
	}
	return true;
}

void rvdpa_helper_uncharge_pinned(struct mm_struct *mm, unsigned long pages)
{
	atomic64_sub(pages, &mm->pinned_vm);
}

/* To be called now and then by what takes long; says whether the process is to die. */
bool rvdpa_helper_rest_unless_killed(void)
{
	cond_resched();
	return fatal_signal_pending(current);
}

struct cdev *rvdpa_helper_inode_cdev(const struct inode *inode)
{
	return inode->i_cdev;
}

const struct path *rvdpa_helper_path_of_file(const struct file *file)
{
	return &file->f_path;
}

unsigned long rvdpa_helper_vma_size(const struct vm_area_struct *vma)
{
	return vma->vm_end - vma->vm_start;
}

unsigned long rvdpa_helper_vma_flags(const struct vm_area_struct *vma)
{
	return vma->vm_flags;
}

/* For registers of a device, which are neither cached nor read. */
void rvdpa_helper_vma_set_device(struct vm_area_struct *vma)
{
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vm_flags_mod(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP,
		     VM_MAYREAD | VM_MAYEXEC);
}

struct vm_area_struct *rvdpa_helper_vmf_vma(const struct vm_fault *vmf)
{
	return vmf->vma;
}

vm_fault_t rvdpa_helper_vmf_insert_address(struct vm_fault *vmf, phys_addr_t address)
{
	return vmf_insert_pfn(vmf->vma, vmf->address & PAGE_MASK, PHYS_PFN(address));
}

bool rvdpa_helper_kiocb_nonblocking(const struct kiocb *iocb)
{
	return (iocb->ki_flags & IOCB_NOWAIT) || (iocb->ki_filp->f_flags & O_NONBLOCK);
}
