//! The stored part of a stage's output: the head as it arrives, then the last bytes in a ring. Pure.

use std::collections::VecDeque;

use assize_protocol::event::Stream;
use assize_protocol::plan::OutputLimits;

/// Largest number of pieces in the tail. Without it, a stage that alternates between its streams byte by byte would
/// cost one frame per byte when the tail is sent. Pieces beyond this number, the oldest ones, count as dropped.
const MAX_TAIL_PIECES: usize = 4096;

/// A piece of output of one stream that arrived together. `offset` counts the bytes of both streams of the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    pub at_us: u64,
    pub offset: u64,
    pub stream: Stream,
    pub bytes: &'a [u8],
}

struct Mark {
    at_us: u64,
    offset: u64,
    stream: Stream,
    length: usize,
}

/// Counts every byte of a stage's output and stores its head and its tail.
pub struct Kept {
    limits: OutputLimits,
    total: u64,
    dropped: u64,
    ring: VecDeque<u8>,
    marks: VecDeque<Mark>,
}

impl Kept {
    pub fn new(limits: OutputLimits) -> Self {
        Self { limits, total: 0, dropped: 0, ring: VecDeque::new(), marks: VecDeque::new() }
    }

    /// Bytes written so far, stored or dropped.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that fell between head and tail; final once the tail is sent.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn is_over_limit(&self) -> bool {
        self.total > self.limits.limit
    }

    /// Whether the next byte still belongs to the head and is sent at once.
    pub fn in_head(&self) -> bool {
        self.total < self.limits.head
    }

    /// Adds bytes that arrived and returns the part that belongs to the head, which must be sent now.
    pub fn take<'a>(&mut self, stream: Stream, at_us: u64, bytes: &'a [u8]) -> Option<Piece<'a>> {
        let offset = self.total;
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = usize::try_from(self.limits.head.saturating_sub(offset)).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        if !rest.is_empty() {
            self.push_tail(Mark { at_us, offset: offset + head.len() as u64, stream, length: rest.len() }, rest);
        }
        (!head.is_empty()).then_some(Piece { at_us, offset, stream, bytes: head })
    }

    /// Passes the tail to `send`, oldest piece first, and empties it.
    ///
    /// # Errors
    /// The first error of `send`.
    pub fn send_tail<E>(&mut self, mut send: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        let ring = Vec::from(std::mem::take(&mut self.ring));
        let mut rest = ring.as_slice();
        for mark in std::mem::take(&mut self.marks) {
            let (bytes, after) = rest.split_at(mark.length.min(rest.len()));
            rest = after;
            send(Piece { at_us: mark.at_us, offset: mark.offset, stream: mark.stream, bytes })?;
        }
        Ok(())
    }

    fn push_tail(&mut self, mark: Mark, bytes: &[u8]) {
        let room = usize::try_from(self.limits.tail).unwrap_or(usize::MAX);
        // Of a piece longer than the ring, only its end can stay.
        let skip = bytes.len().saturating_sub(room);
        self.dropped += skip as u64;
        let bytes = bytes.get(skip..).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        let offset = mark.offset + skip as u64;
        self.evict((self.ring.len() + bytes.len()).saturating_sub(room));
        self.ring.extend(bytes);
        match self.marks.back_mut() {
            Some(last) if last.stream == mark.stream && last.offset + last.length as u64 == offset => {
                last.length += bytes.len();
            }
            _ => self.marks.push_back(Mark { offset, length: bytes.len(), ..mark }),
        }
        if self.marks.len() > MAX_TAIL_PIECES
            && let Some(oldest) = self.marks.front()
        {
            self.evict(oldest.length);
        }
    }

    fn evict(&mut self, bytes: usize) {
        let mut left = bytes;
        while left > 0
            && let Some(oldest) = self.marks.front_mut()
        {
            let gone = left.min(oldest.length);
            oldest.length -= gone;
            oldest.offset += gone as u64;
            left -= gone;
            if oldest.length == 0 {
                self.marks.pop_front();
            }
        }
        let gone = bytes - left;
        self.ring.drain(..gone);
        self.dropped += gone as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Sent = (u64, Stream, Vec<u8>);

    fn run(limits: OutputLimits, writes: &[(bool, Vec<u8>)]) -> (Vec<Sent>, Kept) {
        let mut kept = Kept::new(limits);
        let mut sent = Vec::new();
        for (stderr, bytes) in writes {
            let stream = if *stderr { Stream::Stderr } else { Stream::Stdout };
            if let Some(piece) = kept.take(stream, 0, bytes) {
                sent.push((piece.offset, piece.stream, piece.bytes.to_vec()));
            }
        }
        kept.send_tail(|piece| {
            sent.push((piece.offset, piece.stream, piece.bytes.to_vec()));
            Ok::<_, ()>(())
        })
        .unwrap();
        (sent, kept)
    }

    proptest! {
        #[test]
        fn head_and_tail_and_dropped_are_all_there_was(
            head in 0u64..40,
            tail in 0u64..40,
            writes in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..30)), 0..20),
        ) {
            let (sent, kept) = run(OutputLimits { head, tail, limit: 1000 }, &writes);
            let all: Vec<(Stream, u8)> = writes
                .iter()
                .flat_map(|(stderr, bytes)| {
                    let stream = if *stderr { Stream::Stderr } else { Stream::Stdout };
                    bytes.iter().map(move |byte| (stream, *byte))
                })
                .collect();
            let total = all.len() as u64;
            let kept_bytes: u64 = sent.iter().map(|(_, _, bytes)| bytes.len() as u64).sum();
            prop_assert_eq!(kept.total(), total);
            prop_assert_eq!(kept_bytes + kept.dropped(), total);
            prop_assert_eq!(kept_bytes, total.min(head + tail));

            let mut next = 0;
            for (offset, stream, bytes) in &sent {
                prop_assert!(*offset >= next, "pieces come in order");
                for (at, byte) in (*offset..).zip(bytes) {
                    prop_assert_eq!(all[usize::try_from(at).unwrap()], (*stream, *byte));
                }
                next = offset + bytes.len() as u64;
            }
            if head + tail > 0 && total > 0 && tail > 0 {
                prop_assert_eq!(next, total, "the last byte is always kept");
            }
        }
    }

    #[test]
    fn a_stage_that_alternates_byte_by_byte_costs_a_bounded_number_of_pieces() {
        let writes: Vec<_> = (0..20_000).map(|at| (at % 2 == 0, vec![b'x'])).collect();
        let (sent, kept) = run(OutputLimits { head: 0, tail: 1 << 20, limit: u64::MAX }, &writes);
        assert_eq!(sent.len(), MAX_TAIL_PIECES);
        assert_eq!(kept.dropped() + sent.len() as u64, 20_000);
    }

    #[test]
    fn the_limit_itself_is_allowed() {
        let mut kept = Kept::new(OutputLimits { head: 0, tail: 0, limit: 4 });
        kept.take(Stream::Stdout, 0, b"1234");
        assert!(!kept.is_over_limit());
        kept.take(Stream::Stderr, 0, b"5");
        assert!(kept.is_over_limit());
    }
}
