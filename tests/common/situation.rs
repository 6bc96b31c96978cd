//! Networks of a test's own: this host, a router, and the peer's host, each a network namespace, with names, routes, filters and
//! packet sizes as a case wants them. Everything ends with the process that holds the namespaces.
//!
//! ```text
//! this host 10.77.1.1 ── 10.77.1.254 router 10.77.2.254 ── 10.77.2.2 the peer's host
//!   fd77:1::1                fd77:1::fe    fd77:2::fe        fd77:2::2
//! ```

use std::path::Path;
use std::process::Command;

use nssight_fixtures::authority::Identity;
use nssight_fixtures::nssdb::DbFormat;

use super::{Case, NICKNAME, PKI, Run, run_beside};

/// The peer's address.
pub const PEER: &str = "10.77.2.2";
/// Where its server listens.
pub const PORT: u16 = 44334;

const BEGIN: &str = r#"
ip link set lo up
space() {
    unshare --net sh -c 'ip link set lo up && : >"$0" && exec sleep infinity' "$dir/$1" >/dev/null 2>&1 &
    until [ -e "$dir/$1" ]; do sleep 0.01; done
}
space router; router=$!
space peer; peer=$!
in_router() { nsenter --target "$router" --net "$@"; }
in_peer() { nsenter --target "$peer" --net "$@"; }
ip link add near type veth peer name near netns "$router"
in_router ip link add far type veth peer name far netns "$peer"
for way in "" in_router; do $way ip link set near up; done
for way in in_router in_peer; do $way ip link set far up; done
ip address add 10.77.1.1/24 dev near; ip address add fd77:1::1/64 dev near nodad
in_router ip address add 10.77.1.254/24 dev near; in_router ip address add fd77:1::fe/64 dev near nodad
in_router ip address add 10.77.2.254/24 dev far; in_router ip address add fd77:2::fe/64 dev far nodad
in_peer ip address add 10.77.2.2/24 dev far; in_peer ip address add fd77:2::2/64 dev far nodad
ip route add default via 10.77.1.254; ip route add default via fd77:1::fe
in_peer ip route add default via 10.77.2.254; in_peer ip route add default via fd77:2::fe
in_router sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
hostname signer
instead() { mount --bind "$dir/$1" "/etc/$1"; }
instead hosts; instead nsswitch.conf; instead resolv.conf
# serve WHERE ADDRESS PORT OPTION...: a server of OpenSSL, from when it listens
serve() {
    where=$1 address=$2 port=$3; shift 3
    $where openssl s_server -accept "$address:$port" -cert "$dir/server.pem" -key "$dir/server.key" -CAfile "$dir/ca.pem" -quiet "$@" \
        >/dev/null 2>&1 </dev/null &
    until $where ss -Hltn "sport = :$port" | grep -q .; do kill -0 $!; sleep 0.01; done
}
# dns RECORD...: a name server at the router
dns() {
    in_router dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --user=root --group=root --pid-file= \
        --listen-address=10.77.1.254 --bind-interfaces --no-negcache "$@" >/dev/null 2>&1 &
    until in_router ss -Hlun 'sport = :53' | grep -q .; do kill -0 $!; sleep 0.01; done
}
filter() { $1 nft -f -; }
# A listener that takes nobody, its queue full.
queue() {
    python3 -c '
import socket, sys
address = (sys.argv[1], int(sys.argv[2]))
server = socket.socket()
server.bind(address)
server.listen(0)
held = []
try:
    while True:
        one = socket.socket()
        one.settimeout(0.2)
        one.connect(address)
        held.append(one)
except TimeoutError:
    print(len(held), flush=True)
input()' "$2" "$3" <"$dir/hold" >"$dir/queued" &
    until [ -s "$dir/queued" ]; do kill -0 $!; sleep 0.01; done
}
# Connections that stay.
hold() {
    python3 -c '
import socket, sys
held = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(int(sys.argv[3]))]
print(len(held), flush=True)
input()' "$1" "$2" "$3" <"$dir/hold" >"$dir/held" &
    until [ -s "$dir/held" ]; do kill -0 $!; sleep 0.01; done
}
mkfifo "$dir/hold"; sleep infinity >"$dir/hold" &
stop_server() { kill -STOP "$(in_peer ss -Hltnp 'sport = :44334' | sed 's/.*pid=\([0-9]*\).*/\1/')"; }
"#;

/// One such network.
pub struct Situation {
    case: Case,
    server: Identity,
    hosts: String,
    switch: String,
    resolver: String,
    setup: String,
}

impl Situation {
    /// Everything works; the peer's certificate is for `names`.
    pub fn new(names: &[&str]) -> Self {
        use nssight_fixtures::authority::{Spec, Usage};
        let server = PKI.ca.issue(&Spec::new("peer", Usage::Server).names(names)).unwrap();
        Self::with(server)
    }

    /// With this certificate of the peer.
    pub fn with(server: Identity) -> Self {
        Self {
            case: Case::new(),
            server,
            hosts: "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 signer\n".to_owned(),
            switch: "hosts: files dns\n".to_owned(),
            resolver: "nameserver 10.77.1.254\noptions timeout:1 attempts:1\n".to_owned(),
            setup: String::new(),
        }
    }

    /// More lines of the hosts file.
    pub fn hosts(mut self, lines: &str) -> Self {
        self.hosts.push_str(&format!("{lines}\n"));
        self
    }

    /// The order of sources.
    pub fn switch(mut self, order: &str) -> Self {
        self.switch = format!("hosts: {order}\n");
        self
    }

    /// More lines of resolv.conf.
    pub fn resolver(mut self, lines: &str) -> Self {
        self.resolver.push_str(&format!("{lines}\n"));
        self
    }

    /// Commands, with what the script above has.
    pub fn with_setup(mut self, commands: &str) -> Self {
        self.setup.push_str(&format!("{commands}\n"));
        self
    }

    /// The usual server at the peer's host.
    pub fn serving(self) -> Self {
        self.with_setup(&format!("serve in_peer {PEER} {PORT} -Verify 1 -verify_return_error"))
    }

    /// Diagnoses the peer under this name.
    pub fn diagnose(&self, host: &str) -> Run {
        self.diagnose_with(&format!("{host}:{PORT}"), &[])
    }

    /// With more options.
    pub fn diagnose_with(&self, bridge: &str, options: &[&str]) -> Run {
        let case = &self.case;
        let database = case.database(DbFormat::Sql);
        let password = case.password_file();
        case.file("hosts", &self.hosts);
        case.file("nsswitch.conf", &self.switch);
        case.file("resolv.conf", &self.resolver);
        case.file("server.pem", self.server.certificate.to_pem().unwrap());
        case.file("server.key", self.server.key.private_key_to_pem_pkcs8().unwrap());
        case.file("ca.pem", PKI.ca.certificate.to_pem().unwrap());
        let script = format!("dir=$1; shift\n{BEGIN}\n{}\n\"$@\"\n", self.setup);
        let script = case.file("situation.sh", script);
        // Of a process that ends as the first of its namespace, all others are ended by the kernel (pid_namespaces(7)).
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-eu"]);
        command.arg(script).arg(case.dir.path()).args(arguments(&database, &password, bridge)).args(options);
        command.env_remove("NSS_DEFAULT_DB_TYPE").env_remove("LOCALDOMAIN").env_remove("RES_OPTIONS");
        run_beside(&mut command, &database)
    }
}

fn arguments(database: &Path, password: &Path, bridge: &str) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let own = ["diagnose", "--format", "json", "--timeout", "4", "--nickname", NICKNAME, "--bridge", bridge];
    let files = ["--db".to_owned(), text(database), "--password-file".to_owned(), text(password)];
    let program = std::iter::once(env!("CARGO_BIN_EXE_nssight").to_owned());
    program.chain(own.map(str::to_owned)).chain(files).collect()
}
