// SPDX-License-Identifier: GPL-2.0
//! Network cards of the VM's own, behind its IOMMU, in the hands of vp_vdpa and vhost_vdpa.
//!
//! tools/check gives a VM two of them, back to back: what one sends the other receives.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{ptr, thread};

use crate::errno::Errno;
use crate::kmsg::Kmsg;
use crate::vdpa::{Device, Vdpa};
use crate::vhost::net::{Net, Setup};
use crate::vhost::{backend, EventFd, Node, PAGE};
use crate::{sim, sys, user};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The card has a page for each doorbell, and packed rings.
    Paged,
    /// The card has its doorbells side by side.
    Plain,
}

impl Slot {
    /// The address on the PCI bus.
    pub fn pci(self) -> &'static str {
        match self {
            Slot::Paged => "0000:00:10.0",
            Slot::Plain => "0000:00:11.0",
        }
    }

    pub fn mac(self) -> [u8; 6] {
        match self {
            Slot::Paged => [2, 0, 0, 0, 0, 0x10],
            Slot::Plain => [2, 0, 0, 0, 0, 0x11],
        }
    }

    pub fn device(self) -> &'static str {
        match self {
            Slot::Paged => "vp0",
            Slot::Plain => "vp1",
        }
    }

    /// Has vp_vdpa take the card.
    #[track_caller]
    fn bind(self) {
        let card = format!("/sys/bus/pci/devices/{}", self.pci());
        assert!(Path::new(&card).exists(), "a card in the VM, {card}");
        let driver = fs::read_link(format!("{card}/driver")).ok();
        let name = driver.as_ref().and_then(|d| d.file_name()?.to_str());
        if name == Some("vp-vdpa") {
            return;
        }
        if name.is_some() {
            sys::write(format!("{card}/driver/unbind"), self.pci());
        }
        sys::write(format!("{card}/driver_override"), "vp-vdpa");
        sys::write("/sys/bus/pci/drivers_probe", self.pci());
    }
}

/// A vDPA device that is such a card. It goes with the guard.
pub struct Card {
    pub v: Vdpa,
    pub slot: Slot,
    _device: Device,
}

impl Card {
    #[track_caller]
    pub fn new(slot: Slot) -> Self {
        let iommu = Path::new("/sys/bus/pci/devices").join(slot.pci());
        // C limits how much root may lock, too.
        user::unlimit_locked_memory();
        sys::modprobe("vp_vdpa");
        sim::for_vhost();
        slot.bind();
        assert!(iommu.join("iommu_group").exists(), "the card has an IOMMU");
        let mut v = Vdpa::new();
        let device = v.add(&format!("pci/{}", slot.pci()), slot.device());
        assert_eq!(sys::driver_of(slot.device()).as_deref(), Some("vhost_vdpa"));
        Card {
            v,
            slot,
            _device: device,
        }
    }

    pub fn open(&self) -> Node {
        Node::open(self.slot.device())
    }

    /// How to use it: by default.
    pub fn setup(&self) -> Setup {
        Setup {
            backend: backend::IOTLB_MSG_V2 | backend::IOTLB_BATCH | backend::IOTLB_ASID,
            ..Setup::new(self.slot.device())
        }
    }

    /// Deletes the vDPA device.
    pub fn delete(&mut self) {
        self.v.del(self.slot.device());
    }
}

/// Both cards in use, as their setups say.
pub struct Link {
    pub a: Net,
    pub b: Net,
    pub card_a: Card,
    pub card_b: Card,
}

impl Link {
    #[track_caller]
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    /// The first card is used as the function changes its setup.
    #[track_caller]
    pub fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let (card_a, card_b) = (Card::new(Slot::Paged), Card::new(Slot::Plain));
        let mut setup = card_a.setup();
        change(&mut setup);
        Link {
            b: Net::start(&card_b.setup()),
            a: Net::start(&setup),
            card_a,
            card_b,
        }
    }

    /// A packet each way.
    #[track_caller]
    pub fn exchange(&mut self, n: usize) {
        self.a_to_b(n);
        self.b_to_a(n);
    }

    #[track_caller]
    pub fn a_to_b(&mut self, n: usize) {
        let sent = frame_to(Slot::Plain, n, 64 + n % 1400);
        self.a.send(&sent);
        assert!(self.b.receive() == sent, "packet {n} from the first card");
    }

    #[track_caller]
    pub fn b_to_a(&mut self, n: usize) {
        let sent = frame_to(Slot::Paged, n, 64 + n % 1400);
        self.b.send(&sent);
        assert!(self.a.receive() == sent, "packet {n} from the second card");
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

/// A frame to a card, with contents that depend on `n`.
pub fn frame_to(slot: Slot, n: usize, len: usize) -> Vec<u8> {
    crate::vhost::net::frame(slot.mac(), n, len)
}

/// The pages that the kernel has pinned for devices.
pub fn pinned_pages() -> i64 {
    // Each CPU counts on its own for a while.
    let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
    let stat = sys::read("/proc/vmstat");
    let number = |name: &str| -> i64 {
        let line = stat.lines().find_map(|l| l.strip_prefix(name));
        line.expect(name).trim().parse().expect("a number")
    };
    number("nr_foll_pin_acquired ") - number("nr_foll_pin_released ")
}

/// Faults that the IOMMU reports.
pub struct Faults(Kmsg);

impl Faults {
    /// The test is going to cause some.
    pub fn expect() -> Self {
        crate::kmsg::announce("[fault reason");
        Faults(Kmsg::from_now())
    }

    /// Repeats what should cause a fault until the kernel tells of it: it tells of ten in five
    /// seconds. `what` is "Read" or "Write".
    #[track_caller]
    pub fn provoke(&mut self, slot: Slot, what: &str, iova: u64, mut cause: impl FnMut()) {
        let page = iova & !(PAGE as u64 - 1);
        let address = format!("fault addr 0x{page:x} ");
        let start = Instant::now();
        loop {
            cause();
            for _ in 0..10 {
                let told = self.0.lines().into_iter().any(|l| {
                    l.contains(&format!("[DMA {what}"))
                        && l.contains(slot.pci())
                        && l.contains(&address)
                });
                if told {
                    return;
                }
                thread::sleep(Duration::from_millis(100));
            }
            assert!(
                start.elapsed() < sys::patience(),
                "no fault of a {what} at {iova:#x}"
            );
        }
    }
}

/// A page of a node, mapped to be written: the doorbell of a queue.
pub struct Doorbell {
    at: *mut libc::c_void,
    len: usize,
}

impl Doorbell {
    /// As the process should have it: shared, written only, one page.
    pub fn map(node: &Node, queue: usize) -> Result<Self, Errno> {
        Self::map_as(node, queue, PAGE, libc::PROT_WRITE, libc::MAP_SHARED)
    }

    pub fn map_as(
        node: &Node,
        queue: usize,
        len: usize,
        protection: i32,
        flags: i32,
    ) -> Result<Self, Errno> {
        let offset = (queue * PAGE) as i64;
        let fd = node.as_raw_fd();
        // SAFETY: A new mapping, wherever there is room.
        let at = unsafe { libc::mmap(ptr::null_mut(), len, protection, flags, fd, offset) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        Ok(Doorbell { at, len })
    }

    /// Kicks a queue.
    pub fn ring(&self, queue: u16) {
        // SAFETY: The mapping is there as long as this; it is registers, which nobody reads.
        unsafe { self.at.cast::<u16>().write_volatile(queue) };
    }

    /// Has the kernel write the number of a queue to the page: other than from
    /// [`ring`](Self::ring), one survives if the page is gone.
    pub fn ring_by_kernel(&self, queue: u16) -> Result<(), Errno> {
        let (from, mut to) = UnixStream::pair().expect("sockets");
        to.write_all(&queue.to_ne_bytes()).expect("sockets");
        // SAFETY: The kernel checks the address.
        let n = unsafe { libc::read(from.as_raw_fd(), self.at, 2) };
        if n < 0 {
            return Err(Errno::last());
        }
        assert_eq!(n, 2, "bytes written to a doorbell");
        Ok(())
    }

    pub fn protect(&self, protection: i32) -> Result<(), Errno> {
        // SAFETY: The mapping is this value's own.
        let ret = unsafe { libc::mprotect(self.at, self.len, protection) };
        if ret < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// Makes it longer in its place or elsewhere.
    pub fn grow(&mut self, len: usize) -> Result<(), Errno> {
        // SAFETY: The mapping is this value's own, and nobody refers to it.
        let at = unsafe { libc::mremap(self.at, self.len, len, libc::MREMAP_MAYMOVE) };
        if at == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        (self.at, self.len) = (at, len);
        Ok(())
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        // SAFETY: The mapping is this value's own.
        unsafe { libc::munmap(self.at, self.len) };
    }
}

/// Who waits for an eventfd and can take an interrupt without it: a stand-in for KVM.
pub struct Consumer(File);

/// What a [`Consumer`] was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The interrupt that it has.
    pub irq: Option<u32>,
    /// How often it was given one.
    pub taken: u32,
    /// How often it lost one.
    pub lost: u32,
}

impl Consumer {
    #[track_caller]
    pub fn of(eventfd: &EventFd) -> Self {
        Self::open(&eventfd.as_raw_fd().to_string())
    }

    /// One that refuses all interrupts.
    #[track_caller]
    pub fn refusing(eventfd: &EventFd) -> Self {
        Self::open(&format!("!{}", eventfd.as_raw_fd()))
    }

    #[track_caller]
    fn open(text: &str) -> Self {
        sys::modprobe("irqbypass");
        sys::insmod_test("vdpa_test_consumer", "");
        let path = "/sys/kernel/debug/vdpa_test_consumer";
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .expect(path);
        file.write_all(text.as_bytes()).expect(path);
        Consumer(file)
    }

    #[track_caller]
    pub fn state(&self) -> Taken {
        let mut text = String::new();
        let mut file = &self.0;
        file.seek(SeekFrom::Start(0)).expect("seek");
        file.read_to_string(&mut text).expect("read");
        let words: Vec<i64> = text
            .split_whitespace()
            .map(|w| w.parse().expect("a number"))
            .collect();
        assert_eq!(words.len(), 3, "{text}");
        Taken {
            irq: u32::try_from(words[0]).ok(),
            taken: words[1] as u32,
            lost: words[2] as u32,
        }
    }

    /// The interrupt that it has.
    #[track_caller]
    pub fn irq(&self) -> Option<u32> {
        self.state().irq
    }
}

/// The number of a queue's interrupt, as /proc/interrupts has it.
pub fn irq_of(slot: Slot, queue: u32) -> Option<u32> {
    let name = format!("vp-vdpa[{}]-{queue}", slot.pci());
    let interrupts = sys::read("/proc/interrupts");
    let line = interrupts.lines().find(|l| l.ends_with(&name))?;
    line.split(':').next()?.trim().parse().ok()
}
