//! Shapes of Berkeley DB files that small databases do not have: overflow pages, large records, blobs, both byte orders.

mod common;

use common::{EC, Nss, certificate, certificate_for, ec_key, state};
use nssight_nssdb::{Database, FileState, Format};
use openssl::x509::X509;
use std::collections::BTreeSet;
use std::fs;

fn ders(database: &Database) -> BTreeSet<Vec<u8>> {
    database.certificates.iter().map(|certificate| certificate.der.clone()).collect()
}

fn expected(certificates: &[X509]) -> BTreeSet<Vec<u8>> {
    certificates.iter().map(|certificate| certificate.to_der().expect("DER")).collect()
}

#[test]
fn overflow_pages_large_records_and_blobs_are_read() {
    let nss = Nss::new(Format::Dbm, "sekrit1");
    // Pages have 16,384 bytes and values over 14,336 bytes become files; a name occurs three times in a record
    // and once more in its key, so that records of all three kinds appear.
    let mut certificates = vec![certificate("over 64 KiB", 1, 77_000)];
    for (serial, (extra, units)) in (2..).zip([
        (0, 0),
        (9_000, 0),
        (13_500, 0),
        (13_900, 0),
        (14_200, 0),
        (20_000, 0),
        (0, 40),
        (6_500, 46),
        (5_800, 52),
        (4_000, 60),
        (0, 90),
        (3_000, 200),
        (0, 300),
        (100, 500),
    ]) {
        let name = format!("large {extra} {units}");
        certificates.push(certificate_for(&ec_key(), &name, serial, extra, units));
    }
    for (number, certificate) in certificates.iter().enumerate() {
        nss.add(&format!("large {number}"), "C,,", certificate);
    }
    let small: Vec<X509> =
        (100..160).map(|serial| certificate(&format!("small {serial}"), serial, serial as usize * 10)).collect();
    for (number, certificate) in small.iter().enumerate() {
        nss.add(&format!("small {number}"), ",,", certificate);
    }
    certificates.extend(small);
    assert!(fs::read_dir(nss.dir().join("cert8.dir")).is_ok_and(|files| files.count() > 3));

    let before = state(&nss.dir());
    let database = nss.open();
    assert_eq!(before, state(&nss.dir()));
    assert_eq!(database.problems, []);
    assert!(matches!(database.certificate_file, FileState::Read));
    assert_eq!(ders(&database), expected(&certificates));
    assert_eq!(nss.listed().len(), certificates.len());

    // Deleting leaves free and half-empty pages behind.
    for number in (0..60).step_by(2) {
        nss.certutil(&["-D", "-n", &format!("small {number}")]);
        certificates.retain(|kept| {
            let name = format!("small {}", 100 + number);
            kept.subject_name().entries().all(|entry| entry.data().as_slice() != name.as_bytes())
        });
    }
    let database = nss.open();
    assert_eq!(database.problems, []);
    assert_eq!(ders(&database), expected(&certificates));

    // A missing blob loses its certificate and nothing else.
    let blob = fs::read_dir(nss.dir().join("cert8.dir")).expect("listing").flatten().next().expect("a blob");
    fs::remove_file(blob.path()).expect("removed");
    let database = nss.open();
    assert!(database.partial);
    assert_eq!(database.problems.len(), 1, "{:?}", database.problems);
    assert!(ders(&database).is_subset(&expected(&certificates)));
    assert!(database.certificates.len() + 1 >= certificates.len());
}

#[test]
fn pages_in_the_other_byte_order_are_read() {
    let nss = Nss::new(Format::Dbm, "sekrit1");
    nss.self_sign("own", "u,u,u", EC);
    for serial in 1..40 {
        let name = format!("other {serial}");
        nss.add(&name, "CT,C,C", &certificate(&name, serial, 800));
    }
    let native = nss.open();
    for name in ["cert8.db", "key3.db"] {
        let path = nss.dir().join(name);
        fs::write(&path, swapped(fs::read(&path).expect("file"))).expect("file");
    }
    let other = nss.open();
    assert_eq!(other.problems, []);
    assert_eq!(ders(&native), ders(&other));
    assert_eq!(other.certificates.len(), 40);
    let key = other.private_keys.first().expect("key");
    let unlocked = other.unlock(b"sekrit1").expect("unlocked");
    assert!(unlocked.private_key(key).is_ok());
}

/// The same file with its pages in the other byte order.
fn swapped(mut file: Vec<u8>) -> Vec<u8> {
    let word = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("word"));
    let (order, page_size, header_pages) = (word(8), word(12) as usize, word(60) as usize);
    let other: u32 = if order == 1234 { 4321 } else { 1234 };
    for page in file.chunks_mut(page_size).skip(header_pages) {
        let count = [page[0], page[1]];
        let entries = usize::from(if order == 1234 { u16::from_le_bytes(count) } else { u16::from_be_bytes(count) });
        // Bitmap pages have no array, and are not read when iterating.
        if entries + 3 <= page_size / 2 {
            for slot in page[..2 * (entries + 3)].chunks_mut(2) {
                slot.swap(0, 1);
            }
        }
    }
    file[8..12].copy_from_slice(&other.to_be_bytes());
    file
}

#[test]
fn damage_is_reported_with_its_page_and_the_rest_is_read() {
    let nss = Nss::new(Format::Dbm, "sekrit1");
    for serial in 1..60 {
        let name = format!("ca {serial}");
        nss.add(&name, "C,,", &certificate(&name, serial, 900));
    }
    let whole = nss.open().certificates.len();
    assert_eq!(whole, 59);
    let path = nss.dir().join("cert8.db");
    let mut bytes = fs::read(&path).expect("file");
    let page = 16_384;
    bytes[page..page + 2].copy_from_slice(&[0xff, 0xff]);
    fs::write(&path, &bytes).expect("file");
    let database = nss.open();
    assert!(database.partial);
    assert!(matches!(database.certificate_file, FileState::Partial));
    assert!(!database.certificates.is_empty() && database.certificates.len() < whole);
    let problem = database.problems.first().expect("a problem");
    assert_eq!(problem.file, "cert8.db");
    assert_eq!(problem.to_string(), "cert8.db page 1 (offset 16384): bucket 0: the number of entries is invalid");
}
