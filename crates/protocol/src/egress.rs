//! The wire format of the egress tunnel. A stage connects to the proxy of its warden, frames carry the connection, and
//! the worker makes it.
//!
//! The id of a connection is unique in its cell. Each direction has a window: a sender may send that many bytes for
//! which it has received no credit. So neither end ever buffers more of one connection, however slow its peer is.
//!
//! ```text
//!  warden                                   worker
//!    Open(id, stage, host, port)   ──────►   allowed? resolve, check, dial
//!    Opened(id)                    ◄──────   or Refused(id, status, reason)
//!    Data(id), Credit(id), End(id) ◄─────►   the same
//!    Reset                         ◄──────   a worker that comes back: everything begun before is over
//! ```
//!
//! Bytes from the cell are part of the journal, which must not grow beyond what the engine stores. So each frame counts
//! as [`FRAME_COST`] bytes more than it carries, and it is encoded with a [`crate::mask`].
//!
//! Bytes to the cell can be truncated: a worker may die in the middle of a frame. Its successor then sends [`resync`],
//! which completes that frame; the last byte of a completed frame marks it as such.

use crate::frame::{self, Kind};

/// Where the proxy listens on the loopback of a cell. What proxies are known by; templates whose
/// services listen there cannot have egress beside them.
pub const PROXY_PORT: u16 = 3128;

/// Connections of one cell at one time; more of them wait in the backlog. npm opens 15 at once.
pub const MAX_OPEN: usize = 64;

/// Bytes under way towards the cell without credit, for each connection.
pub const WINDOW_DOWN: u32 = 256 * 1024;

/// Bytes under way from the cell without credit, for each connection.
pub const WINDOW_UP: u32 = 64 * 1024;

/// The most bytes in one `Data`, so that connections take turns.
pub const MAX_PIECE: usize = 16 * 1024;

/// What a frame is taken to cost in the journal beyond its data, in bytes: its header, and the
/// engine's own around it.
pub const FRAME_COST: u64 = 64;

/// The longest host name, in bytes: that of DNS.
pub const MAX_HOST: usize = 253;

/// The longest reason that a refusal gives, in bytes.
pub const MAX_REASON: usize = 300;

/// The last byte of every frame towards the cell; [`resync`] has none of it.
const SEAL: u8 = 1;

/// How one end of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It will send no more, and still listens.
    Eof,
    /// It is gone.
    Reset,
}

/// A message from the warden to the worker. `id` is the number of a connection, unique in its cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromCell {
    /// A stage asks for a connection.
    Open {
        /// Number of the new connection.
        id: u32,
        /// Index into the plan's stages.
        stage: u8,
        /// Time of the request, in µs of the host's monotonic clock.
        at_us: u64,
        /// Port that the stage asks for.
        port: u16,
        /// Host that the stage asks for, at most [`MAX_HOST`] bytes.
        host: String,
    },
    /// The stage sent these bytes.
    Data {
        /// The connection.
        id: u32,
        /// At most [`MAX_PIECE`] bytes.
        bytes: Vec<u8>,
    },
    /// The stage read this many bytes: the worker may send as many more.
    Credit {
        /// The connection.
        id: u32,
        /// Bytes that the stage read.
        bytes: u32,
    },
    /// The end of the stage ended the connection.
    End {
        /// The connection.
        id: u32,
        /// How that end ended.
        how: How,
    },
}

/// A message from the worker to the warden. `id` is the number of a connection, unique in its cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToCell {
    /// The worker made the connection.
    Opened {
        /// The connection.
        id: u32,
    },
    /// The worker refused or failed to make the connection.
    Refused {
        /// The connection.
        id: u32,
        /// HTTP status for the client.
        status: u16,
        /// Message for the client, at most [`MAX_REASON`] bytes.
        reason: String,
    },
    /// The remote host sent these bytes.
    Data {
        /// The connection.
        id: u32,
        /// At most [`MAX_PIECE`] bytes.
        bytes: Vec<u8>,
    },
    /// The remote host accepted this many bytes: the warden may send as many more.
    Credit {
        /// The connection.
        id: u32,
        /// Bytes that the remote host accepted.
        bytes: u32,
    },
    /// The remote end ended the connection.
    End {
        /// The connection.
        id: u32,
        /// How that end ended.
        how: How,
    },
    /// Every open connection of the cell ends.
    Reset,
}

const OPEN: u8 = 1;
const DATA: u8 = 2;
const CREDIT: u8 = 3;
const EOF: u8 = 4;
const RESET: u8 = 5;
const OPENED: u8 = 6;
const REFUSED: u8 = 7;
const RESET_ALL: u8 = 8;

const fn op_of(how: How) -> u8 {
    match how {
        How::Eof => EOF,
        How::Reset => RESET,
    }
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest))
}

impl FromCell {
    /// Appends the payload of a [`Kind::FromTunnel`] frame. `Data` carries at most [`MAX_PIECE`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open { id, stage, at_us, port, host } => {
                out.push(OPEN);
                out.extend_from_slice(&id.to_le_bytes());
                out.push(*stage);
                out.extend_from_slice(&at_us.to_le_bytes());
                out.extend_from_slice(&port.to_le_bytes());
                out.extend_from_slice(host.as_bytes());
            }
            Self::Data { id, bytes } => {
                out.push(DATA);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Credit { id, bytes } => {
                out.push(CREDIT);
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::End { id, how } => {
                out.push(op_of(*how));
                out.extend_from_slice(&id.to_le_bytes());
            }
        }
    }

    /// Reads a payload; `None` if it is not one.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let ([op], rest) = take::<1>(payload)?;
        let (id, rest) = take::<4>(rest)?;
        let id = u32::from_le_bytes(id);
        Some(match op {
            OPEN => {
                let ([stage], rest) = take::<1>(rest)?;
                let (at_us, rest) = take::<8>(rest)?;
                let (port, host) = take::<2>(rest)?;
                let host = std::str::from_utf8(host).ok().filter(|host| host.len() <= MAX_HOST)?.to_owned();
                Self::Open { id, stage, at_us: u64::from_le_bytes(at_us), port: u16::from_le_bytes(port), host }
            }
            DATA => Self::Data { id, bytes: rest.to_vec() },
            CREDIT => Self::Credit { id, bytes: u32::from_le_bytes(rest.try_into().ok()?) },
            EOF if rest.is_empty() => Self::End { id, how: How::Eof },
            RESET if rest.is_empty() => Self::End { id, how: How::Reset },
            _ => return None,
        })
    }
}

impl ToCell {
    /// The whole frame, as it goes to the cell.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        let with_id = |payload: &mut Vec<u8>, op: u8, id: u32| {
            payload.push(op);
            payload.extend_from_slice(&id.to_le_bytes());
        };
        match self {
            Self::Opened { id } => with_id(&mut payload, OPENED, *id),
            Self::Refused { id, status, reason } => {
                with_id(&mut payload, REFUSED, *id);
                payload.extend_from_slice(&status.to_le_bytes());
                let cut = reason.floor_char_boundary(MAX_REASON);
                payload.extend_from_slice(reason.get(..cut).unwrap_or_default().as_bytes());
            }
            Self::Data { id, bytes } => {
                with_id(&mut payload, DATA, *id);
                payload.extend_from_slice(bytes);
            }
            Self::Credit { id, bytes } => {
                with_id(&mut payload, CREDIT, *id);
                payload.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::End { id, how } => with_id(&mut payload, op_of(*how), *id),
            Self::Reset => with_id(&mut payload, RESET_ALL, 0),
        }
        payload.push(SEAL);
        let mut whole = Vec::with_capacity(payload.len() + frame::HEADER);
        frame::encode(Kind::ToTunnel, &payload, &mut whole);
        whole
    }

    /// Reads a payload; `None` if it is not one, or was cut and filled up.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (seal, payload) = payload.split_last()?;
        if *seal != SEAL {
            return None;
        }
        let ([op], rest) = take::<1>(payload)?;
        let (id, rest) = take::<4>(rest)?;
        let id = u32::from_le_bytes(id);
        Some(match op {
            OPENED if rest.is_empty() => Self::Opened { id },
            REFUSED => {
                let (status, reason) = take::<2>(rest)?;
                let reason = String::from_utf8_lossy(reason).into_owned();
                Self::Refused { id, status: u16::from_le_bytes(status), reason }
            }
            DATA => Self::Data { id, bytes: rest.to_vec() },
            CREDIT => Self::Credit { id, bytes: u32::from_le_bytes(rest.try_into().ok()?) },
            EOF if rest.is_empty() => Self::End { id, how: How::Eof },
            RESET if rest.is_empty() => Self::End { id, how: How::Reset },
            RESET_ALL if rest.is_empty() => Self::Reset,
            _ => return None,
        })
    }
}

/// The first bytes that a worker sends to a cell that it adopts. They complete a frame that its predecessor may have
/// left unfinished, and end every connection.
#[must_use]
pub fn resync() -> Vec<u8> {
    let mut bytes = vec![frame::FILL; frame::HEADER + frame::MAX_PAYLOAD];
    bytes.extend_from_slice(&ToCell::Reset.frame());
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::Decoder;

    fn decoded(bytes: &[u8]) -> Vec<Option<ToCell>> {
        let mut decoder = Decoder::default();
        decoder.feed(bytes);
        std::iter::from_fn(|| decoder.next_frame().unwrap()).map(|frame| ToCell::decode(&frame.payload)).collect()
    }

    fn to_cell() -> impl Strategy<Value = ToCell> {
        let how = prop_oneof![Just(How::Eof), Just(How::Reset)];
        prop_oneof![
            any::<u32>().prop_map(|id| ToCell::Opened { id }),
            (any::<u32>(), any::<u16>(), "[a-z ]{0,40}").prop_map(|(id, status, reason)| ToCell::Refused {
                id,
                status,
                reason
            }),
            (any::<u32>(), prop::collection::vec(any::<u8>(), 0..300))
                .prop_map(|(id, bytes)| ToCell::Data { id, bytes }),
            (any::<u32>(), any::<u32>()).prop_map(|(id, bytes)| ToCell::Credit { id, bytes }),
            (any::<u32>(), how).prop_map(|(id, how)| ToCell::End { id, how }),
        ]
    }

    proptest! {
        #[test]
        fn messages_of_a_cell_survive_the_wire(
            id in any::<u32>(), stage in any::<u8>(), at_us in any::<u64>(), port in any::<u16>(),
            host in "[a-z.]{1,253}", bytes in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let all = [
                FromCell::Open { id, stage, at_us, port, host },
                FromCell::Data { id, bytes },
                FromCell::Credit { id, bytes: id.rotate_left(7) },
                FromCell::End { id, how: How::Eof },
                FromCell::End { id, how: How::Reset },
            ];
            for message in all {
                let mut payload = Vec::new();
                message.encode(&mut payload);
                prop_assert_eq!(FromCell::decode(&payload), Some(message));
            }
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _some_or_none = (FromCell::decode(&bytes), ToCell::decode(&bytes));
        }

        /// A worker dies in the middle of a frame, at any byte: what it had not sent whole has no effect,
        /// and what its successor says is understood.
        #[test]
        fn a_cut_frame_is_made_up_for(before in to_cell(), cut in to_cell(), at in any::<prop::sample::Index>()) {
            let mut bytes = before.frame();
            let frame = cut.frame();
            let at = at.index(frame.len());
            bytes.extend_from_slice(&frame[..at]);
            bytes.extend_from_slice(&resync());
            bytes.extend_from_slice(&before.frame());
            let mut received = decoded(&bytes);
            prop_assert_eq!(received.remove(0), Some(before.clone()));
            if received.len() == 3 {
                prop_assert_eq!(received.remove(0), None, "the cut frame");
            }
            prop_assert_eq!(received, [Some(ToCell::Reset), Some(before)]);
        }
    }
}
