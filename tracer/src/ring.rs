//! The memory that the traced processes and nssight share: a ring of slots with many writers and one reader.
//!
//! A writer takes the next slot if there is a free one, fills it, and marks it with the number of its turn. It never waits:
//! when the reader is behind, the event is dropped and counted. A writer that dies between the two leaves a slot without
//! mark, which the reader skips after a while.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::event::Event;

/// Words of 8 bytes in a slot.
pub const WORDS: usize = 32;
/// Slots in the ring; a power of two. A thread that does nothing but `PR_Poll` fills a fifth of it in 10 ms.
pub const SLOTS: usize = if cfg!(miri) { 128 } else { 1 << 15 };
/// Size of the ring in bytes.
pub const BYTES: usize = size_of::<Ring>();
/// The variable that gives a traced process the place and the identity of the ring, and those of its own library:
/// `RING:DEVICE:INODE:DEVICE:INODE:LENGTH:LIBRARY`, the first and the last being paths.
pub const VARIABLE: &str = "NSSIGHT_TRACE";

/// Layout 1.
const MAGIC: u64 = 0x6e73_7369_6768_0001;

/// A cache line of its own, so that writers and reader do not contend for one.
#[repr(C, align(64))]
struct Line<T>(T);

#[repr(C, align(64))]
struct Slot {
    /// The first word is the number of the turn, from one on.
    words: [AtomicU64; WORDS],
}

/// The ring. It is in shared memory, where all zeros are an empty ring.
#[repr(C)]
pub struct Ring {
    magic: Line<AtomicU64>,
    head: Line<AtomicU64>,
    tail: Line<AtomicU64>,
    dropped: Line<AtomicU64>,
    closed: Line<AtomicU32>,
    slots: [Slot; SLOTS],
}

impl Ring {
    /// Makes an empty ring usable.
    pub fn open(&self) {
        self.magic.0.store(MAGIC, Ordering::Release);
    }

    /// Whether it is an open ring of this layout.
    pub fn is_open(&self) -> bool {
        self.magic.0.load(Ordering::Acquire) == MAGIC && self.closed.0.load(Ordering::Relaxed) == 0
    }

    /// Marks that the ring has no reader any more.
    pub fn close(&self) {
        self.closed.0.store(1, Ordering::Relaxed);
    }

    /// Events that found no room.
    pub fn dropped(&self) -> u64 {
        self.dropped.0.load(Ordering::Relaxed)
    }

    /// Writes an event, or drops it. Never waits.
    pub fn write(&self, event: &Event) {
        let mut turn = self.head.0.load(Ordering::Relaxed);
        let slot = loop {
            let used = turn.wrapping_sub(self.tail.0.load(Ordering::Acquire));
            // The reader is ahead of a writer that was stopped between the two loads. Only a new head justifies another attempt.
            if used.cast_signed() < 0 {
                let now = self.head.0.load(Ordering::Relaxed);
                if now != turn {
                    turn = now;
                    continue;
                }
            }
            let free = (used as usize) < SLOTS;
            let (Some(slot), true) = (self.slots.get(turn as usize % SLOTS), free) else {
                if self.closed.0.load(Ordering::Relaxed) == 0 {
                    self.dropped.0.fetch_add(1, Ordering::Relaxed);
                }
                return;
            };
            match self.head.0.compare_exchange_weak(turn, turn.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break slot,
                Err(now) => turn = now,
            }
        };
        let [mark, words @ ..] = &slot.words;
        for (word, value) in words.iter().zip(event.words()) {
            word.store(value, Ordering::Relaxed);
        }
        mark.store(turn.wrapping_add(1), Ordering::Release);
    }

    /// Takes the next event. To be called by one thread only.
    pub fn take(&self) -> Taken {
        let turn = self.tail.0.load(Ordering::Relaxed);
        if turn == self.head.0.load(Ordering::Acquire) {
            return Taken::Nothing;
        }
        let Some(slot) = self.slots.get(turn as usize % SLOTS) else { return Taken::Nothing };
        if slot.words[0].load(Ordering::Acquire) != turn.wrapping_add(1) {
            return Taken::Unfinished;
        }
        let words = core::array::from_fn(|index| slot.words[index].load(Ordering::Relaxed));
        self.tail.0.store(turn.wrapping_add(1), Ordering::Release);
        Event::of_words(&words).map_or(Taken::Garbage, Taken::Event)
    }

    /// Skips a slot whose writer does not finish it. To be called by the reader.
    pub fn pass_over(&self) {
        self.tail.0.fetch_add(1, Ordering::Release);
    }
}

/// What the reader finds.
#[allow(clippy::large_enum_variant, reason = "it lives for a moment, on the stack")]
pub enum Taken {
    /// The ring is empty.
    Nothing,
    /// A writer is at work in the next slot, or died there.
    Unfinished,
    /// Content that no tracer writes.
    Garbage,
    /// An event.
    Event(Event),
}

#[cfg(test)]
mod tests {
    use std::alloc::{Layout, alloc_zeroed};
    use std::thread;

    use super::*;
    use crate::event::{Function, Phase};

    /// As the kernel provides it.
    fn empty() -> Box<Ring> {
        // SAFETY: memory of the type's own layout from the allocator that `Box` uses; all zero is a ring.
        unsafe { Box::from_raw(alloc_zeroed(Layout::new::<Ring>()).cast()) }
    }

    fn event(tid: u32, number: u64) -> Event {
        let mut event = Event::new(Function::fork, Phase::Note);
        (event.tid, event.number) = (tid, number.cast_signed());
        event
    }

    #[test]
    fn events_of_many_writers_are_read_in_the_order_of_each() {
        const WRITERS: u32 = 3;
        const EACH: u64 = if cfg!(miri) { 20 } else { 5000 };
        let ring = empty();
        assert!(!ring.is_open());
        ring.open();
        assert!(ring.is_open());
        let mut next = [0; WRITERS as usize];
        thread::scope(|scope| {
            for tid in 0..WRITERS {
                let ring = &ring;
                scope.spawn(move || (0..EACH).for_each(|number| ring.write(&event(tid, number))));
            }
            while next.iter().any(|count| *count < EACH) {
                match ring.take() {
                    Taken::Event(event) => {
                        let expected = &mut next[event.tid as usize];
                        assert_eq!(event.number, expected.cast_signed());
                        *expected += 1;
                    }
                    Taken::Garbage => panic!("an event was torn"),
                    Taken::Nothing | Taken::Unfinished => thread::yield_now(),
                }
            }
        });
        assert!(matches!(ring.take(), Taken::Nothing));
        assert_eq!(ring.dropped(), 0);
        ring.close();
        assert!(!ring.is_open());
    }

    #[test]
    fn any_slot_content_is_an_event_or_garbage() {
        let ring = empty();
        ring.open();
        for fill in [1, 0x0101_0101_0101_0101, u64::MAX >> 1, u64::MAX] {
            ring.write(&event(1, 1));
            let turn = ring.tail.0.load(Ordering::Relaxed);
            let [_, words @ ..] = &ring.slots[turn as usize % SLOTS].words;
            words.iter().for_each(|word| word.store(fill, Ordering::Relaxed));
            match ring.take() {
                Taken::Event(event) => drop(format!("{event:?}")),
                Taken::Garbage => {}
                Taken::Nothing | Taken::Unfinished => panic!("it is there"),
            }
        }
        // A writer that died in its slot.
        ring.head.0.fetch_add(1, Ordering::Relaxed);
        assert!(matches!(ring.take(), Taken::Unfinished));
        ring.pass_over();
        assert!(matches!(ring.take(), Taken::Nothing));
    }

    #[test]
    fn events_without_room_are_counted() {
        let ring = empty();
        ring.open();
        (0..SLOTS as u64 + 3).for_each(|number| ring.write(&event(1, number)));
        assert_eq!(ring.dropped(), 3);
        assert!(matches!(ring.take(), Taken::Event(_)));
        ring.write(&event(1, 0));
        assert_eq!(ring.dropped(), 3);
    }
}
