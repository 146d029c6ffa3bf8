// SPDX-License-Identifier: GPL-2.0

//! Memory of a driver, for one thread: it knows who may do what where, and can tell what was done
//! in which order.

use super::driver::Bus;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use virtqueue::{Access, Area, Fault, GuestAddress, GuestMemory};

/// The first address that there is.
pub const BASE: u64 = 0x10_0000;

/// What was done to the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Load { at: u64, size: usize },
    Store { at: u64, size: usize, value: u64 },
    Read { at: u64, len: usize },
    Write { at: u64, len: usize },
    ReadBarrier,
    WriteBarrier,
    FullBarrier,
}

/// Does what it likes to the bytes before the device loads or reads any of them.
pub type Meddler = Box<dyn FnMut(&mut [u8])>;

struct Inner {
    bytes: Vec<u8>,
    /// Where not everything is allowed.
    limits: Vec<(std::ops::Range<u64>, Access)>,
    unmapped: bool,
    meddler: Option<Meddler>,
    log: Vec<Op>,
}

/// The memory.
#[derive(Clone)]
pub struct Ram(Rc<RefCell<Inner>>);

impl Ram {
    /// `size` bytes from [`BASE`] on, all 0.
    pub fn new(size: usize) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            bytes: vec![0; size],
            limits: vec![],
            unmapped: false,
            meddler: None,
            log: vec![],
        })))
    }

    fn inner(&self) -> RefMut<'_, Inner> {
        self.0.borrow_mut()
    }

    /// Lets the device do no more than `access` with some bytes.
    pub fn limit(&self, at: u64, len: usize, access: Access) {
        self.inner().limits.push((at..at + len as u64, access));
    }

    /// Takes all of the mapping away, or gives it back.
    pub fn unmap(&self, unmapped: bool) {
        self.inner().unmapped = unmapped;
    }

    /// Lets somebody change the memory all the time.
    pub fn meddle(&self, meddler: impl FnMut(&mut [u8]) + 'static) {
        self.inner().meddler = Some(Box::new(meddler));
    }

    /// What the device did since the last time.
    pub fn take_log(&self) -> Vec<Op> {
        std::mem::take(&mut self.inner().log)
    }

    /// The same, one by one.
    pub fn each_op(&self, look: impl FnMut(Op)) {
        self.inner().log.drain(..).for_each(look);
    }

    /// Bytes, for the driver.
    pub fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let start = (at - BASE) as usize;
        self.inner().bytes[start..start + len].to_vec()
    }

    /// Sets bytes, for the driver.
    pub fn set(&self, at: u64, bytes: &[u8]) {
        let start = (at - BASE) as usize;
        self.inner().bytes[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn array<const N: usize>(&self, at: u64) -> [u8; N] {
        let start = (at - BASE) as usize;
        self.inner().bytes[start..start + N].try_into().unwrap()
    }

    pub fn get16(&self, at: u64) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub fn get32(&self, at: u64) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub fn set16(&self, at: u64, value: u16) {
        self.set(at, &value.to_le_bytes());
    }

    pub fn set32(&self, at: u64, value: u32) {
        self.set(at, &value.to_le_bytes());
    }

    pub fn set64(&self, at: u64, value: u64) {
        self.set(at, &value.to_le_bytes());
    }
}

impl Inner {
    /// Where the bytes are, if the device may do that with all of them.
    fn find(&self, at: u64, len: usize, access: Access) -> Result<std::ops::Range<usize>, Fault> {
        let end = at.checked_add(len as u64).ok_or(Fault)?;
        let limited = |(range, limit): &(std::ops::Range<u64>, Access)| {
            range.start < end && at < range.end && *limit != Access::ReadWrite && *limit != access
        };
        if self.unmapped || self.limits.iter().any(limited) {
            return Err(Fault);
        }
        let start = usize::try_from(at.checked_sub(BASE).ok_or(Fault)?).map_err(|_| Fault)?;
        let end = start.checked_add(len).ok_or(Fault)?;
        (end <= self.bytes.len()).then_some(start..end).ok_or(Fault)
    }

    fn meddle(&mut self) {
        if let Some(meddler) = &mut self.meddler {
            meddler(&mut self.bytes);
        }
    }
}

/// A part of the memory.
pub struct RamArea {
    ram: Ram,
    at: u64,
    len: usize,
    access: Access,
}

impl RamArea {
    /// Where the bytes are. What is not aligned, or not for this area to do, is the device's mistake.
    fn find(&self, offset: usize, size: usize, access: Access) -> Result<u64, Fault> {
        let at = self.at + offset as u64;
        assert_eq!(at % size as u64, 0, "a load or store that may tear");
        assert!(self.access == access || self.access == Access::ReadWrite);
        assert!(offset + size <= self.len, "outside of the ring");
        Ok(at)
    }

    fn load<const N: usize>(&self, offset: usize) -> Result<[u8; N], Fault> {
        let at = self.find(offset, N, Access::Read)?;
        let mut inner = self.ram.inner();
        inner.meddle();
        inner.log.push(Op::Load { at, size: N });
        let range = inner.find(at, N, Access::Read)?;
        Ok(inner.bytes[range].try_into().unwrap())
    }

    fn store<const N: usize>(&self, offset: usize, bytes: [u8; N]) -> Result<(), Fault> {
        let at = self.find(offset, N, Access::Write)?;
        let mut inner = self.ram.inner();
        let mut value = [0; 8];
        value[..N].copy_from_slice(&bytes);
        let value = u64::from_le_bytes(value);
        inner.log.push(Op::Store { at, size: N, value });
        let range = inner.find(at, N, Access::Write)?;
        inner.bytes[range].copy_from_slice(&bytes);
        Ok(())
    }
}

impl Area for RamArea {
    fn load_u16(&self, offset: usize) -> Result<u16, Fault> {
        self.load(offset).map(u16::from_ne_bytes)
    }
    fn load_u32(&self, offset: usize) -> Result<u32, Fault> {
        self.load(offset).map(u32::from_ne_bytes)
    }
    fn load_u64(&self, offset: usize) -> Result<u64, Fault> {
        self.load(offset).map(u64::from_ne_bytes)
    }
    fn store_u16(&self, offset: usize, value: u16) -> Result<(), Fault> {
        self.store(offset, value.to_ne_bytes())
    }
    fn store_u32(&self, offset: usize, value: u32) -> Result<(), Fault> {
        self.store(offset, value.to_ne_bytes())
    }
    fn store_u64(&self, offset: usize, value: u64) -> Result<(), Fault> {
        self.store(offset, value.to_ne_bytes())
    }
    fn read_barrier(&self) {
        self.ram.inner().log.push(Op::ReadBarrier);
    }
    fn write_barrier(&self) {
        self.ram.inner().log.push(Op::WriteBarrier);
    }
    fn full_barrier(&self) {
        self.ram.inner().log.push(Op::FullBarrier);
    }
}

impl GuestMemory for Ram {
    type Area = RamArea;

    fn area(&mut self, at: GuestAddress, len: usize, access: Access) -> Result<RamArea, Fault> {
        let at = at.get();
        let (first, second) = match access {
            Access::ReadWrite => (Access::Read, Access::Write),
            other => (other, other),
        };
        self.inner().find(at, len, first)?;
        self.inner().find(at, len, second)?;
        Ok(RamArea {
            ram: self.clone(),
            at,
            len,
            access,
        })
    }

    fn read(&mut self, from: GuestAddress, to: &mut [u8]) -> Result<(), Fault> {
        let mut inner = self.inner();
        inner.meddle();
        let (at, len) = (from.get(), to.len());
        inner.log.push(Op::Read { at, len });
        let range = inner.find(at, len, Access::Read)?;
        to.copy_from_slice(&inner.bytes[range]);
        Ok(())
    }

    fn write(&mut self, to: GuestAddress, from: &[u8]) -> Result<(), Fault> {
        let mut inner = self.inner();
        let (at, len) = (to.get(), from.len());
        inner.log.push(Op::Write { at, len });
        let range = inner.find(at, len, Access::Write)?;
        inner.bytes[range].copy_from_slice(from);
        Ok(())
    }
}

/// The driver may do everything, and nothing comes in between.
impl Bus for Ram {
    fn load16(&self, at: u64) -> u16 {
        self.get16(at)
    }
    fn load32(&self, at: u64) -> u32 {
        self.get32(at)
    }
    fn store16(&self, at: u64, value: u16) {
        self.set16(at, value);
    }
    fn store32(&self, at: u64, value: u32) {
        self.set32(at, value);
    }
    fn store64(&self, at: u64, value: u64) {
        self.set64(at, value);
    }
    fn read_barrier(&self) {}
    fn write_barrier(&self) {}
    fn full_barrier(&self) {}
}
