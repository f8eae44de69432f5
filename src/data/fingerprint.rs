//! Short keys from content; whole hashes are `base::hash`'s.

use sha2::{Digest, Sha256};

/// First eight bytes of the SHA-256, for keys of large tables.
pub(crate) fn short_hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}
