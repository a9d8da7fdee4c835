//! Compression of texts. DynamoDB charges a write by the KiB, and in a transaction twice.
//!
//! Compressed texts are zlib streams (RFC 1950) with a preset dictionary. A stream names its dictionary by a checksum. So a better
//! dictionary can be added later, as long as the dictionaries of stored streams are kept here.

use std::io::{self, Read, Write};

use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression, Decompress, FlushDecompress};

use super::StoreError;

/// The names of a document's members, in the order of an answer, and frequent values. Nearly every text has them, so a compressed
/// text need not contain them.
const DICTIONARY: &[u8] = br#"{"metadata":{"esim":true,"state":","region":","attention":","street2":","porting":{"msisdn":"+4","status":"COMPLETED","direction":"OUTBOUND","INBOUND","FAILED","IN_PROGRESS","SCHEDULED","pendingMsisdn":{"pendingProductOffering":{"product":{"status":"PAUSED","BLOCKED","PENDING","extensions":{"error":{"subscriptionId":"","status":"ACTIVATED","type":"SUBSCRIPTION_CELL","display":"+4","msisdn":"+4","customer":{"customerId":"","name":""},"customerId":"","productOffering":{"productOfferingId":"","name":"","price":{"currency":"EUR","currency":"NOK","currency":"SEK","priceType":"ONE_TIME","priceType":"RECURRING","discount":0,"netPrice":,"boundMonths":0,"billingCycle":{"period":"MONTHLY","interval":1}},"group":{"productOfferingGroupId":"","name":"","category":"SUBSCRIPTION_CELL","description":"","internalDescription":""}},"productOfferingId":"","sim":{"esim":false,"imei":"","iccid":"89"},"subscriber":{"subscriberId":"","name":"","email":"@","address":{"street1":"","city":"","zip":"","country":""},"createdAt":"20","updatedAt":"20"},"subscriberId":"","activatedAt":"20","createdAt":"20","updatedAt":"20","referenceId":"","pendingStatus":{"status":"CANCELLED","scheduledAt":"20"}}"#;

/// The size of the window: 4 KiB, which holds the dictionary and a usual text. Clearing the largest window takes longer than
/// compressing.
const WINDOW_BITS: u8 = 12;

/// Longest text, in bytes: several times the largest item of DynamoDB, as JSON may take more for the same. A stream that grows
/// beyond it is not read.
const LONGEST: usize = 4 << 20;

/// Compresses a text.
///
/// # Errors
/// The text is longer than 4 MiB: too long to be stored.
pub fn compress(text: &[u8]) -> Result<Vec<u8>, StoreError> {
    if text.len() > LONGEST {
        return Err(StoreError::Defect("a text is too long to be stored".to_owned()));
    }
    deflate(text).map_err(|error| StoreError::Defect(error.to_string()))
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
    let mut inflate = Decompress::new(true);
    // Read the header, after which zlib asks for the dictionary.
    inflate.decompress(bytes, &mut [], FlushDecompress::None).err()?.needs_dictionary()?;
    inflate.set_dictionary(DICTIONARY).ok()?;
    let rest = bytes.get(usize::try_from(inflate.total_in()).ok()?..)?;
    let mut text = Vec::new();
    let most = u64::try_from(LONGEST).ok()? + 1;
    ZlibDecoder::new_with_decompress(rest, inflate).take(most).read_to_end(&mut text).ok()?;
    (text.len() <= LONGEST).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_compressed_text_is_decompressed_unchanged(text in any::<Vec<u8>>()) {
            prop_assert_eq!(decompress(&compress(&text).unwrap()), Some(text));
        }

        #[test]
        fn a_truncated_stream_or_random_bytes_are_not_decompressed(bytes in any::<Vec<u8>>(), text in ".{1,80}") {
            prop_assert_eq!(decompress(&bytes), None);
            let whole = compress(text.as_bytes()).unwrap();
            for length in 0..whole.len() {
                prop_assert_eq!(decompress(&whole[..length]), None);
            }
        }
    }

    #[test]
    fn a_text_over_the_limit_is_neither_compressed_nor_decompressed() {
        let mut text = vec![b' '; LONGEST];
        assert_eq!(decompress(&compress(&text).unwrap()).as_ref(), Some(&text));
        text.push(b' ');
        assert!(compress(&text).is_err());
        assert_eq!(decompress(&deflate(&text).unwrap()), None);
    }

    /// Stored texts must stay readable. This one was written with zlib and the first dictionary.
    #[test]
    fn a_stream_with_the_first_dictionary_is_still_read() {
        let stored = hex::decode("78f96c6074d0abc69ebf9033919982395025000d2d0bf4").unwrap();
        assert_eq!(decompress(&stored).unwrap(), br#"{"status":"ACTIVATED","display":"+46 70"}"#);
    }
}
