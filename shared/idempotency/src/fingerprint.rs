//! Fingerprints of requests.

use sha2::{Digest, Sha256};

/// A hash of the parts that identify a request. Equal fingerprints are the same request, byte for byte.
///
/// The parts of an HTTP request are, for example, its method, path, query, content type and body. A part that may differ between
/// attempts (a trace id, a time) must be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request that consists of these parts.
    pub fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // The length goes first. Otherwise the parts `ab`, `c` and the parts `a`, `bc` would have one hash.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The fingerprint as it is stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Fingerprint {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_part_of_a_request_and_every_border_between_parts_counts() {
        let original: [&[u8]; 5] = [b"POST", b"/a", b"q=1", b"application/json", b"{}"];
        for part in 0..original.len() {
            let mut other = original;
            other[part] = b"x";
            assert_ne!(Fingerprint::of(original), Fingerprint::of(other));
        }
        let [one, other]: [[&[u8]; 2]; 2] = [[b"/ab", b"c"], [b"/a", b"bc"]];
        assert_ne!(Fingerprint::of(one), Fingerprint::of(other));
    }

    /// Stored records contain fingerprints, which later versions compare with theirs.
    #[test]
    fn the_fingerprint_of_a_request_never_changes() {
        let request: [&[u8]; 5] = [b"POST", b"/subscriptions/1/cancel", b"", b"application/json", b"{}"];
        let digits: String =
            Fingerprint::of(request).as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, "9df1726a9572b924cc198c235fa40e1c7ef9a6fca1676e0f923be585e95ff963");
    }

    proptest! {
        #[test]
        fn two_requests_are_the_same_exactly_if_all_their_parts_are(
            // Short parts of two letters, so that many requests differ only in the place where a part ends.
            one in vec(vec(0..2_u8, 0..3), 0..5),
            other in vec(vec(0..2_u8, 0..3), 0..5),
        ) {
            let of = |parts: &[Vec<u8>]| Fingerprint::of(parts.iter().map(Vec::as_slice));
            prop_assert_eq!(of(&one) == of(&other), one == other);
        }
    }
}
