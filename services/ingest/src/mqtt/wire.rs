//! Bytes to packets and back on one connection; the server and the bridge share it.
//!
//! Owns: the read buffer, the protocol's state (which packet is allowed when, receive maximum, packet sizes).
//! Never: holds more than [`FREE_BYTES`] of a packet before its owner has agreed ([`Taken::Room`]): a packet
//! says its size in its first five bytes.

use bytes::{Buf, BufMut, BytesMut};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::role::RoleType;
use mqtt_protocol_core::mqtt::connection::{Connection, ConnectionOptions, Event, Version};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use std::collections::VecDeque;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a packet may take before anybody was asked: an idle connection costs its buffer of this size.
pub(crate) const FREE_BYTES: usize = 4 * 1024;

/// What comes next out of the bytes read.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A whole packet.
    Packet(Packet),
    /// The packet that begins takes so many bytes: [`Wire::go_on`] when there is room for it.
    Room(usize),
    /// The peer broke the protocol. What version 5 tells it about that is to be flushed already.
    Broken(MqttError),
}

/// One end of a connection.
pub(crate) struct Wire<R: RoleType, S> {
    stream: S,
    // Boxed: it is most of a connection, and the states of a future would hold it several times.
    protocol: Box<Connection<R>>,
    packet_bytes_max: usize,
    input: BytesMut,
    /// Bytes of the packet being read that are still to come; 0 between packets.
    left: usize,
    agreed: bool,
    // Bounded: what one read of FREE_BYTES can mean.
    events: VecDeque<Event>,
    output: Vec<u8>,
}

impl<R: RoleType, S: AsyncRead + AsyncWrite + Unpin> Wire<R, S> {
    pub(crate) fn new(
        stream: S,
        version: Version,
        packet_bytes_max: usize,
        receive_max: Option<u16>,
    ) -> Self {
        let mut options =
            ConnectionOptions::new().maximum_packet_size_recv(u32::try_from(packet_bytes_max).unwrap_or(0));
        if let Some(receive_max) = receive_max {
            options = options.receive_maximum(receive_max);
        }
        let mut protocol = Box::new(Connection::with_options(version, options));
        protocol.set_auto_ping_response(true);
        Self {
            stream,
            protocol,
            packet_bytes_max,
            input: BytesMut::new(),
            left: 0,
            agreed: false,
            events: VecDeque::new(),
            output: Vec::new(),
        }
    }

    /// Whether there is room to read into; where nothing is taken for a while, there may be none.
    pub(crate) fn has_room(&self) -> bool {
        self.input.len() < FREE_BYTES
    }

    /// The first byte of a packet whose size is not known yet.
    pub(crate) fn first(&self) -> Option<u8> {
        self.input.first().copied().filter(|_| self.left == 0)
    }

    /// Reads what has come, at most the buffer; 0 = the end. Only while it has room. Cancel-safe.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        let room = FREE_BYTES - self.input.len();
        self.input.reserve(room);
        self.stream.read_buf(&mut (&mut self.input).limit(room)).await
    }

    /// The next thing in what was read; `None` = more must be read.
    pub(crate) fn take(&mut self) -> Option<Taken> {
        loop {
            while let Some(event) = self.events.pop_front() {
                match event {
                    Event::NotifyPacketReceived(packet) => return Some(Taken::Packet(packet)),
                    Event::NotifyError(error) => return Some(Taken::Broken(error)),
                    // Timers are the owner's, closing follows from an error.
                    _ => {}
                }
            }
            if self.left == 0 {
                match size_of(&self.input) {
                    Size::Unknown => return None,
                    Size::Bytes(bytes)
                        if !self.agreed && (FREE_BYTES + 1..=self.packet_bytes_max).contains(&bytes) =>
                    {
                        return Some(Taken::Room(bytes));
                    }
                    Size::Bytes(bytes) => self.left = bytes,
                    // Read on: the protocol says what is wrong with it.
                    Size::Absurd => self.left = self.input.len(),
                }
            }
            let part = self.left.min(self.input.len());
            if part == 0 {
                return None;
            }
            let mut cursor = Cursor::new(&self.input[..part]);
            let events = self.protocol.recv(&mut cursor);
            let read = usize::try_from(cursor.position()).unwrap_or(part).clamp(1, part);
            self.input.advance(read);
            self.left -= read;
            self.agreed &= self.left > 0;
            self.did(events);
        }
    }

    /// There is room for the packet that [`Taken::Room`] named.
    pub(crate) fn go_on(&mut self) {
        self.agreed = true;
    }

    /// Puts a packet behind what is to be written; the error says why the protocol does not allow it now.
    pub(crate) fn say(&mut self, packet: Packet) -> Result<(), MqttError> {
        let events = self.protocol.send(packet);
        let refused = events.iter().find_map(|event| match event {
            Event::NotifyError(error) => Some(*error),
            _ => None,
        });
        self.did(events.into_iter().filter(|event| !matches!(event, Event::NotifyError(_))));
        refused.map_or(Ok(()), Err)
    }

    /// Puts bytes that no packet of the agreed version can say behind what is to be written.
    pub(crate) fn say_raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Writes what was said.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await?;
            self.output = Vec::new();
        }
        Ok(())
    }

    /// Says no more, and reads on for the peer's own goodbye: a connection closed under unread data is reset, and
    /// the last words lost. The caller bounds it in time, this in bytes.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        const DISCARD_BYTES_MAX: usize = 1024 * 1024;
        self.stream.shutdown().await?;
        let mut read = 0;
        while read < DISCARD_BYTES_MAX {
            self.input.clear();
            match self.fill().await? {
                0 => break,
                bytes => read += bytes,
            }
        }
        Ok(())
    }

    /// A number for a packet of ours that is to be acknowledged.
    pub(crate) fn packet_id(&mut self) -> Result<u16, MqttError> {
        self.protocol.acquire_packet_id()
    }

    fn did(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            match event {
                Event::RequestSendPacket { packet, .. } => {
                    self.output.extend_from_slice(&packet.to_continuous_buffer());
                }
                event => self.events.push_back(event),
            }
        }
    }
}

/// What the first bytes say about the size of their packet.
#[derive(Debug, PartialEq, Eq)]
enum Size {
    Unknown,
    Bytes(usize),
    Absurd,
}

/// Reads a packet's fixed header: its type, then its length in at most four bytes of seven bits.
fn size_of(input: &[u8]) -> Size {
    const LENGTH_BYTES_MAX: usize = 4;
    let mut length = 0;
    for (n, &byte) in input.iter().skip(1).take(LENGTH_BYTES_MAX).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Size::Bytes(2 + n + length);
        }
    }
    if input.len() > LENGTH_BYTES_MAX { Size::Absurd } else { Size::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_protocol_core::mqtt::connection::role::Server;
    use proptest::prelude::*;

    const CONNECT: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x0a\0\x01c";

    fn wire(input: &[u8]) -> Wire<Server, tokio::io::DuplexStream> {
        let (_, stream) = tokio::io::duplex(1);
        let mut wire = Wire::new(stream, Version::Undetermined, 64 * 1024, None);
        wire.input.extend_from_slice(input);
        wire
    }

    #[test]
    fn a_packet_says_its_size_in_its_first_bytes() {
        assert_eq!(size_of(b""), Size::Unknown);
        assert_eq!(size_of(b"\x30"), Size::Unknown);
        assert_eq!(size_of(b"\xC0\0"), Size::Bytes(2));
        assert_eq!(size_of(b"\x30\x80"), Size::Unknown);
        assert_eq!(size_of(b"\x30\x80\x01"), Size::Bytes(3 + 128));
        assert_eq!(size_of(b"\x30\xff\xff\xff\x7f"), Size::Bytes(5 + 0x0FFF_FFFF));
        assert_eq!(size_of(b"\x30\xff\xff\xff\xff"), Size::Absurd);
    }

    #[test]
    fn a_large_packet_waits_for_room() {
        let mut wire = wire(CONNECT);
        assert!(matches!(wire.take(), Some(Taken::Packet(Packet::V3_1_1Connect(_)))));
        wire.input.extend_from_slice(b"\x30\x80\x40\0\x01t");
        assert!(matches!(wire.take(), Some(Taken::Room(8195))));
        assert!(matches!(wire.take(), Some(Taken::Room(8195))), "nothing was read on");
        wire.go_on();
        assert!(wire.take().is_none());
        wire.input.extend_from_slice(&[b'x'; 8192 - 3]);
        assert!(matches!(wire.take(), Some(Taken::Packet(Packet::V3_1_1Publish(_)))));
    }

    #[test]
    fn what_is_over_the_packet_size_ends_it_unread() {
        let mut wire = wire(CONNECT);
        assert!(wire.take().is_some());
        wire.input.extend_from_slice(b"\x30\xff\xff\x7f");
        assert!(matches!(wire.take(), Some(Taken::Broken(MqttError::PacketTooLarge))));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_never_a_panic(
            before in any::<bool>(),
            level in 4u8..=5,
            garbage in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut connect = CONNECT.to_vec();
            connect[8] = level;
            if level == 5 {
                connect[1] += 1;
                connect.insert(12, 0);
            }
            let mut wire = wire(if before { &connect } else { b"" });
            wire.input.extend_from_slice(&garbage);
            for _ in 0..1000 {
                match wire.take() {
                    None | Some(Taken::Broken(_)) => break,
                    Some(Taken::Room(_)) => wire.go_on(),
                    Some(Taken::Packet(_)) => {}
                }
            }
        }
    }
}
