//! One call, from a process of the driver's cell.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use assize_protocol::exec::{Call, CallEnded, CallFile, FOLDER, SOCKET, SOCKET_VARIABLE};
use assize_protocol::frame::{Decoder, Kind, MAX_PAYLOAD, encode};

/// A piece of what a call gives back.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    /// A wanted file begins.
    File(CallFile),
    /// Bytes of that file.
    FileData(&'a [u8]),
}

/// Makes a call and waits for its end. What it gives back goes to `output` in pieces as they come.
///
/// # Errors
/// What is wrong with the call or with the way to the subject's cell, and what to do.
pub fn call(
    call: &Call,
    input: &mut dyn Read,
    output: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
) -> Result<CallEnded, String> {
    call.check()?;
    let request = serde_json::to_vec(call).map_err(|error| format!("the call cannot be written: {error}"))?;
    if request.len() > MAX_PAYLOAD {
        let length = request.len();
        return Err(format!("the call has {length} bytes as JSON, the limit is {MAX_PAYLOAD}; shorten its arguments"));
    }
    let path = std::env::var_os(SOCKET_VARIABLE).unwrap_or_else(|| format!("{FOLDER}/{SOCKET}").into());
    let path = std::path::PathBuf::from(path);
    let mut socket = UnixStream::connect(&path).map_err(|error| {
        let path = path.display();
        format!(
            "{path} cannot be reached: {error}; only the driver of a template with subject = \"exec\" can call programs"
        )
    })?;
    let mut decoder = Decoder::default();
    // A call that is refused is answered before all of it was sent.
    let _answered_instead = send(&mut socket, &request, input)?;
    let mut bytes = vec![0; MAX_PAYLOAD];
    loop {
        while let Some(frame) = decoder.next_frame().map_err(|error| format!("the answer cannot be read: {error}"))? {
            let unreadable = |error: serde_json::Error| format!("the answer cannot be read: {error}");
            let piece = match frame.kind {
                Kind::CallStdout => Piece::Stdout(&frame.payload),
                Kind::CallStderr => Piece::Stderr(&frame.payload),
                Kind::CallFile => Piece::File(serde_json::from_slice(&frame.payload).map_err(unreadable)?),
                Kind::CallFileData => Piece::FileData(&frame.payload),
                Kind::CallEnded => return serde_json::from_slice(&frame.payload).map_err(unreadable),
                kind => return Err(format!("the answer cannot be read: unexpected {kind:?} frame")),
            };
            output(piece).map_err(|error| format!("the output cannot be written: {error}"))?;
        }
        match socket.read(&mut bytes) {
            Ok(length @ 1..) => decoder.feed(bytes.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return Err("the subject's cell is gone; the run says why".to_owned()),
        }
    }
}

/// Sends the whole call; `false` if the other end has hung up.
fn send(socket: &mut UnixStream, request: &[u8], input: &mut dyn Read) -> Result<bool, String> {
    let mut frames = Vec::new();
    encode(Kind::Call, request, &mut frames);
    let mut bytes = vec![0; MAX_PAYLOAD];
    loop {
        let length = match input.read(&mut bytes) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("the input cannot be read: {error}")),
        };
        let kind = if length == 0 { Kind::CallStart } else { Kind::CallInput };
        encode(kind, bytes.get(..length).unwrap_or_default(), &mut frames);
        if socket.write_all(&frames).is_err() {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        frames.clear();
    }
}
