//! Typed settings, layers, roles and the messages for what is wrong with them.

use std::path::Path;

use nssight_sigul::config::{
    ConfigError, Layered, MAX_ENTRIES, MAX_LINE, Origin, Role, SigulConfig, Surroundings, TlsVersion, parse,
};
use secrecy::ExposeSecret as _;

const CLIENT: &str = "[client]\nbridge-hostname: bridge.example\nserver-hostname: server.example\n";
const DAEMON: &str = "[daemon]\nunix-user:\nunix-group:\n";

fn around() -> Surroundings<'static> {
    Surroundings { home: Some(Path::new("/home/ann")), login_name: Some("ann") }
}

fn layers(files: &[(&str, &str)]) -> Layered {
    let mut layers = Layered::new();
    for (name, text) in files {
        layers.push(parse(Path::new(name), text.as_bytes()).unwrap());
    }
    layers
}

fn read(text: &str) -> Result<SigulConfig, Vec<ConfigError>> {
    SigulConfig::read(&layers(&[("x.conf", text)]), &around())
}

fn faults(text: &str) -> Vec<String> {
    read(text).expect_err("it should be refused").iter().map(ConfigError::to_string).collect()
}

fn refused(bytes: &[u8]) -> String {
    parse(Path::new("x.conf"), bytes).expect_err("it should be refused").to_string()
}

#[test]
fn a_client_gets_its_defaults() {
    let config = read(CLIENT).unwrap();
    assert_eq!(config.role, Role::Client);
    assert_eq!(config.nss_dir.value, Path::new("/home/ann/.sigul"));
    assert!(matches!(config.nss_dir.origin, Origin::Default(_)));
    assert!(config.nss_password.is_none());
    assert_eq!((config.tls_min.value, config.tls_max.value), (TlsVersion::Tls12, TlsVersion::Tls12));
    assert_eq!(config.nickname.value, "sigul-client-cert");
    assert_eq!(config.bridge_port.unwrap().value, 44_334);
    assert_eq!(config.user_name.unwrap().value, "ann");
    assert_eq!(config.passphrase_length.unwrap().value, 128);
    assert!(config.client_listen_port.is_none() && config.unix_user.is_none());
}

#[test]
fn a_server_and_a_bridge_get_their_defaults() {
    let server = read("[server]\nbridge-hostname: b\n[daemon]\nunix-user: sigul\nunix-group:\n").unwrap();
    assert_eq!(server.role, Role::Server);
    assert_eq!(server.bridge_port.unwrap().value, 44_333);
    assert_eq!(server.nickname.value, "sigul-server-cert");
    assert_eq!(server.nss_dir.value, Path::new("/var/lib/sigul"));
    assert_eq!(server.unix_user.unwrap().value, "sigul");
    assert!(server.server_hostname.is_none() && server.user_name.is_none());
    let bridge = read(&format!("[bridge]\nserver-listen-port: 1\n{DAEMON}")).unwrap();
    assert_eq!(bridge.nickname.value, "sigul-bridge-cert");
    assert_eq!(bridge.client_listen_port.unwrap().value, 44_334);
    let port = bridge.server_listen_port.unwrap();
    assert_eq!((port.value, port.origin.to_string().as_str()), (1, "x.conf:2"));
    assert!(bridge.bridge_hostname.is_none() && bridge.bridge_port.is_none());
}

#[test]
fn a_later_file_overrides_an_earlier_one_and_each_value_has_its_line() {
    let files = layers(&[
        ("/etc/sigul/client.conf", "[client]\nbridge-hostname: old\nserver-hostname: s\n[nss]\nnss-min-tls: tls1.2\n"),
        ("/home/ann/.sigul/client.conf", "[DEFAULT]\nserver-hostname: no\n[client]\n\nBridge-Hostname = new\n"),
    ]);
    let config = SigulConfig::read(&files, &around()).unwrap();
    let bridge = config.bridge_hostname.unwrap();
    assert_eq!((&*bridge.value, &*bridge.origin.to_string()), ("new", "/home/ann/.sigul/client.conf:5"));
    let server = config.server_hostname.unwrap();
    assert_eq!((&*server.value, &*server.origin.to_string()), ("s", "/etc/sigul/client.conf:3"));
    assert_eq!(config.tls_min.origin.to_string(), "/etc/sigul/client.conf:5");
    let shown: Vec<(&str, &str, usize)> = files.entries().map(|(s, k, value)| (s, k, value.line())).collect();
    let expected = [
        ("DEFAULT", "server-hostname", 2),
        ("client", "bridge-hostname", 5),
        ("client", "server-hostname", 3),
        ("nss", "nss-min-tls", 5),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn ports_are_whole_numbers_from_1_to_65535() {
    for bad in ["0", "65536", "70000", "abc", "", "-1", "4 4", "44334 # comment", "99999999999999999999", "4__4", "0x1"]
    {
        let found = faults(&format!("{CLIENT}bridge-port: {bad}\n"));
        let expected =
            format!("x.conf:4: key \"bridge-port\": \"{bad}\" is not a port; ports are whole numbers from 1 to 65535");
        assert_eq!(found, [expected]);
    }
    for (good, port) in [("1", 1), ("65535", 65_535), ("+44334", 44_334), ("044_334", 44_334)] {
        assert_eq!(read(&format!("{CLIENT}bridge-port: {good}\n")).unwrap().bridge_port.unwrap().value, port);
    }
}

#[test]
fn tls_versions_have_four_spellings_and_an_order() {
    let range = |text: &str| read(&format!("{CLIENT}[nss]\n{text}"));
    let config = range("nss-min-tls: TLS1.2\nnss-max-tls: tls1.3\n").unwrap();
    assert_eq!((config.tls_min.value, config.tls_max.value), (TlsVersion::Tls12, TlsVersion::Tls13));
    let line = |text: &str| {
        range(text).expect_err("it should be refused").iter().map(ToString::to_string).collect::<Vec<_>>().join("|")
    };
    for bad in ["tls1", "1.2", "tlsv1.2", "TLS 1.2", "ssl3", "tls1.4", ""] {
        let found = line(&format!("nss-min-tls: {bad}\n"));
        assert!(
            found.starts_with(&format!("x.conf:5: key \"nss-min-tls\": \"{bad}\" is not a TLS version")),
            "{found}"
        );
    }
    assert_eq!(
        line("nss-min-tls: tls1.3\n"),
        "x.conf:5: key \"nss-min-tls\": \"tls1.3\" is above the maximum, tls1.2: no TLS version is left to offer"
    );
    assert_eq!(
        line("nss-max-tls: tls1.1\n"),
        "x.conf:5: key \"nss-max-tls\": \"tls1.1\" is below the minimum, tls1.2 by default: no TLS version is left to offer"
    );
    assert_eq!(
        line("nss-min-tls: tls1.1\n"),
        "x.conf:5: key \"nss-min-tls\": \"tls1.1\" is too low: a client refuses a minimum below tls1.2"
    );
    let bridge = read(&format!("[bridge]\n{DAEMON}[nss]\nnss-min-tls: tls1.0\n")).unwrap();
    assert_eq!(bridge.tls_min.value, TlsVersion::Tls10);
}

#[test]
fn all_missing_required_keys_are_reported_at_once() {
    assert_eq!(
        faults("# mine\n[client]\nuser-name: ann\n"),
        [
            "x.conf:2: key \"bridge-hostname\": not in section [client], and has no default",
            "x.conf:2: key \"server-hostname\": not in section [client], and has no default",
        ]
    );
}

#[test]
fn host_names_are_bare_names_of_253_bytes_at_most() {
    let with = |host: &str| format!("[client]\nserver-hostname: s\nbridge-hostname: {host}\n");
    for good in ["b", "b.example.", "192.0.2.1", "2001:db8::1", &"a".repeat(253)] {
        assert_eq!(read(&with(good)).unwrap().bridge_hostname.unwrap().value, good);
    }
    let comment = "a comment after a value is part of the value";
    for (bad, why) in [
        ("", "is empty"),
        ("a b", "it contains a blank"),
        ("a\u{a0}b", "it contains a blank"),
        ("bridge ; the good one", comment),
        ("bridge\t# the good one", comment),
        ("https://bridge", "more than a host name"),
        ("bridge:44334", "more than a host name"),
        (&"a".repeat(254), "is 254 bytes long"),
    ] {
        let found = faults(&with(bad));
        assert!(found.len() == 1 && found[0].contains(why) && found[0].starts_with("x.conf:3:"), "{bad:?}: {found:?}");
    }
}

#[test]
fn a_tilde_is_the_given_home() {
    let dir = |text: &str, around: Surroundings<'_>| {
        let files = layers(&[("x.conf", &format!("{CLIENT}[nss]\nnss-dir: {text}\n"))]);
        SigulConfig::read(&files, &around).map(|config| config.nss_dir.value).map_err(|all| all[0].to_string())
    };
    assert_eq!(dir("~", around()).unwrap(), Path::new("/home/ann"));
    assert_eq!(dir("~/db", around()).unwrap(), Path::new("/home/ann/db"));
    assert_eq!(dir("/db~", around()).unwrap(), Path::new("/db~"));
    assert!(dir("~bob/db", around()).unwrap_err().contains("another user's ~"));
    assert!(dir("~/db", Surroundings::default()).unwrap_err().contains("home directory is unknown"));
    let unset = SigulConfig::read(&layers(&[("x.conf", CLIENT)]), &Surroundings::default()).unwrap_err();
    assert!(unset[0].to_string().starts_with("default (Sigul's own): key \"nss-dir\": \"~/.sigul\" begins with ~"));
}

#[test]
fn the_role_follows_from_the_sections() {
    assert_eq!(faults("[koji]\n[nss]\n"), ["x.conf: no section [client], [server] or [bridge]; found [koji], [nss]"]);
    assert_eq!(faults(""), ["x.conf: no section [client], [server] or [bridge]; the file has no sections"]);
    let files = layers(&[("a.conf", "[client]\n"), ("b.conf", "\n[bridge]\n")]);
    let found = Role::of(&files).unwrap_err().to_string();
    assert!(found.ends_with("[client] at a.conf:1, [bridge] at b.conf:2"), "{found}");
    let nothing = Role::of(&Layered::new()).unwrap_err().to_string();
    assert!(nothing.starts_with("no file was read:"), "{nothing}");
}

#[test]
fn the_user_name_fits_a_request() {
    let with = |user: &str| format!("{CLIENT}user-name: {user}\n");
    assert_eq!(read(&with("bob")).unwrap().user_name.unwrap().value, "bob");
    assert!(faults(&with("bøb"))[0].contains("printable ASCII"));
    assert!(faults(&with(&"b".repeat(256)))[0].contains("256 bytes"));
    let nobody = SigulConfig::read(&layers(&[("x.conf", CLIENT)]), &Surroundings { login_name: None, ..around() });
    assert!(nobody.unwrap().user_name.is_none());
}

#[test]
fn a_password_is_read_and_never_shown() {
    let text = format!("{CLIENT}[nss]\nnss-password: hunter2=x : y\n[gnupg]\nserver-key-passphrase: hunter2\n");
    let files = layers(&[("x.conf", &text)]);
    let config = SigulConfig::read(&files, &around()).unwrap();
    assert_eq!(config.nss_password.as_ref().unwrap().value.expose_secret(), "hunter2=x : y");
    let shown = format!("{files:?} {config:?} {:?}", files.get("nss", "nss-password").unwrap().shown());
    assert!(!shown.contains("hunter2"), "{shown}");
    let empty = read(&format!("{CLIENT}[nss]\nnss-password:\n")).unwrap();
    assert_eq!(empty.nss_password.unwrap().value.expose_secret(), "");
}

#[test]
fn a_password_swallowed_by_the_value_above_it_is_not_shown_either() {
    for key in ["nss-dir: /db", "nss-min-tls: tls1.2", "nss-dir:"] {
        let text = format!("{CLIENT}[nss]\n{key}\n  nss-password: hunter2\n");
        let files = layers(&[("x.conf", &text)]);
        let found = SigulConfig::read(&files, &around()).unwrap_err();
        let shown = format!("{found:?} {} {files:?}", found[0]);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(found[0].to_string().contains("line 6 is indented, so it continues this value"), "{}", found[0]);
    }
    let password = faults(&format!("{CLIENT}[nss]\nnss-password: hunter2\n  nss-dir: /db\n"));
    assert_eq!(password.len(), 1);
    assert!(password[0].contains("\"(not shown)\" continues") && !password[0].contains("hunter2"), "{password:?}");
}

#[test]
fn syntax_errors_name_file_and_line_and_repeat_no_line() {
    assert_eq!(refused(b"[a]\n[b]\n[a]\n"), "x.conf:3: section [a] already appears at line 1");
    assert_eq!(
        refused(b"[a]\nbridge-port: 1\n\nBridge-Port = 2\n"),
        "x.conf:4: key \"bridge-port\": section [a] already contains this key at line 2"
    );
    assert_eq!(refused(b"\nhunter2\n"), "x.conf:2: this line comes before the first [section]");
    assert!(refused(b"[a]\nhunter2\n").starts_with("x.conf:2: in [a]: no \":\" or \"=\" in this line"));
    assert_eq!(refused(b"[a]\n= hunter2\n"), "x.conf:2: in [a]: no key before the \":\" or \"=\"");
    assert!(refused(b"\xef\xbb\xbf[a]\n").contains("byte order mark"));
    assert!(refused(b"[a]\r\nk: v\r\nl: \xff\r\n").starts_with("x.conf:3: the byte at offset 14 is not UTF-8"));
    assert!(refused(b"[a]\rk: v\r\0").starts_with("x.conf:3: NUL byte at offset 9"));
    let long = [b"[a]\nk: ".as_slice(), &vec![b'x'; MAX_LINE]].concat();
    assert!(refused(&long).starts_with("x.conf:2: the line has 65539 bytes"));
    let many: String = (0..MAX_ENTRIES).map(|number| format!("k{number}:\n")).collect();
    assert!(refused(format!("[a]\n{many}").as_bytes()).starts_with("x.conf:16385: more than 16384"));
}

#[test]
fn a_message_is_one_line_whatever_the_file_holds() {
    let error =
        parse(Path::new("a\nb.conf"), "[a]\nk\u{1b}[2J\u{202e}: v\nK\u{1b}[2J\u{202e}: w\n".as_bytes()).unwrap_err();
    let text = error.to_string();
    assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
    assert!(text.starts_with("a\\nb.conf:3: key \"k\\u{1b}[2j"), "{text:?}");
    let long = refused(format!("[a]\n{0}: v\n{0}: w\n", "k".repeat(60_000)).as_bytes());
    assert!(long.len() < 300, "{}", long.len());
}

#[test]
fn a_daemon_requires_its_user_line_and_accepts_an_empty_value() {
    for role in ["[server]\nbridge-hostname: b\n", "[bridge]\n"] {
        let config = read(&format!("{role}[daemon]\nunix-user:\nunix-group:\n")).unwrap();
        assert!(config.unix_user.is_none() && config.unix_group.is_none());
        let found = faults(&format!("{role}[daemon]\nunix-user:\n"));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("key \"unix-group\": not in section [daemon], and has no default"), "{found:?}");
        let without = faults(role);
        assert!(without.len() == 2 && without[0].contains("\"unix-user\""), "{without:?}");
    }
    read(CLIENT).unwrap();
}

#[test]
fn values_that_sigul_takes_literally_are_refused() {
    for prefix in ["sql:", "dbm:"] {
        let found = faults(&format!("{CLIENT}[nss]\nnss-dir: {prefix}/var/lib/sigul\n"));
        assert!(
            found[0].starts_with("x.conf:5: key \"nss-dir\"") && found[0].contains("without the prefix"),
            "{found:?}"
        );
    }
    for line in ["nss-dir: ${HOME}/.sigul", "nss-max-tls: ${TLS}"] {
        let found = faults(&format!("{CLIENT}[nss]\n{line}\n"));
        assert!(found[0].contains("does not expand"), "{found:?}");
    }
    let found = faults("[client]\nbridge-hostname: ${BRIDGE}\nserver-hostname: s\n");
    assert!(found[0].starts_with("x.conf:2:") && found[0].contains("does not expand"), "{found:?}");
    // This may be a real password, and no part of a password is ever shown.
    assert!(read(&format!("{CLIENT}[nss]\nnss-password: ${{x}}\n")).is_ok());
    assert_eq!(
        read(&format!("{CLIENT}client-cert-nickname: costs $5 {{net}}\n")).unwrap().nickname.value,
        "costs $5 {net}"
    );
}

#[test]
fn keys_without_an_effect_are_reported_with_the_intended_place() {
    let ignored = |text: &str| read(text).unwrap().ignored.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (lines, expected) in [
        (
            "[nss]\nclient-cert-nickname: me\n",
            "x.conf:5: key \"client-cert-nickname\" in section [nss] is ignored: the key belongs in section [client]",
        ),
        (
            "[nss]\nnss-password-file: /x\n",
            "x.conf:5: key \"nss-password-file\" in section [nss] is ignored: Sigul does not support it; did you mean \"nss-password\"?",
        ),
        (
            "[nss]\nnss-pasword: x\n",
            "x.conf:5: key \"nss-pasword\" in section [nss] is ignored: Sigul does not support it; did you mean \"nss-password\"?",
        ),
        (
            "[NSS]\nnss-dir: /x\n",
            "x.conf:5: key \"nss-dir\" in section [NSS] is ignored: the key belongs in section [nss]",
        ),
        ("nss-dir: /x\n", "x.conf:4: key \"nss-dir\" in section [client] is ignored: the key belongs in section [nss]"),
        (
            "[nss]\nnickname: x\n",
            "x.conf:5: key \"nickname\" in section [nss] is ignored: Sigul does not support it; the keys in this section are nss-dir, nss-password, nss-min-tls, nss-max-tls",
        ),
        (
            "user_name: ann\n",
            "x.conf:4: key \"user_name\" in section [client] is ignored: Sigul does not support it; did you mean \"user-name\"?",
        ),
    ] {
        assert_eq!(ignored(&format!("{CLIENT}{lines}")), [expected], "{lines}");
    }
    // Sigul has sections and keys that do not affect a connection; a key that is also set in the right place is not reported.
    for lines in [
        "[koji]\nkoji-config: x\n[binding]\nenabled:\n",
        "fas-user-name: x\ncolour: blue\n",
        "[DEFAULT]\nnss-dir: /x\n",
        "nss-dir: /x\n[nss]\nnss-dir: /y\n",
        "[gnupg]\npassphrase-length: 64\nuser-name: x\n",
    ] {
        assert!(ignored(&format!("{CLIENT}{lines}")).is_empty(), "{lines}");
    }
    let found = faults("[client]\nserver-hostname: s\n[nss]\nbridge-hostname: b\n");
    assert_eq!(
        found,
        [
            "x.conf:1: key \"bridge-hostname\": not in section [client], and has no default (x.conf:4: key \"bridge-hostname\" in section [nss] is ignored: the key belongs in section [client])"
        ]
    );
}
