//! Resources that a host may lack.
use std::io;

use nssight_diagnosis::fact::fact::HostShortOf;
use rustix::io::Errno;

/// The resource that the kernel lacked, if the error is about one. Threads and processes count together (pthread_create(3), fork(2)).
pub fn missing(error: &io::Error) -> Option<HostShortOf> {
    match Errno::from_io_error(error)? {
        Errno::AGAIN => Some(HostShortOf::Processes),
        Errno::MFILE | Errno::NFILE => Some(HostShortOf::Descriptors),
        Errno::NOMEM => Some(HostShortOf::Memory),
        _ => None,
    }
}
