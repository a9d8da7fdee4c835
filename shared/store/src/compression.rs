//! Compression of texts. DynamoDB charges a write by the KiB, and in a transaction twice.
//!
//! There are two forms, both with the same preset dictionary. The first byte tells which one a compressed text has.
//!
//! - *zlib* (RFC 1950) is the smallest. A document is written once and kept. The stream names its dictionary by a checksum.
//! - *LZ4* takes a tenth of the work, and a third more space. An answer is written with every change, and kept for a day. The
//!   first byte names form and dictionary; four bytes with the length of the text follow, and then a block of LZ4.
//!
//! So a better dictionary can be added later, as long as the dictionaries of stored texts are kept here.

use std::io::{self, Write};

use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression, Decompress, FlushDecompress, Status};
use lz4_flex::block::{compress_into_with_dict, decompress_into_with_dict, get_maximum_output_size};

use super::StoreError;

/// The names of a document's members, in the order of an answer, and frequent values. Nearly every text has them, so a compressed
/// text need not contain them.
const DICTIONARY: &[u8] = br#"{"metadata":{"esim":true,"state":","region":","attention":","street2":","porting":{"msisdn":"+4","status":"COMPLETED","direction":"OUTBOUND","INBOUND","FAILED","IN_PROGRESS","SCHEDULED","pendingMsisdn":{"pendingProductOffering":{"product":{"status":"PAUSED","BLOCKED","PENDING","extensions":{"error":{"subscriptionId":"","status":"ACTIVATED","type":"SUBSCRIPTION_CELL","display":"+4","msisdn":"+4","customer":{"customerId":"","name":""},"customerId":"","productOffering":{"productOfferingId":"","name":"","price":{"currency":"EUR","currency":"NOK","currency":"SEK","priceType":"ONE_TIME","priceType":"RECURRING","discount":0,"netPrice":,"boundMonths":0,"billingCycle":{"period":"MONTHLY","interval":1}},"group":{"productOfferingGroupId":"","name":"","category":"SUBSCRIPTION_CELL","description":"","internalDescription":""}},"productOfferingId":"","sim":{"esim":false,"imei":"","iccid":"89"},"subscriber":{"subscriberId":"","name":"","email":"@","address":{"street1":"","city":"","zip":"","country":""},"createdAt":"20","updatedAt":"20"},"subscriberId":"","activatedAt":"20","createdAt":"20","updatedAt":"20","referenceId":"","pendingStatus":{"status":"CANCELLED","scheduledAt":"20"}}"#;

/// The size of the window: 4 KiB, which holds the dictionary and a usual text. Clearing the largest window takes longer than
/// compressing.
const WINDOW_BITS: u8 = 12;

/// The first byte of a text in LZ4. That of a zlib stream has 8 in its lower half.
const LZ4: u8 = 1;

/// Longest text, in bytes: several times the largest item of DynamoDB, as JSON may take more for the same. A stream that grows
/// beyond it is not read.
const LONGEST: usize = 4 << 20;

/// Compresses a text to the smallest form.
///
/// # Errors
/// The text is longer than 4 MiB: too long to be stored.
pub fn compress(text: &[u8]) -> Result<Vec<u8>, StoreError> {
    check_length(text)?;
    deflate(text).map_err(defect)
}

/// Compresses a text with little work.
///
/// # Errors
/// The text is longer than 4 MiB: too long to be stored.
pub fn compress_fast(text: &[u8]) -> Result<Vec<u8>, StoreError> {
    check_length(text)?;
    let length = u32::try_from(text.len()).map_err(defect)?.to_le_bytes();
    let mut block = vec![0; get_maximum_output_size(text.len())];
    let written = compress_into_with_dict(text, &mut block, DICTIONARY).map_err(defect)?;
    block.truncate(written);
    Ok([&[LZ4][..], &length, &block].concat())
}

fn check_length(text: &[u8]) -> Result<(), StoreError> {
    if text.len() > LONGEST { Err(defect("a text is too long to be stored")) } else { Ok(()) }
}

fn defect(why: impl ToString) -> StoreError {
    StoreError::Defect(why.to_string())
}

fn deflate(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut deflate = Compress::new_with_window_bits(Compression::best(), true, WINDOW_BITS);
    deflate.set_dictionary(DICTIONARY).map_err(io::Error::other)?;
    let mut encoder = ZlibEncoder::new_with_compress(Vec::new(), deflate);
    encoder.write_all(text)?;
    encoder.finish()
}

/// Decompresses a text; `None` if the bytes are not a compressed text, or the text is longer than 4 MiB.
#[must_use]
pub fn decompress(bytes: &[u8]) -> Option<Vec<u8>> {
    match bytes {
        [LZ4, rest @ ..] => {
            let (length, block) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let mut text = vec![0; Some(length).filter(|length| *length <= LONGEST)?];
            let written = decompress_into_with_dict(block, &mut text, DICTIONARY).ok()?;
            (written == length).then_some(text)
        }
        _ => inflate(bytes),
    }
}

fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    // The first byte has the size of the window that the stream needs.
    let window_bits = Some((bytes.first()? >> 4) + 8).filter(|bits| (9..=15).contains(bits))?;
    let mut inflate = Decompress::new_with_window_bits(true, window_bits);
    // Read the header, after which zlib asks for the dictionary.
    inflate.decompress(bytes, &mut [], FlushDecompress::None).err()?.needs_dictionary()?;
    inflate.set_dictionary(DICTIONARY).ok()?;
    let mut text = Vec::with_capacity(bytes.len().saturating_mul(4).min(LONGEST + 1));
    loop {
        let rest = bytes.get(usize::try_from(inflate.total_in()).ok()?..)?;
        match inflate.decompress_vec(rest, &mut text, FlushDecompress::Finish).ok()? {
            Status::StreamEnd => return (text.len() <= LONGEST).then_some(text),
            // There is room for more, so the stream has ended too early.
            _ if text.len() < text.capacity() || text.len() > LONGEST => return None,
            _ => text.reserve(text.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_compressed_text_is_decompressed_unchanged(text in any::<Vec<u8>>()) {
            for compressed in [compress(&text).unwrap(), compress_fast(&text).unwrap()] {
                prop_assert_eq!(decompress(&compressed), Some(text.clone()));
            }
        }

        #[test]
        fn a_truncated_stream_or_random_bytes_are_not_decompressed(bytes in any::<Vec<u8>>(), text in ".{1,80}") {
            // A block of LZ4 has no checksum: it may be any bytes.
            prop_assert!(bytes.first() == Some(&LZ4) || decompress(&bytes).is_none());
            for whole in [compress(text.as_bytes()).unwrap(), compress_fast(text.as_bytes()).unwrap()] {
                for length in 0..whole.len() {
                    prop_assert_eq!(decompress(&whole[..length]), None);
                }
            }
        }
    }

    #[test]
    fn a_text_over_the_limit_is_neither_compressed_nor_decompressed() {
        let mut text = vec![b' '; LONGEST];
        assert_eq!(decompress(&compress(&text).unwrap()).as_ref(), Some(&text));
        assert_eq!(decompress(&compress_fast(&text).unwrap()).as_ref(), Some(&text));
        text.push(b' ');
        assert!(compress(&text).is_err() && compress_fast(&text).is_err());
        assert_eq!(decompress(&deflate(&text).unwrap()), None);
        assert_eq!(decompress(&[LZ4, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }

    /// Stored texts must stay readable. These were written with the first dictionary: with zlib, its largest window and a smaller
    /// one, and with LZ4.
    #[test]
    fn texts_that_earlier_versions_wrote_are_still_read() {
        for stored in [
            "78f96c6074d0abc69ebf9033919982395025000d2d0bf4",
            "48e66c6074d0abc69ebf9033919982b981522d000d2d0bf4",
            "0129000000072a000860030845036036203730227d",
        ] {
            let stored = hex::decode(stored).unwrap();
            assert_eq!(decompress(&stored).unwrap(), br#"{"status":"ACTIVATED","display":"+46 70"}"#);
        }
    }
}
