//! A text that is read as an API key is written as that text: there is one way to write a key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use subscriptions::api_key::Token;

fuzz_target!(|text: &str| {
    // No fuzzer finds a checksum, and without one it would see nothing of what is behind it.
    let with_checksum = format!("{text}{:08x}", crc32fast::hash(text.as_bytes()));
    for text in [text, &with_checksum] {
        if let Ok(token) = text.parse::<Token>() {
            assert_eq!(token.reveal(), text);
        }
    }
});
