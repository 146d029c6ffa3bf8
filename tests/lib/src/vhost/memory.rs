// SPDX-License-Identifier: GPL-2.0
//! Memory for a device: mappings of several kinds, and parts of them.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use vm_memory::mmap::{MmapRegion, MmapRegionBuilder, MmapRegionError};
use vm_memory::{AtomicAccess, Bytes, FileOffset, VolatileMemory};

use crate::errno::Errno;
use crate::vhost::ring::Buffer;

pub const PAGE: usize = 4096;

/// A mapping of this process, readable and writable.
#[derive(Debug)]
pub struct Memory(MmapRegion);

fn map(size: usize, flags: i32, file: Option<File>) -> Result<Arc<Memory>, Errno> {
    let mut builder = MmapRegionBuilder::new(size)
        .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
        .with_mmap_flags(flags);
    if let Some(file) = file {
        file.set_len(size as u64).map_err(|e| Errno::from(&e))?;
        builder = builder.with_file_offset(FileOffset::new(file, 0));
    }
    match builder.build() {
        Ok(region) => Ok(Arc::new(Memory(region))),
        Err(MmapRegionError::Mmap(e)) => Err(Errno::from(&e)),
        Err(e) => panic!("mmap: {e}"),
    }
}

fn memfd(flags: u32) -> Result<File, Errno> {
    // SAFETY: The name is a C string that lives across the call.
    let fd = unsafe { libc::memfd_create(c"rvdpa".as_ptr(), libc::MFD_CLOEXEC | flags) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: The descriptor was just made and is nobody else's.
    Ok(unsafe { File::from_raw_fd(fd) })
}

impl Memory {
    /// Shared and of no file in a folder, as VMMs make it for vhost-user.
    pub fn memfd(size: usize) -> Arc<Self> {
        let file = memfd(0).expect("memfd");
        map(size, libc::MAP_SHARED, Some(file)).expect("mmap")
    }

    /// Private and of no file: what QEMU takes if not told otherwise.
    pub fn private(size: usize) -> Arc<Self> {
        map(size, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, None).expect("mmap")
    }

    /// Shared and of a file, which is made.
    pub fn file(path: &str, size: usize) -> io::Result<Arc<Self>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true);
        let file = file.open(path)?;
        map(size, libc::MAP_SHARED, Some(file)).map_err(|e| io::Error::from_raw_os_error(e.0))
    }

    /// Shared, of huge pages that were set aside for it.
    pub fn huge(size: usize) -> Result<Arc<Self>, Errno> {
        map(size, libc::MAP_SHARED, Some(memfd(libc::MFD_HUGETLB)?))
    }

    pub fn size(&self) -> usize {
        self.0.size()
    }

    /// Where it is in this process.
    pub fn uaddr(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// Gives the kernel advice (`MADV_...`) about a part.
    pub fn advise(&self, at: usize, len: usize, advice: i32) -> Result<(), Errno> {
        let end = at.checked_add(len);
        assert!(end.is_some_and(|e| e <= self.size()), "a part of it");
        // SAFETY: The part is in the mapping, which nobody holds references into.
        let ret = unsafe { libc::madvise(self.0.as_ptr().add(at).cast(), len, advice) };
        if ret < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }

    /// Where a page of it is in the machine; the page is there and stays there.
    pub fn physical(&self, at: usize) -> u64 {
        assert!(at < self.size(), "a part of it");
        // SAFETY: The page is in the mapping.
        let ret = unsafe { libc::mlock(self.0.as_ptr().add(at).cast(), 1) };
        assert_eq!(ret, 0, "mlock: {:?}", Errno::last());
        let page = (self.uaddr() + at as u64) / PAGE as u64;
        let mut entry = [0; 8];
        let pagemap = File::open("/proc/self/pagemap").expect("pagemap");
        pagemap
            .read_exact_at(&mut entry, page * 8)
            .expect("pagemap");
        // The lower 55 bits are the number of the page.
        let frame = u64::from_ne_bytes(entry) & ((1 << 55) - 1);
        assert_ne!(frame, 0, "the page is in memory, and this is root");
        frame * PAGE as u64 + (at % PAGE) as u64
    }

    /// How many of the pages from `at` on have memory behind them.
    pub fn resident(&self, at: usize, len: usize) -> usize {
        let mut pages = vec![0u8; len.div_ceil(PAGE)];
        let end = at.checked_add(len);
        assert!(end.is_some_and(|e| e <= self.size()), "a part of it");
        // SAFETY: The part is in the mapping, and there is a byte for each page of it.
        let ret = unsafe {
            libc::mincore(
                self.0.as_ptr().add(at).cast(),
                len,
                pages.as_mut_ptr().cast(),
            )
        };
        assert_eq!(ret, 0, "mincore: {:?}", Errno::last());
        pages.iter().filter(|p| **p & 1 == 1).count()
    }
}

/// A part of a memory, and its address for the device.
#[derive(Clone, Debug)]
pub struct Area {
    memory: Arc<Memory>,
    at: usize,
    len: usize,
    iova: u64,
}

impl Area {
    /// All of a memory, which the device finds from `iova` on.
    pub fn whole(memory: &Arc<Memory>, iova: u64) -> Self {
        Area {
            memory: memory.clone(),
            at: 0,
            len: memory.size(),
            iova,
        }
    }

    /// Cuts an area off the front, for use; what is skipped to align it is lost.
    #[track_caller]
    pub fn take(&mut self, len: usize, align: usize) -> Area {
        let skip = self.at.next_multiple_of(align) - self.at;
        let taken = self.part(skip, len);
        *self = self.part(skip + len, self.len - skip - len);
        taken
    }

    #[track_caller]
    pub fn part(&self, at: usize, len: usize) -> Area {
        let end = at.checked_add(len);
        assert!(
            end.is_some_and(|e| e <= self.len),
            "{len} bytes from {at} on in an area of {}",
            self.len
        );
        Area {
            memory: self.memory.clone(),
            at: self.at + at,
            len,
            iova: self.iova.wrapping_add(at as u64),
        }
    }

    /// The same bytes under another address.
    pub fn under(&self, iova: u64) -> Area {
        Area {
            iova,
            ..self.clone()
        }
    }

    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Where it begins in its memory.
    pub fn offset(&self) -> usize {
        self.at
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn iova(&self) -> u64 {
        self.iova
    }

    pub fn uaddr(&self) -> u64 {
        self.memory.uaddr() + self.at as u64
    }

    #[track_caller]
    pub fn write(&self, at: usize, bytes: &[u8]) {
        let part = self.part(at, bytes.len());
        let slice = self.memory.0.get_slice(part.at, part.len).unwrap();
        slice.copy_from(bytes);
    }

    #[track_caller]
    pub fn read(&self, at: usize, len: usize) -> Vec<u8> {
        let part = self.part(at, len);
        let slice = self.memory.0.get_slice(part.at, part.len).unwrap();
        let mut bytes = vec![0; len];
        slice.copy_to(&mut bytes);
        bytes
    }

    pub fn fill(&self, byte: u8) {
        self.write(0, &vec![byte; self.len]);
    }

    /// Reads a number in one access, which what comes later does not overtake.
    #[track_caller]
    pub fn load<T: AtomicAccess>(&self, at: usize) -> T {
        let part = self.part(at, size_of::<T>());
        let slice = self.memory.0.get_slice(part.at, part.len).unwrap();
        slice.load(0, Ordering::Acquire).expect("alignment")
    }

    /// Writes a number in one access, which does not overtake what came before.
    #[track_caller]
    pub fn store<T: AtomicAccess>(&self, at: usize, value: T) {
        let part = self.part(at, size_of::<T>());
        let slice = self.memory.0.get_slice(part.at, part.len).unwrap();
        slice.store(value, 0, Ordering::Release).expect("alignment");
    }

    /// As a buffer that the device reads.
    pub fn readable(&self) -> Buffer {
        Buffer {
            iova: self.iova,
            len: self.len as u32,
            writable: false,
        }
    }

    /// As a buffer that the device writes.
    pub fn writable(&self) -> Buffer {
        Buffer {
            writable: true,
            ..self.readable()
        }
    }
}
