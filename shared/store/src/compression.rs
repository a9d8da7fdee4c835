//! Compression of texts. DynamoDB charges a write by the KiB, and in a transaction twice.
//!
//! Compressed texts are zlib streams (RFC 1950) with a preset dictionary. A stream names its dictionary by a checksum. So a
//! better dictionary can follow, as long as those of stored streams are kept here.

use std::io::{self, Read, Write};

use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;
use flate2::{Compress, Compression, Decompress, FlushDecompress};

use super::StoreError;

/// The names of a document's members, in the order of an answer, and values that are frequent: what is in nearly
/// every text, and so need not be in any.
const DICTIONARY: &[u8] = br#"{"metadata":{"esim":true,"state":","region":","attention":","street2":","porting":{"msisdn":"+4","status":"COMPLETED","direction":"OUTBOUND","INBOUND","FAILED","IN_PROGRESS","SCHEDULED","pendingMsisdn":{"pendingProductOffering":{"product":{"status":"PAUSED","BLOCKED","PENDING","extensions":{"error":{"subscriptionId":"","status":"ACTIVATED","type":"SUBSCRIPTION_CELL","display":"+4","msisdn":"+4","customer":{"customerId":"","name":""},"customerId":"","productOffering":{"productOfferingId":"","name":"","price":{"currency":"EUR","currency":"NOK","currency":"SEK","priceType":"ONE_TIME","priceType":"RECURRING","discount":0,"netPrice":,"boundMonths":0,"billingCycle":{"period":"MONTHLY","interval":1}},"group":{"productOfferingGroupId":"","name":"","category":"SUBSCRIPTION_CELL","description":"","internalDescription":""}},"productOfferingId":"","sim":{"esim":false,"imei":"","iccid":"89"},"subscriber":{"subscriberId":"","name":"","email":"@","address":{"street1":"","city":"","zip":"","country":""},"createdAt":"20","updatedAt":"20"},"subscriberId":"","activatedAt":"20","createdAt":"20","updatedAt":"20","referenceId":"","pendingStatus":{"status":"CANCELLED","scheduledAt":"20"}}"#;

/// A window of 4 KiB, which holds the dictionary and a usual text. With the largest one, more time is spent on clearing it than on
/// compressing.
const WINDOW_BITS: u8 = 12;

/// The longest text, in bytes: several times what DynamoDB stores as one item, as JSON may take more for the same. Nothing that
/// grows beyond it is read.
const LONGEST: usize = 4 << 20;

/// Makes a text small.
///
/// # Errors
/// It is longer than any that is stored.
pub fn compress(text: &[u8]) -> Result<Vec<u8>, StoreError> {
    if text.len() > LONGEST {
        return Err(StoreError::Defect("a text that is too long to be stored".to_owned()));
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

/// The text that was made small, if that is what this is.
#[must_use]
pub fn decompress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut inflate = Decompress::new(true);
    // The header, after which the dictionary is asked for.
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
