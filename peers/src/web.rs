//! Web servers, and the proxies in front of them.

use std::fs;
use std::process::Command;

use crate::{Failure, Files, Setup};

pub(crate) fn nginx(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify = setup.asks.spelled("on", "optional", "off");
    let directory = setup.directory.display();
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let text = format!(
        "daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{ }}
http {{ access_log off; client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {version}; ssl_certificate {certificate}; ssl_certificate_key {key};
ssl_client_certificate {ca}; ssl_verify_client {verify}; location / {{ return 200; }} }} }}\n"
    );
    let config = setup.directory.join("nginx.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(config).arg("-e").arg("stderr");
    Ok(command)
}

pub(crate) fn apache(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify = setup.asks.spelled("require", "optional", "none");
    let directory = setup.directory.display();
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let modules = "/usr/lib/apache2/modules";
    let text = format!(
        "ServerRoot {directory}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {directory}/pid\n\
         ErrorLog /dev/stderr\nMutex file:{directory}\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\nLoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so\nLoadModule ssl_module {modules}/mod_ssl.so\n\
         SSLEngine on\nSSLProtocol {version}\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}\n\
         SSLCACertificateFile {ca}\nSSLVerifyClient {verify}\nSSLVerifyDepth 5\nSSLSessionCache none\n"
    );
    let config = setup.directory.join("httpd.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-X").arg("-f").arg(config);
    Ok(command)
}

pub(crate) fn haproxy(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify = setup.asks.spelled("required", "optional", "none");
    let (combined, ca) = (files.combined.display(), files.client_ca.display());
    let text = format!(
        "global\n  maxconn 20\ndefaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n\
         frontend tls\n  bind 127.0.0.1:{port} ssl crt {combined} ca-file {ca} verify {verify} ssl-min-ver {version} ssl-max-ver {version}\n  \
         tcp-request inspect-delay 30s\n  tcp-request content reject if {{ req.len gt 0 }}\n"
    );
    let config = setup.directory.join("haproxy.cfg");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

pub(crate) fn stunnel(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify =
        setup.asks.spelled("verifyChain = yes\nrequireCert = yes\n", "verifyChain = yes\nrequireCert = no\n", "");
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let text = format!(
        "foreground = yes\npid =\ndebug = 4\n[tls]\naccept = 127.0.0.1:{port}\nexec = /bin/cat\ncert = {certificate}\nkey = {key}\n\
         CAfile = {ca}\n{verify}sslVersion = {version}\n"
    );
    let config = setup.directory.join("stunnel.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/bin/stunnel4");
    command.arg(config);
    Ok(command)
}

pub(crate) fn http(setup: &Setup<'_>, _: &Files, port: u16) -> Result<Command, Failure> {
    let directory = setup.directory.display();
    let text = format!(
        "daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{ }}
http {{ access_log off; client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e; server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }} }}\n"
    );
    let config = setup.directory.join("nginx.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(config).arg("-e").arg("stderr");
    Ok(command)
}
