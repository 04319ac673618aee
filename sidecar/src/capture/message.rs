//! Bytes of nfnetlink: messages in a batch, each with nested attributes. Encodes what this program wrote
//! itself, so nothing here can fail; lengths are far below the formats' limits.

/// A buffer of netlink messages (linux/netlink.h): header and payload in the host's byte order, each
/// message and attribute padded to 4 bytes.
#[derive(Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    count: u32,
}

/// Set on an attribute that holds attributes (NLA_F_NESTED).
const NESTED: u16 = 1 << 15;
/// NLM_F_REQUEST | NLM_F_ACK: each message is answered, so each failure can name what it was.
const REQUEST_ACK: u16 = 0x1 | 0x4;

/// The inside of one message or attribute.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Messages {
    /// Adds a message: type, further flags, nfgenmsg (family and resource id), attributes. Its sequence
    /// number is its place, counted from 0.
    pub(super) fn push(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        resource: u16,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let at = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((REQUEST_ACK | flags).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        // Port 0: the kernel.
        self.bytes.extend([0; 4]);
        // nfgenmsg: family, version 0, resource id in network order.
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        fill(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - at) as u32;
        patch(&mut self.bytes, at, &length.to_ne_bytes());
        self.count += 1;
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// The datagram.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Attributes<'_> {
    /// A text, ended by zero.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |bytes| {
            bytes.extend(value.as_bytes());
            bytes.push(0);
        });
    }

    /// A number; nf_tables wants network order.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, |bytes| bytes.extend(value.to_be_bytes()));
    }

    /// A number of one byte.
    pub(super) fn byte(&mut self, kind: u16, value: u8) {
        self.attribute(kind, |bytes| bytes.push(value));
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |bytes| bytes.extend(value));
    }

    /// Attributes inside an attribute.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.attribute(kind | NESTED, |bytes| fill(&mut Attributes(bytes)));
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let at = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        fill(self.0);
        // The length leaves the padding out.
        let length = (self.0.len() - at) as u16;
        patch(self.0, at, &length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

fn patch(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = *value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lengths_and_padding_are_those_of_the_kernel() {
        let mut messages = Messages::default();
        messages.push(0x0a00, 0, 1, 0, |message| {
            message.nest(4, |inside| {
                inside.text(1, "ab");
                inside.byte(2, 7);
            });
        });
        let expected = [
            40, 0, 0, 0, 0x00, 0x0a, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr
            1, 0, 0, 0, // nfgenmsg
            20, 0, 4, 0x80, // nest
            7, 0, 1, 0, b'a', b'b', 0, 0, // text and padding
            5, 0, 2, 0, 7, 0, 0, 0, // byte and padding
        ];
        assert_eq!(messages.bytes(), expected);
        assert_eq!(messages.len(), 1);
    }
}
