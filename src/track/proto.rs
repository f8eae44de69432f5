//! Writing protocol buffers: fields by number, as the wire format has them.
//! Source: protobuf.dev/programming-guides/encoding.

/// A message that is being written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message(Vec<u8>);

impl Message {
    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    /// An integer, a boolean or an enumeration.
    #[must_use]
    pub fn int(mut self, field: u32, value: i64) -> Self {
        self.tag(field, 0);
        self.varint(value as u64);
        self
    }

    /// A `double`.
    #[must_use]
    pub fn double(mut self, field: u32, value: f64) -> Self {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A `float`.
    #[must_use]
    pub fn float(mut self, field: u32, value: f32) -> Self {
        self.tag(field, 5);
        self.0.extend(value.to_le_bytes());
        self
    }

    /// A `string` or `bytes`.
    #[must_use]
    pub fn text(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        self.tag(field, 2);
        self.varint(value.as_ref().len() as u64);
        self.0.extend(value.as_ref());
        self
    }

    /// A message inside.
    #[must_use]
    pub fn message(self, field: u32, value: Self) -> Self {
        self.text(field, value.0)
    }

    /// Several messages of one repeated field.
    #[must_use]
    pub fn messages(self, field: u32, values: impl IntoIterator<Item = Self>) -> Self {
        values.into_iter().fold(self, |message, value| message.message(field, value))
    }
}
