//! Lists the users of a Sigul server with the Sigul client that the library of the siguldry crate contains.
//!
//! It is an independent implementation over OpenSSL: TLS 1.2 in both sessions, certificates in PEM files. Its options are the
//! keys of a client's configuration. The users go to standard output, the library's log to standard error.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use siguldry::v1::client::{Client, Password, TlsConfig};
use siguldry::v1::error::ClientError;
use tracing_subscriber::EnvFilter;

#[derive(Parser)]
// The version of the library that runs the sessions is what matters when clients are compared.
#[command(version = openssl::version::version(), about)]
struct Options {
    #[arg(long, value_name = "HOST")]
    bridge_hostname: String,
    #[arg(long, value_name = "PORT", default_value_t = 44334)]
    bridge_port: u16,
    #[arg(long, value_name = "HOST")]
    server_hostname: String,
    #[arg(long, value_name = "NAME")]
    user_name: String,
    #[arg(long, value_name = "PEM")]
    certificate: PathBuf,
    #[arg(long, value_name = "PEM")]
    private_key: PathBuf,
    #[arg(long, value_name = "PEM")]
    ca_certificate: PathBuf,
    /// Its first line is the administrator's password
    #[arg(long, value_name = "FILE")]
    admin_password_file: PathBuf,
    /// What of the library's log is printed
    #[arg(long, value_name = "FILTER", default_value = "siguldry=info")]
    log_filter: EnvFilter,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt().with_env_filter(options.log_filter.clone()).with_writer(std::io::stderr).init();
    // The library panics on an unexpected reply. That is reported as an error like any other, in one line.
    std::panic::set_hook(Box::new(|panic| eprintln!("Error: {}", panic.to_string().replace('\n', " "))));
    match users(options) {
        Ok(users) => {
            users.iter().for_each(|user| println!("{user}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("Error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn users(options: Options) -> Result<Vec<String>, ClientError> {
    let password = Password::try_from(options.admin_password_file.as_path())?;
    let tls = TlsConfig::new(&options.certificate, &options.private_key, None, &options.ca_certificate)?;
    let client =
        Client::new(tls, options.bridge_hostname, options.bridge_port, options.server_hostname, options.user_name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(client.users(password))
}
