//! The real programs of Siguldry, built by `scripts/siguldry`: the bridge, the server with its signer, and the client.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::ports;

/// The user that the server knows.
pub const USER: &str = "alice";
/// The name in the server's certificate; it is never looked up.
pub const SERVER: &str = "server.example.com";
/// Maximum run time of a Siguldry client that runs until it is ended.
const PATIENCE: Duration = Duration::from_secs(60);

fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/siguldry-0.8.0/bin").join(name);
    assert!(path.exists(), "{} must be built: scripts/siguldry", path.display());
    path
}

/// Differences from a healthy deployment.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Without {
    pub server: bool,
    pub signer: bool,
    /// The server has no such user.
    pub user: bool,
    /// Its database does not exist yet.
    pub database: bool,
}

/// The identities of a deployment, from one CA unless stated otherwise.
pub struct Identities {
    pub authority: Identity,
    pub bridge: Identity,
    pub server: Identity,
    pub client: Identity,
}

impl Identities {
    pub fn new() -> Self {
        let authority = Identity::authority("Lab CA").unwrap();
        Self {
            bridge: authority.issue(&Spec::new("bridge", Usage::Server).names(&["localhost"])).unwrap(),
            server: authority.issue(&Spec::new("server", Usage::Both).names(&[SERVER])).unwrap(),
            client: authority.issue(&Spec::new(USER, Usage::Client)).unwrap(),
            authority,
        }
    }
}

/// A running deployment; it ends when it is dropped.
pub struct Stack {
    pub directory: tempfile::TempDir,
    pub client_port: u16,
    pub server_port: u16,
    bridge: Child,
    server: Option<Child>,
    signer: Option<Child>,
}

impl Drop for Stack {
    fn drop(&mut self) {
        for child in [Some(&mut self.bridge), self.server.as_mut(), self.signer.as_mut()].into_iter().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Stack {
    pub fn start(identities: &Identities, without: Without) -> Self {
        let directory = tempfile::Builder::new().prefix("nssight-siguldry-").tempdir().unwrap();
        let path = directory.path();
        write_identity(path, "bridge", &identities.bridge);
        write_identity(path, "server", &identities.server);
        write_identity(path, "client", &identities.client);
        fs::write(path.join("ca.pem"), identities.authority.certificate.to_pem().unwrap()).unwrap();
        fs::create_dir(path.join("state")).unwrap();
        let (client_port, server_port, bridge) = start_bridge(path);
        let mut stack = Self { client_port, server_port, bridge, server: None, signer: None, directory };
        stack.write_server();
        stack.write_client(|text| text);
        if !without.database {
            stack.manage(&["migrate"]);
        }
        if !without.user {
            stack.manage(&["users", "create", USER]);
        }
        if !without.signer {
            stack.start_signer();
        }
        if !without.server {
            stack.start_server();
        }
        stack
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes the client's configuration with a change.
    pub fn write_client(&self, change: impl Fn(String) -> String) {
        let own = format!(
            "server_hostname = \"{SERVER}\"\nbridge_hostname = \"localhost\"\nbridge_port = {}\n",
            self.client_port
        );
        let text = format!("{own}keys = []\nrequest_timeout = 5\n\n{}", credentials("client"));
        fs::write(self.path("client.toml"), change(text)).unwrap();
    }

    /// Writes the configuration and files of another client.
    pub fn write_other_client(&self, name: &str, identity: &Identity) {
        write_identity(self.directory.path(), name, identity);
        let text = fs::read_to_string(self.path("client.toml")).unwrap().replace("\"client.", &format!("\"{name}."));
        fs::write(self.path(&format!("{name}.toml")), text).unwrap();
    }

    /// Starts a client with this configuration. It requests its own identity repeatedly until it is ended, and logs successes, too.
    pub fn spawn_client(&self, name: &str) -> Child {
        let (out, err) = self.log(name);
        let mut command = self.command("siguldry-client");
        command.args(["--log-filter", "siguldry=info", "-c"]).arg(format!("{name}.toml"));
        command.arg("--credentials-directory").arg(self.directory.path()).arg("whoami");
        command.stdout(out).stderr(err).spawn().unwrap()
    }

    fn write_server(&self) {
        let (state, socket) = (self.path("state"), self.path("signer.socket"));
        let text = format!(
            "state_directory = {state:?}\nsigner_socket_path = {socket:?}\nbridge_hostname = \"localhost\"\n\
             bridge_port = {}\nconnection_pool_size = 2\nuser_password_length = 32\n\
             openpgp_user_id = \"Lab <lab@example.com>\"\npkcs11_bindings = []\n\n{}\n[certificate_subject]\n\
             country = \"US\"\nstate_or_province = \"S\"\nlocality = \"L\"\norganization = \"O\"\norganizational_unit = \"U\"\n",
            self.server_port,
            credentials("server")
        );
        fs::write(self.path("server.toml"), text).unwrap();
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command.current_dir(self.directory.path()).env("CREDENTIALS_DIRECTORY", self.directory.path());
        command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
        command
    }

    pub fn manage(&self, words: &[&str]) {
        let mut command = self.command("siguldry-server");
        let output = command.args(["-c", "server.toml", "manage"]).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
    }

    fn log(&self, name: &str) -> (fs::File, fs::File) {
        let file = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        (file.try_clone().unwrap(), file)
    }

    fn start_signer(&mut self) {
        let (out, err) = self.log("signer");
        let mut command = Command::new("systemd-socket-activate");
        command.arg("-l").arg(self.path("signer.socket")).args(["-a", "--inetd"]).arg(program("siguldry-signer"));
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        self.signer = Some(child.expect("systemd-socket-activate must be installed (make deps)"));
        let socket = self.path("signer.socket");
        until("the signer's socket", || socket.exists());
    }

    /// Starts the server, and waits until the bridge has its connection.
    pub fn start_server(&mut self) {
        let before = self.count_in("bridge", "role=Server");
        self.server = Some(self.spawn_server());
        until("a connection of the server", || self.count_in("bridge", "role=Server") > before);
    }

    /// Starts a server without waiting: one that the bridge refuses.
    pub fn spawn_server(&self) -> Child {
        let (out, err) = self.log("server");
        let mut command = self.command("siguldry-server");
        command.args(["-c", "server.toml", "listen"]).stdout(out).stderr(err).spawn().unwrap()
    }

    pub fn keep(&mut self, server: Child) {
        self.server = Some(server);
    }

    /// Ends the server; the bridge keeps its connection.
    pub fn stop_server(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// Sends the server a signal.
    pub fn signal_server(&self, signal: rustix::process::Signal) {
        let server = self.server.as_ref().unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(server), signal).unwrap();
    }

    pub fn text_of(&self, log: &str) -> String {
        let mut bytes = Vec::new();
        fs::File::open(self.path(&format!("{log}.log"))).unwrap().read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The number of occurrences of these words in a log.
    pub fn count_in(&self, log: &str, words: &str) -> usize {
        self.text_of(log).matches(words).count()
    }

    /// Whether the bridge reports connections to the client port, from clients or others.
    pub fn greets(&self) -> bool {
        let mut command = self.command("siguldry-client");
        command.args(["-c", "client.toml", "--credentials-directory"]).arg(self.directory.path()).arg("whoami");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(&format!("Hello, {USER}"))
    }
}

fn write_identity(directory: &Path, name: &str, identity: &Identity) {
    fs::write(directory.join(format!("{name}.pem")), identity.certificate.to_pem().unwrap()).unwrap();
    fs::write(directory.join(format!("{name}.key")), identity.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
}

fn credentials(name: &str) -> String {
    format!("[credentials]\nprivate_key = \"{name}.key\"\ncertificate = \"{name}.pem\"\nca_certificate = \"ca.pem\"\n")
}

/// A bridge requires explicit ports and reports none that the kernel chose, so the kernel is asked for free ports first; another process
/// may be quicker.
fn start_bridge(path: &Path) -> (u16, u16, Child) {
    for _ in 0..20 {
        let free: [TcpListener; 2] = [ports::listen().unwrap(), ports::listen().unwrap()];
        let [clients, servers] = free.each_ref().map(|listener| listener.local_addr().unwrap().port());
        drop(free);
        let addresses = format!(
            "server_listening_address = \"{0}:{servers}\"\nclient_listening_address = \"{0}:{clients}\"\n",
            Ipv4Addr::LOCALHOST
        );
        fs::write(path.join("bridge.toml"), format!("{addresses}\n{}", credentials("bridge"))).unwrap();
        let log = fs::File::create(path.join("bridge.log")).unwrap();
        let mut command = Command::new(program("siguldry-bridge"));
        command.current_dir(path).args(["-c", "bridge.toml", "listen", "--credentials-directory"]).arg(path);
        command.env_remove("RUST_BACKTRACE").stdin(Stdio::null());
        let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        if is_listening(&mut child, [clients, servers]) {
            return (clients, servers, child);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
    panic!("the bridge found no free ports: {}", fs::read_to_string(path.join("bridge.log")).unwrap());
}

/// Whether this process listens on both ports. A test connection is not possible, since the bridge would take it for a client.
fn is_listening(child: &mut Child, ports: [u16; 2]) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let listens = |port: u16| {
            let address = format!("0100007F:{port:04X}");
            table.lines().any(|line| {
                let mut fields = line.split_whitespace().skip(1);
                fields.next() == Some(address.as_str()) && fields.nth(1) == Some("0A")
            })
        };
        if ports.into_iter().all(listens) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
