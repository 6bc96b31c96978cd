//! Services whose own protocol runs over TLS: databases, directories, mail, monitoring.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{geteuid, getgid, getuid};

use crate::{Asks, Failure, Files, Setup, Tls};

/// The user nobody, for a server that refuses to run as root.
const NOBODY: u32 = 65534;

/// Opens a directory that belongs to root alone to the user that a server switches to.
fn open_up(directory: &Path) -> Result<(), Failure> {
    let temporary = std::env::temp_dir();
    for place in directory.ancestors().take_while(|place| **place != temporary && place.starts_with(&temporary)) {
        fs::set_permissions(place, fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// The command, which runs as nobody if this process is root.
fn not_as_root(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let id = NOBODY.to_string();
    command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]).arg(program);
    command
}

/// Where Debian and Fedora have the programs of PostgreSQL.
fn of_postgresql(program: &str) -> Result<PathBuf, Failure> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin").join(program)).collect();
    found.push(Path::new("/usr/bin").join(program));
    found.into_iter().find(|path| path.exists()).ok_or_else(|| format!("there is no {program} (make deps)").into())
}

/// PostgreSQL verifies a certificate in the handshake, but refuses a missing one only when it authenticates the user, after that.
pub(crate) fn postgresql(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let data = setup.directory.join("data");
    open_up(setup.directory)?;
    fs::create_dir(&data)?;
    // PostgreSQL refuses a directory or a key that others may read.
    for (path, mode) in [(&data, 0o700), (&files.key, 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if geteuid().is_root() {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))?;
        }
    }
    let mut initdb = not_as_root(&of_postgresql("initdb")?);
    initdb.args(["--no-sync", "--no-locale", "--auth=trust", "--username=postgres", "--pgdata"]).arg(&data);
    let output = initdb.current_dir(&data).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("initdb: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let wants = setup.asks.spelled(" clientcert=verify-ca", "", "");
    fs::write(data.join("pg_hba.conf"), format!("hostssl all all 127.0.0.1/32 trust{wants}\n"))?;
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let version = setup.version.openssl_name();
    let mut settings = format!(
        "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\nssl = on\n\
         shared_buffers = '1MB'\nmax_connections = 10\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\n\
         ssl_min_protocol_version = '{version}'\nssl_max_protocol_version = '{version}'\n"
    );
    if setup.asks != Asks::Nothing {
        settings += &format!("ssl_ca_file = '{ca}'\n");
    }
    fs::write(data.join("postgresql.conf"), settings)?;
    let mut command = not_as_root(&of_postgresql("postgres")?);
    command.arg("-D").arg(data);
    Ok(command)
}

/// A configuration of OpenSSL with this version as the lowest and the highest, for servers that have a setting for the lowest only.
fn limits_of_openssl(setup: &Setup<'_>) -> Result<PathBuf, Failure> {
    let path = setup.directory.join("openssl.cnf");
    let version = setup.version.openssl_name();
    let text = "openssl_conf = settings\n[settings]\nssl_conf = parts\n[parts]\nsystem_default = limits\n[limits]\n";
    fs::write(&path, format!("{text}MinProtocol = {version}\nMaxProtocol = {version}\n"))?;
    Ok(path)
}

const SLAPD: &str = "/usr/sbin/slapd";

/// Whether slapd is linked with GnuTLS, as on Debian 12; elsewhere it is linked with OpenSSL.
fn slapd_has_gnutls() -> Result<bool, Failure> {
    let output = Command::new("ldd").arg(SLAPD).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("libgnutls.so"))
}

fn slapd_at(scheme: &str, setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let verify = setup.asks.spelled("demand", "try", "never");
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let mut command = Command::new(SLAPD);
    let mut text = format!(
        "TLSCertificateFile {certificate}\nTLSCertificateKeyFile {key}\nTLSCACertificateFile {ca}\nTLSVerifyClient {verify}\n"
    );
    if slapd_has_gnutls()? {
        text += &format!("TLSCipherSuite {}\n", setup.version.gnutls_priority());
    } else {
        command.env("OPENSSL_CONF", limits_of_openssl(setup)?);
    }
    let config = setup.directory.join("slapd.conf");
    fs::write(&config, text)?;
    // With a level of debugging it stays in the foreground.
    command.arg("-f").arg(config).args(["-h", &format!("{scheme}://127.0.0.1:{port}"), "-d", "0"]);
    Ok(command)
}

/// TLS on request.
pub(crate) fn slapd(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    slapd_at("ldap", setup, files, port)
}

/// TLS from the first byte.
pub(crate) fn slapd_ldaps(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    slapd_at("ldaps", setup, files, port)
}

/// On Debian it is linked with GnuTLS. It refuses a client that gives neither a full name nor an address, as many servers do.
pub(crate) fn exim(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let directory = setup.directory.display();
    open_up(setup.directory)?;
    fs::create_dir(setup.directory.join("spool"))?;
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let verify = setup.asks.spelled("tls_verify_hosts = *\n", "tls_try_verify_hosts = *\n", "");
    let priority = setup.version.gnutls_priority();
    let (user, group) = (getuid().as_raw(), getgid().as_raw());
    let text = format!(
        "primary_hostname = localhost\nspool_directory = {directory}/spool\nlog_file_path = {directory}/%slog\npid_file_path =\n\
         exim_user = {user}\nexim_group = {group}\nlocal_interfaces = 127.0.0.1\ndaemon_smtp_ports = {port}\nkeep_environment =\nhost_lookup =\n\
         rfc1413_query_timeout = 0s\ntls_advertise_hosts = *\ntls_certificate = {certificate}\ntls_privatekey = {key}\n\
         tls_verify_certificates = {ca}\n{verify}tls_require_ciphers = {priority}\nacl_smtp_helo = named\n\
         begin acl\nnamed:\n accept condition = ${{if match{{$sender_helo_name}}{{[.:]}}}}\n deny message = need a full name\n"
    );
    let config = setup.directory.join("exim.conf");
    fs::write(&config, text)?;
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644))?;
    let mut command = Command::new("/usr/sbin/exim4");
    command.arg("-C").arg(config).arg("-bdf");
    Ok(command)
}

/// The name of this user, or of its group.
fn own_name(which: &str) -> Result<String, Failure> {
    let output = Command::new("id").arg(which).stdin(Stdio::null()).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Settings whose names differ between dovecot 2.3 and 2.4.
const SINCE_DOVECOT_2_4: [(&str, &str); 8] = [
    ("ssl_cert = <", "ssl_server_cert_file = "),
    ("ssl_key = <", "ssl_server_key_file = "),
    ("ssl_ca = <", "ssl_server_ca_file = "),
    ("ssl_require_crl", "ssl_server_require_crl"),
    ("ssl_verify_client_cert", "ssl_server_request_client_cert"),
    ("import_environment = OPENSSL_CONF=", "import_environment/OPENSSL_CONF = "),
    ("    address = ", "    listen = "),
    ("passdb {\n  driver = static\n  args = nopassword=y\n", "passdb static {\n  fields/nopassword = yes\n"),
];

/// Converts a configuration for 2.3 to the installed dovecot; 2.4 refuses a configuration that does not state its version.
fn as_dovecot_takes_it(text: String) -> Result<String, Failure> {
    let output = Command::new(DOVECOT).arg("--version").stdin(Stdio::null()).output()?;
    if output.stdout.starts_with(b"2.3.") {
        return Ok(text);
    }
    let head = "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\n".to_owned();
    Ok(head + &SINCE_DOVECOT_2_4.iter().fold(text, |text, (before, now)| text.replace(before, now)))
}

const DOVECOT: &str = "/usr/sbin/dovecot";

/// Dovecot verifies the certificate when a user logs in, which is after the handshake.
pub(crate) fn dovecot(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let directory = setup.directory.display();
    open_up(setup.directory)?;
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let version = setup.version.openssl_name();
    let library = limits_of_openssl(setup)?;
    let verify = match setup.asks {
        Asks::Nothing => String::new(),
        asks => format!(
            "ssl_ca = <{ca}\nssl_require_crl = no\nssl_verify_client_cert = yes\nauth_ssl_require_client_cert = {}\n",
            asks.spelled("yes", "no", "no")
        ),
    };
    // Only root may switch to another user, or change the root directory.
    let own = if geteuid().is_root() {
        String::new()
    } else {
        let (user, group) = (own_name("-un")?, own_name("-gn")?);
        format!(
            "default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group}\nservice anvil {{\n  chroot =\n}}\n\
                 service imap-login {{\n  chroot =\n}}\n"
        )
    };
    let text = format!(
        "base_dir = {directory}/run\nlog_path = /dev/stderr\nprotocols = imap\nssl = yes\nssl_cert = <{certificate}\nssl_key = <{key}\n\
         import_environment = OPENSSL_CONF={}\nssl_min_protocol = {version}\n{verify}{own}\
         service imap-login {{\n  inet_listener imap {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n  \
         inet_listener imaps {{\n    port = 0\n  }}\n}}\npassdb {{\n  driver = static\n  args = nopassword=y\n}}\n",
        library.display()
    );
    let config = setup.directory.join("dovecot.conf");
    fs::write(&config, as_dovecot_takes_it(text)?)?;
    let mut command = Command::new(DOVECOT);
    command.arg("-F").arg("-c").arg(config);
    Ok(command)
}

/// Prometheus uses the TLS of Go.
pub(crate) fn prometheus(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let verify = setup.asks.spelled("RequireAndVerifyClientCert", "VerifyClientCertIfGiven", "NoClientCert");
    let version = match setup.version {
        Tls::V12 => "TLS12",
        Tls::V13 => "TLS13",
    };
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let authorities = match setup.asks {
        Asks::Nothing => String::new(),
        Asks::Required | Asks::Optional => format!("  client_ca_file: {ca}\n"),
    };
    let web = setup.directory.join("web.yml");
    fs::write(
        &web,
        format!(
            "tls_server_config:\n  cert_file: {certificate}\n  key_file: {key}\n{authorities}  client_auth_type: {verify}\n  \
             min_version: {version}\n  max_version: {version}\n"
        ),
    )?;
    let config = setup.directory.join("prometheus.yml");
    fs::write(&config, "global: {}\n")?;
    let mut command = Command::new("prometheus");
    command.arg("--config.file").arg(config).arg("--web.config.file").arg(web).args(["--log.level", "error"]);
    command.arg("--storage.tsdb.path").arg(setup.directory.join("data"));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Ok(command)
}
