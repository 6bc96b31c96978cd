//! Finds secrets with a known form: armoured keys, tokens with their issuer's prefix, passwords in addresses.

use regex::bytes::{Captures, Regex};

use super::{Span, line_end, names};

/// Maximum length of armour that begins like a key and never ends.
const ARMOUR_AT_MOST: usize = 16 << 10;
/// Armour labels of public data.
const PUBLIC: [&[u8]; 9] = [
    b"CERTIFICATE",
    b"TRUSTED CERTIFICATE",
    b"CERTIFICATE REQUEST",
    b"NEW CERTIFICATE REQUEST",
    b"X509 CRL",
    b"PUBLIC KEY",
    b"RSA PUBLIC KEY",
    b"PGP PUBLIC KEY BLOCK",
    b"PGP SIGNATURE",
];

/// Prefixes of tokens, as their issuers document them, with the minimum that follows.
const ISSUED: [&str; 62] = [
    "(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
    "gh[pousr]_[A-Za-z0-9]{30,}",
    "github_pat_[A-Za-z0-9_]{22,}",
    "gl(?:pat|rt|dt|ptt|ft|soat|oas|imt|agent|cbt)-[A-Za-z0-9_.-]{20,}",
    "xox[abeprs]-[A-Za-z0-9-]{10,}",
    "xapp-[A-Za-z0-9-]{20,}",
    "[srp]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "whsec_[A-Za-z0-9+/=]{20,}",
    "AIza[A-Za-z0-9_-]{35}",
    "ya29\\.[A-Za-z0-9_-]{20,}",
    "GOCSPX-[A-Za-z0-9_-]{20,}",
    "SG\\.[A-Za-z0-9_-]{16,}\\.[A-Za-z0-9_-]{16,}",
    "npm_[A-Za-z0-9]{36}",
    "pypi-[A-Za-z0-9_-]{16,}",
    "rubygems_[a-f0-9]{48}",
    "dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}",
    "hf_[A-Za-z0-9]{30,}",
    "do[opr]_v1_[a-f0-9]{64}",
    "sk-ant-[A-Za-z0-9_-]{20,}",
    "sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}",
    "sk-[A-Za-z0-9]{32,}",
    "hv[sbr]\\.[A-Za-z0-9_-]{20,}",
    "s\\.[A-Za-z0-9]{24}",
    "AGE-SECRET-KEY-1[A-Z0-9]{50,}",
    "shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    "sq0(?:atp|csp)-[A-Za-z0-9_-]{22,}",
    "EAAA[A-Za-z0-9_-]{60}",
    "dapi[a-f0-9]{32}",
    "dp\\.(?:pt|st|ct|sa|scim|audit)\\.[A-Za-z0-9._-]{40,}",
    "lin_(?:api|oauth)_[A-Za-z0-9]{32,}",
    "PMAK-[a-f0-9]{24}-[a-f0-9]{34}",
    "NRAK-[A-Z0-9]{27}",
    "NRII-[A-Za-z0-9_-]{32}",
    "xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}",
    "ATATT3[A-Za-z0-9_=-]{40,}",
    "ATBB[A-Za-z0-9]{32}",
    "[A-Za-z0-9]{14}\\.atlasv1\\.[A-Za-z0-9_=-]{60,}",
    "gl(?:c|sa)_[A-Za-z0-9+/=_]{32,}",
    "eyJrIjoi[A-Za-z0-9+/=_-]{40,}",
    "AKC[a-zA-Z0-9]{60,}",
    "pul-[a-f0-9]{40}",
    "fo1_[A-Za-z0-9_-]{40,}",
    "FlyV1 [A-Za-z0-9+/=_,-]{40,}",
    "pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,}",
    "sntr[yu]s_[A-Za-z0-9+/=_-]{40,}",
    "(?:ntn|secret)_[A-Za-z0-9]{43,}",
    "key-[a-f0-9]{32}",
    "SK[a-f0-9]{32}",
    "[0-9]{8,10}:AA[A-Za-z0-9_-]{33}",
    "tfp_[A-Za-z0-9_-]{40,}",
    "figd_[A-Za-z0-9_-]{40}",
    "gsk_[A-Za-z0-9]{48,}",
    "sgp_[A-Za-z0-9_]{40,}",
    "AP[A-Za-z0-9]{60,}",
    "vercel_[A-Za-z0-9]{20,}",
    "sbp_[a-f0-9]{40}",
    "nfp_[A-Za-z0-9]{36}",
    "r8_[A-Za-z0-9]{37}",
    "pat[A-Za-z0-9]{14}\\.[a-f0-9]{64}",
    "CCIPAT_[A-Za-z0-9_]{40,}",
    "amzn\\.mws\\.[a-f0-9-]{36}",
    "FwoGZXIvYXdz[A-Za-z0-9+/=]{40,}",
];

const KEY: &str = "a private key";
const ADDRESS: &str = "a password in a URL";
const TOKEN: &str = "a token of a known form";
const NAMED: &str = "a value of a secret's name";
const HASH: &str = "the hash of a password";

/// Finds secrets by their form.
pub(super) struct Shapes {
    armour: Regex,
    cut_armour: Regex,
    issued: Regex,
    forms: Vec<(&'static str, Regex)>,
    address: Regex,
    scheme: Regex,
    element: Regex,
    pair: Regex,
    prose: Regex,
    is: Regex,
    netrc: Regex,
}

impl Shapes {
    pub(super) fn new() -> Result<Self, regex::Error> {
        let issued = format!(r"(?-u)(?:^|[^A-Za-z0-9_])((?:{}))", ISSUED.join("|"));
        let forms = [
            (KEY, r#"(?-u)"(?:d|p|q|dp|dq|qi|k)"[ \t\r\n]*:[ \t\r\n]*"([A-Za-z0-9_-]{20,})""#),
            (KEY, r"(?-u)<(?:D|P|Q|DP|DQ|InverseQ)>([A-Za-z0-9+/=\s]{16,})</"),
            (KEY, r"(?-u)Private-Lines:[ \t]*[0-9]+\r?\n((?:[A-Za-z0-9+/=]+\r?\n?)+)"),
            (TOKEN, r"(?-u)(?:^|[^A-Za-z0-9_-])(eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*)"),
            (TOKEN, r"(?-u)hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{16,})"),
            (TOKEN, r"(?-u)discord(?:app)?\.com/api/webhooks/([0-9]+/[A-Za-z0-9_-]{20,})"),
            (
                TOKEN,
                r"(?-u)[?&](?:sig|signature|key|code|token|auth|X-Amz-Signature|X-Amz-Security-Token|X-Goog-Signature)=([^&\s]{6,})",
            ),
            (TOKEN, r"(?-u)(?i:AccountKey|SharedAccessKey|SharedAccessSignature)=([^;\s]+)"),
            (
                HASH,
                r"(?-u)(\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|sha1|md5|argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]*|P|H|S)\$[A-Za-z0-9./$=,+-]{8,})",
            ),
            (HASH, r"(?-u)\{(?:S?SHA(?:256|384|512)?|S?MD5|CRYPT|PBKDF2[A-Z0-9-]*)\}([A-Za-z0-9+/=$.]{8,})"),
            (NAMED, r#"(?-u)(?i:identified\s+(?:with\s+\S+\s+)?by|password)\s+(?:PASSWORD\s+)?['"]([^'"\r\n]+)['"]"#),
            (
                NAMED,
                r"(?m-u)^[ \t]*(?i:password|passwd|bindpw|rootpw|userpw|ldap_bind_pw|secret)[ \t]+([^\s:=]\S*)[ \t]*\r?$",
            ),
            (NAMED, r"(?-u)\b(?:requirepass|masterauth)[ \t]+(\S+)"),
            // A line of a pgpass file: host, port, database, user, password.
            (
                NAMED,
                r"(?m-u)(?:^|[ \t])[A-Za-z0-9.*_-]+:(?:[0-9]{2,5}|\*):[A-Za-z0-9*_-]+:[A-Za-z0-9*_-]+:([^\s:]+)\r?$",
            ),
        ];
        let forms = forms.into_iter().map(|(why, form)| Ok((why, Regex::new(form)?))).collect::<Result<_, _>>()?;
        Ok(Self {
            armour: Regex::new(r"(?-u)----[- ]BEGIN ([A-Z0-9 ]*[A-Z0-9]) ?-----?")?,
            cut_armour: Regex::new(
                r"(?-u)((?:[A-Za-z0-9+/=]{16,}\r?\n)*[A-Za-z0-9+/=]*\r?\n?)----[- ]END [A-Z0-9 ]*(?:PRIVATE KEY|PRIVATE KEY BLOCK) ?-----?",
            )?,
            issued: Regex::new(&issued)?,
            forms,
            address: Regex::new(r#"(?-u)[A-Za-z0-9+.-]+(?:://|%3[aA]%2[fF]%2[fF])([^\s/"'<>@]*)(?:@|%40)"#)?,
            scheme: Regex::new(
                r#"(?-u)(?i:\b(?:bearer|basic|negotiate|ntlm|digest|apikey|token|aws4-hmac-sha256)) +([A-Za-z0-9+/._~=-]{8,})"#,
            )?,
            element: Regex::new(
                r"(?-u)<([A-Za-z_][A-Za-z0-9_:.-]*)(?:[ \t\r\n][^<>]*)?>([^<]+|<!\[CDATA\[(?:[^\]]|\][^\]])*\]\]>)</",
            )?,
            pair: Regex::new(
                r#"(?-u)\b(?i:name|key)["']?[ \t]*[:=][ \t]*["']?([A-Za-z_][A-Za-z0-9_.-]*)["']?[ \t]*[,;]?\s{0,80}["']?(?i:value)["']?[ \t]*[:=][ \t]*["']?([^"'\r\n}>]+)"#,
            )?,
            prose: Regex::new(
                r"(?-u)(?i:\bpass[ -]?(?:word|phrase|code)s?|\bpin|\bsecret|\btoken)[ \t]+(?i:for|of|to|on|at)[ \t]+[^\r\n:=]{1,60}[:=][ \t]*([^\r\n]+)",
            )?,
            is: Regex::new(
                r#"(?-u)(?i:\bpass[ -]?(?:word|phrase|code)|\bpin|\bsecret|\btoken)(?i: is| was| set to| changed to|,)[ \t]+["'`]?([^\s"'`]+)"#,
            )?,
            netrc: Regex::new(
                r"(?-u)\b(?:login|user)[ \t\r\n]+\S+[ \t\r\n]+(?:account[ \t\r\n]+\S+[ \t\r\n]+)?password[ \t\r\n]+(\S+)",
            )?,
        })
    }

    /// Finds tokens whose form alone identifies them, and which contain only characters that a string of a document may
    /// contain.
    pub(super) fn tokens(&self, text: &[u8], found: &mut Vec<Span>) {
        let issued = self.issued.captures_iter(text).filter_map(|it| it.get(1));
        found.extend(issued.map(|it| Span::new(it.start(), it.end(), TOKEN)));
    }

    pub(super) fn find(&self, text: &[u8], found: &mut Vec<Span>) {
        self.tokens(text, found);
        self.armoured(text, found);
        let group = |captures: Captures<'_>, number: usize| captures.get(number).map(|it| (it.start(), it.end()));
        for (why, form) in &self.forms {
            let values = form.captures_iter(text).filter_map(|captures| group(captures, 1));
            let values = values.filter(|(start, end)| *why != NAMED || !names::is_harmless(&text[*start..*end]));
            found.extend(values.map(|(start, end)| Span::new(start, end, why)));
        }
        for address in self.address.captures_iter(text) {
            let Some(login) = address.get(1) else { continue };
            match login.as_bytes().iter().position(|byte| *byte == b':') {
                Some(colon) if colon + 1 < login.len() => {
                    found.push(Span::new(login.start() + colon + 1, login.end(), ADDRESS));
                }
                Some(_) => {}
                None if login.len() >= 8 && names::looks_secret(login.as_bytes()) => {
                    found.push(Span::new(login.start(), login.end(), ADDRESS));
                }
                None => {}
            }
        }
        let looking = |found: &mut Vec<Span>, pattern: &Regex, why| {
            for captures in pattern.captures_iter(text) {
                let value = captures.get(1).filter(|value| names::looks_secret(value.as_bytes()));
                found.extend(value.map(|value| Span::new(value.start(), value.end(), why)));
            }
        };
        looking(found, &self.scheme, "an Authorization header");
        looking(found, &self.is, NAMED);
        for captures in self.element.captures_iter(text).chain(self.pair.captures_iter(text)) {
            let (Some(name), Some(value)) = (captures.get(1), captures.get(2)) else { continue };
            let says = names::meaning(&String::from_utf8_lossy(name.as_bytes()));
            if says == Some(names::Name::Secret) && !names::is_harmless(value.as_bytes()) {
                found.push(Span::new(value.start(), value.end(), NAMED));
            }
        }
        for (pattern, why) in [(&self.prose, NAMED), (&self.netrc, NAMED)] {
            let values = pattern.captures_iter(text).filter_map(|captures| group(captures, 1));
            let values = values.filter(|(start, end)| !names::is_harmless(&text[*start..*end]));
            found.extend(values.map(|(start, end)| Span::new(start, end, why)));
        }
    }

    /// Finds all armour that is not known to be public, and a key whose beginning is missing.
    fn armoured(&self, text: &[u8], found: &mut Vec<Span>) {
        for begin in self.armour.captures_iter(text) {
            let (Some(all), Some(label)) = (begin.get(0), begin.get(1)) else { continue };
            if PUBLIC.contains(&label.as_bytes()) || label.as_bytes().ends_with(b"PUBLIC KEY") {
                continue;
            }
            let reach = text.len().min(all.end() + ARMOUR_AT_MOST);
            let end = [&b"END "[..], label.as_bytes()].concat();
            let at = text[all.end()..reach].windows(end.len()).position(|window| window == end);
            let end = at.map_or(reach, |at| {
                let after = all.end() + at + end.len();
                after + text[after..line_end(text, after)].iter().take_while(|byte| matches!(byte, b'-' | b' ')).count()
            });
            found.push(Span::new(all.start(), end, KEY));
        }
        found.extend(self.cut_armour.find_iter(text).map(|key| Span::new(key.start(), key.end(), KEY)));
    }

    /// Spans that are public, however random they look.
    pub(super) fn public(&self, text: &[u8]) -> Vec<(usize, usize)> {
        let one = |begin: Captures<'_>| {
            let (all, label) = (begin.get(0)?, begin.get(1)?);
            if !PUBLIC.contains(&label.as_bytes()) {
                return None;
            }
            let end = [&b"-----END "[..], label.as_bytes()].concat();
            let body = &text[all.end()..text.len().min(all.end() + (ARMOUR_AT_MOST << 2))];
            let length = body.windows(end.len()).position(|window| window == end)?;
            // Anything other than base64 is not a certificate, and gets no such protection.
            let is_body = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n \t\\".contains(byte);
            body[..length].iter().all(is_body).then_some((all.end(), all.end() + length))
        };
        self.armour.captures_iter(text).filter_map(one).collect()
    }
}
