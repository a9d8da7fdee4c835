//! Texts that are almost valid, for tests of the exact borders of a rule.

use proptest::prelude::*;
use proptest::sample::Index;

/// A text of `right`, with one character replaced, removed or inserted.
pub(crate) fn near_miss(right: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    // Mostly ASCII, because most rules separate one ASCII character from another.
    let other = prop_oneof![4 => (0..=127_u8).prop_map(char::from), 1 => any::<char>()];
    (right, any::<Index>(), proptest::option::of(other), any::<bool>()).prop_map(|(text, at, other, keep)| {
        let at = at.index(text.chars().count() + 1);
        let before = text.chars().take(at);
        let after = text.chars().skip(if keep { at } else { at + 1 });
        before.chain(other).chain(after).collect()
    })
}

/// Any text, one of `right`, or almost one.
pub(crate) fn around(right: impl Strategy<Value = String> + Clone) -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), right.clone(), near_miss(right)]
}
