// SPDX-License-Identifier: GPL-2.0
//! A file system of the test's own, which tells whether anybody still uses it.

use std::ffi::CString;

use crate::errno::Errno;
use crate::sys;

/// A file system in memory. It goes with the guard.
pub struct Tmpfs(&'static str);

impl Tmpfs {
    #[track_caller]
    pub fn new() -> Self {
        let fs = Tmpfs("/tmp/rvdpa-fs");
        std::fs::create_dir_all(fs.0).expect("a folder");
        let path = CString::new(fs.0).expect("a path");
        let kind = c"tmpfs".as_ptr();
        // SAFETY: Strings that live across the call; there are no options.
        let ret = unsafe { libc::mount(kind, path.as_ptr(), kind, 0, std::ptr::null()) };
        assert_eq!(ret, 0, "mount: {:?}", Errno::last());
        fs
    }

    /// Where a file of this name is.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }

    /// Makes another entry for a character device.
    #[track_caller]
    pub fn node_like(&self, original: &str) -> String {
        use std::os::unix::fs::MetadataExt;
        let device = std::fs::metadata(original).expect(original).rdev();
        let path = self.path("node");
        let name = CString::new(path.as_str()).expect("a path");
        // SAFETY: A string that lives across the call.
        let ret = unsafe { libc::mknod(name.as_ptr(), libc::S_IFCHR | 0o600, device) };
        assert_eq!(ret, 0, "mknod: {:?}", Errno::last());
        path
    }

    /// Fails with `EBUSY` while a file of it is open, mapped or kept by anybody.
    pub fn unmount(&self) -> Result<(), Errno> {
        self.unmount_with(0)
    }

    /// Takes it out of the tree; it goes when nobody uses it any more.
    pub fn detach(&self) -> Result<(), Errno> {
        self.unmount_with(libc::MNT_DETACH)
    }

    /// Unmounts it once nobody uses it any more.
    #[track_caller]
    pub fn unmount_when_free(&self) {
        sys::wait_for("the file system to be free", || self.unmount().is_ok());
    }

    fn unmount_with(&self, flags: i32) -> Result<(), Errno> {
        let path = CString::new(self.0).expect("a path");
        // SAFETY: A string that lives across the call.
        let ret = unsafe { libc::umount2(path.as_ptr(), flags) };
        if ret < 0 {
            return Err(Errno::last());
        }
        Ok(())
    }
}

impl Default for Tmpfs {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // It may have been unmounted.
        let _ = self.detach();
        let _ = std::fs::remove_dir(self.0);
    }
}
