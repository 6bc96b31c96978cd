//! Several certificates with one nickname, as after a renewal: NSS uses the most recent one, with or without its key.

mod common;

use common::NICKNAME;
use common::world::{World, hold, home, localhost};
use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::nssdb::DbFormat;

#[test]
fn a_key_of_another_certificate_with_the_nickname_is_no_missing_key() {
    let home = home();
    let client = |from: i64, to: i64| Spec::new("client", Usage::Client).valid(from * DAY, to * DAY);
    let own = home.issue(&client(-2, 30)).unwrap();
    let world = |format: DbFormat, other: &Identity| World {
        client: Some(own.clone()),
        format,
        ..World::together(&home, home.issue(&localhost()).unwrap()).store(NICKNAME, other, "")
    };
    let (newer, older) = (home.issue(&client(-1, 60)).unwrap(), home.issue(&client(-3, 10)).unwrap());
    let same_key = home.certify(&own, &client(-1, 60)).unwrap();
    for format in [DbFormat::Sql, DbFormat::Dbm] {
        hold(vec![
            ("the newer one has no key", "fail key-missing client-db likely", world(format, &newer)),
            ("the older one has no key", "pass - - certain", world(format, &older)),
            ("both have the same key", "pass - - certain", world(format, &same_key)),
        ]);
    }
}
