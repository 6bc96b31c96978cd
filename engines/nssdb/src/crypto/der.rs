//! The part of DER (X.690) that databases need: definite lengths, one-byte tags, no recursion.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// One element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tlv<'a> {
    pub(crate) tag: u8,
    pub(crate) body: &'a [u8],
    /// Tag, length and body.
    pub(crate) raw: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next element, or `None` at the end or at anything that is not DER.
    pub(crate) fn next(&mut self) -> Option<Tlv<'a>> {
        let (&tag, after_tag) = self.rest.split_first()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, mut rest) = after_tag.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (digits, after) = rest.split_at_checked(count)?;
            rest = after;
            digits.iter().fold(0usize, |length, digit| length << 8 | usize::from(*digit))
        };
        let (body, after) = rest.split_at_checked(length)?;
        let raw = self.rest.get(..self.rest.len() - after.len())?;
        self.rest = after;
        Some(Tlv { tag, body, raw })
    }

    /// The body of the next element, if it has this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let element = self.next()?;
        (element.tag == tag).then_some(element.body)
    }

    /// A reader over the next element, which must be a SEQUENCE.
    pub(crate) fn sequence(&mut self) -> Option<Reader<'a>> {
        self.expect(SEQUENCE).map(Reader::new)
    }

    /// The next element as a number that fits in 32 bits and is not negative.
    pub(crate) fn small_integer(&mut self) -> Option<u32> {
        let body = self.expect(INTEGER)?;
        if body.first()? & 0x80 != 0 {
            return None;
        }
        let digits = unsigned(body);
        (digits.len() <= 4).then(|| digits.iter().fold(0u32, |number, digit| number << 8 | u32::from(*digit)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// A big-endian number without leading zeros.
pub(crate) fn unsigned(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or(&[])
}

/// The dotted form of an object identifier; components over 64 bits make it `None`.
pub(crate) fn dotted(body: &[u8]) -> Option<String> {
    let (&first, rest) = body.split_first()?;
    let top = (first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    let mut component: u64 = 0;
    for byte in rest {
        component = component.checked_mul(128)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            text.push_str(&format!(".{component}"));
            component = 0;
        }
    }
    Some(text)
}

/// The fields of a certificate that link rows and records to each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CertificateFields<'a> {
    /// Serial number: body of the INTEGER.
    pub(crate) serial: &'a [u8],
    /// Issuer: the whole Name.
    pub(crate) issuer: &'a [u8],
    /// Subject: the whole Name.
    pub(crate) subject: &'a [u8],
    /// What NSS uses as public value: RSA modulus without leading zeros, EC point, DSA or DH value.
    pub(crate) public_value: Option<&'a [u8]>,
    /// Kind of the key.
    pub(crate) key_algorithm: &'a [u8],
}

pub(crate) const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub(crate) const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
pub(crate) const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
pub(crate) const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];

/// Picks the fields out of a certificate (RFC 5280, section 4.1).
pub(crate) fn certificate(der: &[u8]) -> Option<CertificateFields<'_>> {
    let mut certificate = Reader::new(der).sequence()?;
    let mut tbs = certificate.sequence()?;
    let mut first = tbs.next()?;
    if first.tag == 0xa0 {
        first = tbs.next()?;
    }
    if first.tag != INTEGER {
        return None;
    }
    tbs.sequence()?;
    let issuer = tbs.next()?.raw;
    tbs.sequence()?;
    let subject = tbs.next()?.raw;
    let mut key = tbs.sequence()?;
    let key_algorithm = key.sequence()?.expect(OID)?;
    let bits = key.expect(BIT_STRING)?;
    let bits = bits.split_first().map(|(_, bits)| bits)?;
    let public_value = match key_algorithm {
        RSA_ENCRYPTION | RSA_PSS => Reader::new(bits).sequence().and_then(|mut key| key.expect(INTEGER)).map(unsigned),
        DSA => Reader::new(bits).expect(INTEGER).map(unsigned),
        _ => Some(bits),
    };
    Some(CertificateFields { serial: first.body, issuer, subject, public_value, key_algorithm })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_input_are_refused() {
        for bytes in [
            &[0x30, 0x05, 0x02][..],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00],
            &[0x30, 0x80, 0x00, 0x00],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x1f, 0x81, 0x01, 0x00],
            &[0x30],
            &[],
        ] {
            assert!(Reader::new(bytes).next().is_none(), "{bytes:02x?}");
        }
    }

    #[test]
    fn numbers_and_object_identifiers_are_read() {
        assert_eq!(Reader::new(&[2, 3, 0, 0x27, 0x10]).small_integer(), Some(10_000));
        assert_eq!(Reader::new(&[2, 1, 0x80]).small_integer(), None);
        assert_eq!(Reader::new(&[2, 5, 1, 0, 0, 0, 0]).small_integer(), None);
        assert_eq!(dotted(RSA_ENCRYPTION).as_deref(), Some("1.2.840.113549.1.1.1"));
        assert_eq!(dotted(&[0x88, 0x37]).as_deref(), Some("2.56.55"));
    }
}
