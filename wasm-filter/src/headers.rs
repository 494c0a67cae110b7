//! Headers as they cross the border to the host: all of a map in one block of bytes.
//!
//! One call for all of them costs less than three calls for one each: every call that gives bytes
//! calls back into the module for the memory to put them.

/// The headers of one map, in the order in which they stand there.
///
/// The block is the ABI's: the number of pairs, the sizes of each name and value, then each name
/// and value with a NUL behind it; numbers are 32-bit and little-endian (proxy-wasm ABI 0.2.1,
/// "Serialization"). A block that breaks off early reads as the headers that are whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<u8>);

const WORD: usize = size_of::<u32>();

impl Headers {
    /// What the host wrote.
    pub const fn from_block(block: Vec<u8>) -> Self {
        Self(block)
    }

    /// The block of these pairs.
    pub fn of<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(N, V)]) -> Self {
        let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let texts = || pairs.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]);
        let mut block = word(pairs.len()).to_vec();
        texts().for_each(|text| block.extend(word(text.len())));
        for text in texts() {
            block.extend(text);
            block.push(0);
        }
        Self(block)
    }

    /// The bytes.
    pub fn block(&self) -> &[u8] {
        &self.0
    }

    /// The first value of the header of this name, in lower case as Envoy keeps names.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.pairs().find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
    }

    /// All pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (number, sizes) = word(&self.0).unwrap_or((0, &[]));
        let (mut sizes, mut texts) =
            sizes.split_at_checked(number.saturating_mul(2 * WORD)).unwrap_or((&[], &[]));
        std::iter::from_fn(move || {
            let (name, rest) = word(sizes)?;
            let (value, rest) = word(rest)?;
            sizes = rest;
            let (name, rest) = texts.split_at_checked(name)?;
            let (value, rest) = rest.get(1..)?.split_at_checked(value)?;
            texts = rest.get(1..).unwrap_or_default();
            Some((name, value))
        })
    }
}

fn word(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word) as usize, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let pairs = [("a", "1"), ("b", ""), ("a", "2"), (":path", "/\0x")];
        let headers = Headers::of(&pairs);
        let bytes = pairs.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(headers.pairs().collect::<Vec<_>>(), bytes);
        assert_eq!(headers.get("a"), Some(&b"1"[..]));
        assert_eq!(headers.get("b"), Some(&b""[..]));
        assert_eq!(headers.get("c"), None);
    }

    #[test]
    fn the_block_is_the_abis() {
        let block = b"\x01\0\0\0\x02\0\0\0\x01\0\0\0ab\0c\0";
        assert_eq!(Headers::of(&[("ab", "c")]).block(), block);
        assert_eq!(Headers::of::<&str, &str>(&[]).block(), [0; 4]);
    }

    /// Envoy wrote it, so it is whole; but a size is never taken at its word.
    #[test]
    fn a_block_that_lies_does_no_harm() {
        let whole = Headers::of(&[("name", "value"), ("other", "more")]);
        for end in 0..whole.block().len() {
            let cut = Headers::from_block(whole.block()[..end].to_vec());
            let read: Vec<_> = cut.pairs().collect();
            assert!(whole.pairs().collect::<Vec<_>>().starts_with(&read), "{end}");
        }
        for at in 0..whole.block().len() {
            let mut wrong = whole.block().to_vec();
            wrong[at] = 0xff;
            let _ = Headers::from_block(wrong).get("other");
        }
    }
}
