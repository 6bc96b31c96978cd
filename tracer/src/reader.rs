//! Reads the ring buffer in nssight.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::ptr;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::event::Event;
use crate::ring::{BYTES, Ring, Taken};

/// A writer that has not finished its slot within this time is considered dead.
const PATIENCE: Duration = Duration::from_millis(100);

/// The ring that nssight makes and passes to traced processes.
pub struct Reader {
    file: File,
    ring: *const Ring,
    waiting_since: Option<Instant>,
    unfinished: u64,
    garbage: u64,
}

impl Reader {
    /// Makes a ring in memory that no other process has yet and that cannot be shortened.
    ///
    /// # Errors
    /// As for memfd_create(2) and mmap(2).
    pub fn new() -> io::Result<Self> {
        let file = File::from(memfd_create("nssight-events", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(BYTES as u64)?;
        // A traced process that shortened it would end nssight with SIGBUS.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: a fresh mapping that nothing else refers to; it ends in `drop`.
        let ring =
            unsafe { mmap(ptr::null_mut(), BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0) };
        let ring = ring?.cast_const().cast();
        let reader = Self { file, ring, waiting_since: None, unfinished: 0, garbage: 0 };
        reader.ring().open();
        Ok(reader)
    }

    fn ring(&self) -> &Ring {
        // SAFETY: mapped in `new` with the size of a ring, aligned to a page, unmapped in `drop` only. It has atomics only,
        // for which every value that another process writes is a valid one.
        unsafe { &*self.ring }
    }

    /// The memory, to be inherited.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Its device and inode, by which a traced process recognises it.
    ///
    /// # Errors
    /// As for fstat(2).
    pub fn identity(&self) -> io::Result<(u64, u64)> {
        self.file.metadata().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Passes all available events to `take`, at most as many as the ring has room for, and returns how many they were.
    pub fn drain(&mut self, mut take: impl FnMut(&Event)) -> usize {
        let mut count = 0;
        while count < crate::ring::SLOTS {
            match self.ring().take() {
                Taken::Nothing => break,
                Taken::Event(event) => take(&event),
                Taken::Garbage => self.garbage += 1,
                Taken::Unfinished => {
                    if self.waiting_since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
                        return count;
                    }
                    self.ring().pass_over();
                    self.unfinished += 1;
                }
            }
            self.waiting_since = None;
            count += 1;
        }
        count
    }

    /// Whether an event is being written right now.
    pub fn is_waiting(&self) -> bool {
        self.waiting_since.is_some()
    }

    /// Events that were lost: for lack of room, by a writer's death, or in a form that no tracer writes.
    pub fn lost(&self) -> u64 {
        self.ring().dropped() + self.unfinished + self.garbage
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.ring().close();
        // SAFETY: the mapping of `new`; no reference to it outlives `self`.
        let _ = unsafe { munmap(self.ring.cast_mut().cast(), BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Function, Phase};

    #[test]
    fn events_are_read_in_order_and_lost_ones_are_counted() {
        let mut reader = Reader::new().unwrap();
        let mut event = Event::new(Function::SSL_SetURL, Phase::Failed);
        event.text[..6].copy_from_slice(b"bridge");
        (event.length, event.error, event.result, event.depth) = (6, -5938, -1, 3);
        for number in 0..crate::ring::SLOTS as i64 + 10 {
            event.number = number;
            reader.ring().write(&event);
        }
        let mut next = 0;
        reader.drain(|read| {
            event.number = next;
            assert_eq!(*read, event);
            next += 1;
        });
        assert_eq!((next as usize, reader.lost()), (crate::ring::SLOTS, 10));
        reader.ring().write(&event);
        assert_eq!(reader.drain(|_| ()), 1);
    }

    #[test]
    fn many_writers_lose_nothing_that_is_read_in_time() {
        let mut reader = Reader::new().unwrap();
        let ring: &'static Ring = unsafe { &*reader.ring };
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                std::thread::spawn(move || {
                    let mut event = Event::new(Function::PR_Poll, Phase::Done);
                    for number in 0..5_000 {
                        (event.handle, event.number) = (writer, number);
                        ring.write(&event);
                    }
                })
            })
            .collect();
        let mut next = [0; 4];
        let mut check = |event: &Event| {
            let writer = usize::try_from(event.handle).unwrap();
            assert_eq!(event.number, next[writer]);
            next[writer] += 1;
        };
        while writers.iter().any(|writer| !writer.is_finished()) {
            reader.drain(&mut check);
        }
        reader.drain(&mut check);
        assert_eq!((next, reader.lost()), ([5_000; 4], 0));
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    }
}
