//! Many targets: from a file in TOML, or from the configurations of clients; and the check of each.

mod file;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nssight_probes::expiry::Thresholds;
use nssight_probes::files;
use nssight_probes::report::Place;
use nssight_probes::settings::{FileOverrides, Overrides, Request};
use nssight_probes::target::PasswordSource;
use nssight_probes::{Plan, Settings};
use toml::Spanned;

pub use walk::{Told, Tries, Waiting, work};

use file::{Asks, Entry, File, Parsed, Part, Variable};

/// Time that one layer may take, unless the file sets another.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a target may take, all attempts together, unless the file sets another.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two attempts, unless the file sets another: a refused server reconnects after five seconds.
const RETRY_SPACING: Duration = Duration::from_secs(5);
/// A hundred thousand targets need less.
const FILE_AT_MOST: u64 = 64 * 1024 * 1024;

/// One target, as it is to be checked. Configuration and passwords are read when it is checked, and read again the next
/// time.
#[derive(Debug, Clone)]
pub struct CheckTarget {
    /// Unique among the targets of a run.
    pub name: String,
    /// For selection, and passed on to reports and metrics.
    pub labels: BTreeMap<String, String>,
    /// The configuration of a client, in the form of its profile.
    pub config: Option<PathBuf>,
    /// Settings that override the configuration.
    pub overrides: Overrides,
    /// The source of the database's password; without one, that of the configuration.
    pub password: Option<PasswordSource>,
    /// The source of the administrator's password.
    pub admin_password: Option<PasswordSource>,
    /// The layers.
    pub plan: Plan,
    /// Time that one layer may take.
    pub timeout: Duration,
    /// Time that all attempts may take together.
    pub deadline: Duration,
    /// How often a failure that may pass is retried.
    pub retries: u32,
    /// Time between two attempts.
    pub retry_spacing: Duration,
    /// How long any failure is retried; each attempt has the whole deadline then.
    pub wait: Option<Duration>,
    /// Its place in a targets file.
    pub written_at: Option<Place>,
    /// Environment variables with passwords, of all targets of the file: no worker receives them.
    secret_variables: Arc<[String]>,
}

/// The targets of a file.
#[derive(Debug)]
pub struct TargetsFile {
    /// At least one; names are unique.
    pub targets: Vec<CheckTarget>,
}

impl TargetsFile {
    /// Reads a targets file. Relative paths in it are relative to its own directory.
    ///
    /// # Errors
    /// One line that names file, line and key.
    pub fn load(path: &Path) -> Result<Self, String> {
        let origin = path.display().to_string();
        let text = read(path).map_err(|error| format!("{origin}: {error}"))?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&origin, &text, directory)
    }

    /// Reads the text of a targets file, which comes from `origin`.
    ///
    /// # Errors
    /// As for [`TargetsFile::load`].
    pub fn parse(origin: &str, text: &str, directory: &Path) -> Result<Self, String> {
        let File { defaults, target: entries } = file::parse(origin, text)?;
        let file = Source { origin, text, directory };
        if let Some(name) = &defaults.name {
            return Err(file.at(&name.span(), "a name belongs to one [[target]], not to [defaults]"));
        }
        if entries.is_empty() {
            return Err(format!("{origin}: there is no [[target]] in this file"));
        }
        let mut targets = Vec::with_capacity(entries.len());
        let mut lines: HashMap<String, usize> = HashMap::new();
        for entry in entries {
            let span = entry.span();
            let mut target = file.target(entry, &defaults)?;
            let line = file::line(text, &span);
            target.written_at = Some(Place { file: origin.to_owned(), line: Some(line) });
            if let Some(earlier) = lines.insert(target.name.clone(), line) {
                let message = format!(
                    "the name {:?} already belongs to the target at line {earlier}; rename one of these targets",
                    target.name
                );
                return Err(file.at(&span, &message));
            }
            targets.push(target);
        }
        Ok(Self { targets: hide_variables(targets) })
    }

    /// A target for each configuration, named after its file.
    ///
    /// # Errors
    /// When a file is named twice.
    pub fn of_configs(configs: &[PathBuf]) -> Result<Self, String> {
        let mut seen = BTreeSet::new();
        let targets = configs.iter().map(|config| {
            let name = config.display().to_string();
            match seen.insert(config) {
                true => Ok(CheckTarget { config: Some(config.clone()), ..CheckTarget::bare(name) }),
                false => Err(format!("{name} was given twice")),
            }
        });
        Ok(Self { targets: targets.collect::<Result<_, _>>()? })
    }
}

/// Every target has the list of all variables that hold a password: the worker of one must not have that of another.
fn hide_variables(mut targets: Vec<CheckTarget>) -> Vec<CheckTarget> {
    let sources = targets.iter().flat_map(|target| [&target.password, &target.admin_password]).flatten();
    let names: BTreeSet<&String> = sources
        .filter_map(|source| match source {
            PasswordSource::Env(name) => Some(name),
            _ => None,
        })
        .collect();
    let names: Arc<[String]> = names.into_iter().cloned().collect();
    targets.iter_mut().for_each(|target| target.secret_variables = names.clone());
    targets
}

impl CheckTarget {
    fn bare(name: String) -> Self {
        // All probes, with none left out: such a plan is always valid.
        let plan = Plan::whole();
        Self {
            name,
            labels: BTreeMap::new(),
            config: None,
            overrides: Overrides::default(),
            password: None,
            admin_password: None,
            plan,
            timeout: TIMEOUT,
            deadline: DEADLINE,
            retries: 0,
            retry_spacing: RETRY_SPACING,
            wait: None,
            written_at: None,
            secret_variables: Arc::default(),
        }
    }

    /// The configuration, overridden by the settings of the file, read now.
    fn settings(&self) -> (Settings, Option<nssight_probes::secret::Password>) {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Settings::load(&Request {
            config: self.config.as_deref(),
            overrides: &self.overrides,
            password: self.password.clone(),
            until: self.plan.until,
            timeout: self.timeout,
            home: home.as_deref(),
        })
    }
}

/// The number of parallel checks by default: a check mostly waits, so a host with few CPUs runs more checks than it has CPUs.
pub fn jobs_by_default() -> usize {
    const AT_LEAST: usize = 4;
    thread::available_parallelism().map_or(AT_LEAST, |cpus| AT_LEAST.max(cpus.get()))
}

/// The bridge that a target's check connects to, as `host:port`. Checks with the same key must not run at the same time,
/// since a bridge serves one client after the other. `None` if the check opens no connection. Names are compared, and not
/// the addresses that they resolve to, except for `localhost`.
pub fn queue_key(target: &CheckTarget) -> Option<String> {
    if target.plan.connections() == 0 {
        return None;
    }
    let bridge = match &target.overrides.bridge {
        Some(bridge) => bridge.clone(),
        None => {
            let found = target.settings().0.target.ok()?;
            found.no_network.is_none().then_some(found.bridge?.value)?
        }
    };
    let host = bridge.host.trim_end_matches('.').to_lowercase();
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => address.to_canonical().to_string(),
        Ok(address) => address.to_string(),
        Err(_) if host == "localhost" => "127.0.0.1".to_owned(),
        Err(_) => host,
    };
    Some(format!("{host}:{}", bridge.port))
}

fn read(path: &Path) -> Result<String, String> {
    let bytes = files::whole(path, FILE_AT_MOST, files::regular_or_given).map_err(|error| error.to_string())?;
    let Some(bytes) = bytes else { return Err(format!("it has more than {FILE_AT_MOST} bytes")) };
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8, which TOML requires")
    })
}

/// The file that entries are read from.
struct Source<'a> {
    origin: &'a str,
    text: &'a str,
    directory: &'a Path,
}

impl Source<'_> {
    fn at(&self, span: &Range<usize>, message: &str) -> String {
        file::at(self.origin, self.text, span, message)
    }

    /// The target that an entry and the defaults make together; the entry overrides the defaults.
    fn target(&self, entry: Spanned<Entry>, defaults: &Entry) -> Result<CheckTarget, String> {
        let span = entry.span();
        let entry = entry.into_inner();
        let config = entry.config.as_ref().or(defaults.config.as_ref());
        let database = entry.db.as_ref().or(defaults.db.as_ref());
        let files = self.files(&entry, defaults);
        let peer = entry.peer.as_ref().or(defaults.peer.as_ref()).map(|peer| peer.get_ref().0.clone());
        let serves = entry.role.or(defaults.role) == Some(Part::Server);
        if let Some(peer) = entry.peer.as_ref().filter(|_| serves) {
            return Err(self.at(
                &peer.span(),
                "the role server checks this host's own identity and opens no connection: give no peer",
            ));
        }
        // The peer of the defaults is only for targets that connect.
        let peer = peer.filter(|_| !serves);
        if config.is_none() && database.is_none() && !files.any() && peer.is_none() {
            return Err(self.at(&span, "this target names neither a config, nor a db, nor files, nor a peer"));
        }
        let plain = peer.is_some() && config.is_none();
        let bridge = entry.bridge.as_ref().or(defaults.bridge.as_ref()).map(|bridge| bridge.0.clone());
        let bridge = bridge.filter(|_| !serves);
        let own_peer = entry.peer.as_ref().map(|peer| peer.get_ref().0.endpoint.to_string());
        let starttls = entry.starttls.as_ref().or(defaults.starttls.as_ref()).map(|protocol| protocol.0);
        let starttls = starttls.or(peer.as_ref().and_then(|peer| peer.starttls));
        let bridge = peer.map(|peer| peer.endpoint).or(bridge);
        let named = entry.name.as_ref().map(|name| name.get_ref().0.clone());
        // A target is distinguished from the others by its own settings, and not by those from the defaults.
        let own_config = entry.config.as_ref().map(|path| path.display().to_string());
        let own_bridge = entry.bridge.as_ref().map(|bridge| bridge.0.to_string());
        let name = named.or(own_config).or(own_peer).or(own_bridge).or_else(|| entry.db.clone());
        let Some(name) = name else {
            return Err(self.at(&span, "this target has no setting that could serve as its name; give it a name"));
        };
        let overrides = Overrides {
            database: database.map(|argument| self.database(argument)),
            nickname: entry.nickname.or_else(|| defaults.nickname.clone()),
            credentials_directory: None,
            bridge,
            files,
            serves,
            plain,
            server_name: entry.servername.as_ref().or(defaults.servername.as_ref()).map(|name| name.0.0.clone()),
            family: None,
            starttls,
            proxy: entry.proxy.as_ref().or(defaults.proxy.as_ref()).map(|proxy| proxy.0.0.clone()),
            alpn: entry.alpn.as_ref().or(defaults.alpn.as_ref()).map(|names| names.0.0.clone()).unwrap_or_default(),
            engine: entry.engine.as_ref().or(defaults.engine.as_ref()).map(|engine| engine.0),
            shows_certificates: false,
            server: entry.server.as_ref().or(defaults.server.as_ref()).map(|host| host.0.0.clone()),
            user: entry.user.or_else(|| defaults.user.clone()),
            tls_min: entry.tls_min.as_ref().or(defaults.tls_min.as_ref()).map(|version| version.0),
            tls_max: entry.tls_max.as_ref().or(defaults.tls_max.as_ref()).map(|version| version.0),
            connect: entry.connect.or(defaults.connect).unwrap_or(false),
            load_modules: entry.load_modules.or(defaults.load_modules).unwrap_or(false),
            patience: entry.patience.or(defaults.patience).map(|seconds| seconds.0),
            question: entry.probe.or(defaults.probe).and_then(Asks::question),
            thresholds: Thresholds::of(
                entry.warn_days.or(defaults.warn_days),
                entry.critical_days.or(defaults.critical_days),
            )
            .map_err(|error| self.at(&span, &error))?,
        };
        overrides.fits_together(config.is_some()).map_err(|error| self.at(&span, &error))?;
        let own = self.password("password", &entry.password_file, &entry.password_env)?;
        let usual = self.password("password", &defaults.password_file, &defaults.password_env)?;
        let own_admin = self.password("admin-password", &entry.admin_password_file, &entry.admin_password_env)?;
        let usual_admin =
            self.password("admin-password", &defaults.admin_password_file, &defaults.admin_password_env)?;
        let until = entry.until.as_ref().or(defaults.until.as_ref());
        let excluded = entry.exclude.as_ref().or(defaults.exclude.as_ref());
        let excluded = excluded.into_iter().flatten().map(|layer| layer.0).collect();
        let until_layer = until.map(|layer| layer.get_ref().0);
        let plan = if serves { Plan::of_a_server(until_layer, excluded) } else { Plan::new(until_layer, excluded) };
        let plan = plan.map_err(|error| self.at(&until.map_or(span, Spanned::span), &error.to_string()))?;
        let labels = defaults.labels.iter().chain(&entry.labels).map(|(key, value)| (key.0.clone(), value.clone()));
        let usual_numbers = CheckTarget::bare(name);
        Ok(CheckTarget {
            labels: labels.collect(),
            config: config.map(|path| self.directory.join(path)),
            overrides,
            password: own.or(usual),
            admin_password: own_admin.or(usual_admin),
            plan,
            timeout: entry.timeout.or(defaults.timeout).map_or(TIMEOUT, |seconds| seconds.0),
            deadline: entry.deadline.or(defaults.deadline).map_or(DEADLINE, |seconds| seconds.0),
            retries: entry.retries.or(defaults.retries).map_or(0, |retries| retries.0),
            retry_spacing: entry.retry_spacing.or(defaults.retry_spacing).map_or(RETRY_SPACING, |spacing| spacing.0),
            ..usual_numbers
        })
    }

    /// Files of an entry and of the defaults; the entry's own files are never mixed with a database of the defaults.
    fn files(&self, entry: &Entry, defaults: &Entry) -> FileOverrides {
        if entry.db.is_some() || entry.config.is_some() {
            return FileOverrides::default();
        }
        let path = |own: &Option<PathBuf>, usual: &Option<PathBuf>| {
            own.as_ref().or(usual.as_ref()).map(|path| self.directory.join(path))
        };
        FileOverrides {
            certificate: path(&entry.cert, &defaults.cert),
            key: path(&entry.key, &defaults.key),
            authorities: path(&entry.cacert, &defaults.cacert),
            directory: path(&entry.capath, &defaults.capath),
        }
    }

    /// NSS's argument, with its directory relative to that of the file.
    fn database(&self, argument: &str) -> OsString {
        let prefixes = ["sql:", "dbm:", "extern:", "multiaccess:"];
        let prefix = prefixes.into_iter().find(|prefix| argument.starts_with(prefix)).unwrap_or_default();
        // multiaccess: is followed by a name, and a missing directory is reported by the config layer.
        if prefix == "multiaccess:" || argument.len() == prefix.len() {
            return argument.into();
        }
        let mut whole = OsString::from(prefix);
        whole.push(self.directory.join(&argument[prefix.len()..]));
        whole
    }

    fn password(
        &self,
        key: &str,
        path: &Option<Spanned<PathBuf>>,
        variable: &Option<Spanned<Parsed<Variable>>>,
    ) -> Result<Option<PasswordSource>, String> {
        match (path, variable) {
            (Some(_), Some(variable)) => {
                Err(self.at(&variable.span(), &format!("{key}-file and {key}-env exclude each other; use only one")))
            }
            (Some(path), None) => Ok(Some(PasswordSource::File(self.directory.join(path.get_ref())))),
            (None, Some(variable)) => Ok(Some(PasswordSource::Env(variable.get_ref().0.0.clone()))),
            (None, None) => Ok(None),
        }
    }
}
