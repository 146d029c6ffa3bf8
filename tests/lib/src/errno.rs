// SPDX-License-Identifier: GPL-2.0
//! Error numbers that show their names in a failed comparison.

use std::fmt;

#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

macro_rules! names {
    ($($name:ident),* $(,)?) => {
        impl Errno {
            $(pub const $name: Errno = Errno(libc::$name);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    0 => f.write_str("success"),
                    $(libc::$name => f.write_str(stringify!($name)),)*
                    n => write!(f, "errno {n}"),
                }
            }
        }
    };
}

names!(
    EPERM,
    ENOENT,
    EIO,
    ENXIO,
    EBADF,
    EAGAIN,
    ENOMEM,
    EACCES,
    EFAULT,
    EBUSY,
    EEXIST,
    EXDEV,
    ENODEV,
    EINVAL,
    ENOSPC,
    ERANGE,
    ENAMETOOLONG,
    EMSGSIZE,
    EOPNOTSUPP,
    ENOBUFS,
    ENOTTY,
    EINTR,
    ENOTUNIQ,
    ETIMEDOUT,
    ENOKEY,
);

impl Errno {
    pub const OK: Errno = Errno(0);

    pub fn last() -> Self {
        Self::from(&std::io::Error::last_os_error())
    }
}

impl From<&std::io::Error> for Errno {
    fn from(e: &std::io::Error) -> Self {
        Errno(e.raw_os_error().unwrap_or(libc::EIO))
    }
}

/// The errno of a result: success or what went wrong.
pub fn of<T>(result: &std::io::Result<T>) -> Errno {
    match result {
        Ok(_) => Errno::OK,
        Err(e) => Errno::from(e),
    }
}
