//! Numbers that codes of uneven types stand for.

/// Values of iq4_nl's and iq4_xs's codes.
pub const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// Magnitudes of mxfp4's codes, doubled; the code's high bit is the sign.
pub const FP4_DOUBLED: [i8; 8] = [0, 1, 2, 3, 4, 6, 8, 12];

/// Half of the power of two that a byte of mxfp4 stands for.
pub fn e8m0_half(byte: u8) -> f32 {
    let bits = if byte < 2 { 0x0020_0000 << byte } else { u32::from(byte - 1) << 23 };
    f32::from_bits(bits)
}
