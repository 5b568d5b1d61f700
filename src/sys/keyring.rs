//! [`user_key`]: a key that somebody has put into root's keyring of the kernel (keyrings(7)), so that it lies on no disk.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;

/// Largest key that is read, in bytes.
const LONGEST: usize = 256;

/// The content of the key `name`, of the type `user`, in the user keyring (`keyctl add user NAME DATA @u`).
pub fn user_key(name: &str) -> io::Result<Vec<u8>> {
    let name = CString::new(name)?;
    // SAFETY: keyctl(2), KEYCTL_SEARCH: two strings that end in NUL and live until it returns; the rest are numbers.
    let key = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::c_ulong::from(libc::KEYCTL_SEARCH),
            libc::c_long::from(libc::KEY_SPEC_USER_KEYRING),
            c"user".as_ptr(),
            name.as_ptr(),
            0,
        )
    };
    if key < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut content = vec![0; LONGEST];
    // SAFETY: KEYCTL_READ writes at most as many bytes as it is told the buffer has.
    let length = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::c_ulong::from(libc::KEYCTL_READ),
            key,
            content.as_mut_ptr(),
            content.len(),
        )
    };
    match usize::try_from(length) {
        Ok(length) if length <= LONGEST => {
            content.truncate(length);
            Ok(content)
        }
        Ok(_) => Err(io::ErrorKind::InvalidData.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
