//! Stores the last results on disk, one file per target. After a restart, certificate dates are known at once, and cached
//! results avoid new checks.

use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use nssight_probes::files;
use nssight_probes::report::Subject;
use nssight_probes::{Report, SeenCertificate};
use nssight_reports::sink;
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use super::history::History;
use super::log;
use super::walked::Walked;

const SCHEMA: &str = "nssight/exporter-state/1";
/// A few hundred times the size of a usual result.
const FILE_AT_MOST: u64 = 16 * 1024 * 1024;
/// Maximum number of threads that wait for a file system that does not respond; more checks than this never end at the same moment.
const WAITING_AT_MOST: usize = 64;

/// The content of a file.
#[derive(Serialize, Deserialize)]
struct Kept<Reports, Certificates, Verdicts: Default> {
    schema: String,
    /// The target's name, from which the file name is derived.
    name: String,
    labels: std::collections::BTreeMap<String, String>,
    tries: u32,
    duration_ns: u64,
    /// Nanoseconds since 1970; enough until 2554.
    ended_ns: u64,
    report: Reports,
    remembered: Certificates,
    /// Files of earlier versions have none.
    #[serde(default)]
    history: Verdicts,
}

/// The directory of the results.
pub(super) struct Store {
    directory: PathBuf,
    /// Number of threads that wait for the file system.
    waiting: Arc<AtomicUsize>,
    figures: Arc<Figures>,
}

impl Store {
    /// Creates the directory if necessary, readable only by its owner, and removes the temporary files of a killed exporter.
    pub(super) fn open(directory: &Path, figures: Arc<Figures>) -> io::Result<Self> {
        let store = Self { directory: directory.to_owned(), waiting: Arc::default(), figures };
        store.within(directory, |directory| {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            sink::remove_orphans(directory);
            Ok(())
        })?;
        Ok(store)
    }

    /// Limits the wait for a file system that does not respond, and the number of threads that wait for it.
    fn within<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if self.waiting.load(Ordering::Relaxed) >= WAITING_AT_MOST {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "its file system does not answer"));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.clone();
        let counted = move |path: &Path| {
            let done = work(path);
            waiting.fetch_sub(1, Ordering::Relaxed);
            done
        };
        files::within(path, files::PATIENCE, counted)
    }

    /// A target's name may contain any character; its hash is always a valid file name.
    fn path(&self, name: &str) -> PathBuf {
        let hash = openssl::sha::sha256(name.as_bytes());
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{digits}.json"))
    }

    /// The stored result of a target; `None`, with a line in the log, if it is unreadable.
    pub(super) fn read(&self, name: &str) -> Option<Walked> {
        let path = self.path(name);
        let own = name.to_owned();
        match self.within(&path, move |path| load(path, &own)) {
            Ok(walked) => Some(walked),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                log::warn(format_args!("{name}: ignoring the result in {}: {error}", path.display()));
                None
            }
        }
    }

    /// Replaces the stored result. A result that cannot be stored is lost only at the next restart, so the log reports it once.
    pub(super) fn write(&self, walked: &Walked) {
        match self.save(walked) {
            Ok(()) if self.figures.state_kept() => log::info(format_args!("results can be saved again")),
            Ok(()) => {}
            Err(error) if self.figures.state_failed() => log::warn(format_args!(
                "cannot save results in {}: {error}; the exporter continues without saving, and logs when saving works again",
                self.directory.display()
            )),
            Err(_) => {}
        }
    }

    /// Writes the whole file or none: after a crash or on a full disk, the old file remains.
    fn save(&self, walked: &Walked) -> io::Result<()> {
        let subject = &walked.subject;
        let since = walked.ended.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let kept = Kept {
            schema: SCHEMA.to_owned(),
            name: subject.name.clone(),
            labels: subject.labels.clone(),
            tries: subject.tries,
            duration_ns: u64::try_from(subject.duration.as_nanos()).unwrap_or(u64::MAX),
            ended_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
            report: &subject.report,
            remembered: &walked.remembered,
            history: Some(&walked.history),
        };
        let bytes = serde_json::to_vec(&kept)?;
        let directory = self.directory.clone();
        self.within(&self.path(&subject.name), move |path| {
            let mut file = sink::unnamed(&directory, 0o600)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            sink::give_name(file, path, true)
        })
    }
}

fn load(path: &Path, name: &str) -> io::Result<Walked> {
    let mut bytes = Vec::new();
    files::regular(path)?.take(FILE_AT_MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_AT_MOST {
        return Err(io::Error::other("it is too large"));
    }
    let kept: Kept<Report, Vec<SeenCertificate>, History> = serde_json::from_slice(&bytes)?;
    if kept.schema != SCHEMA || kept.name != name {
        return Err(io::Error::other("it is not a file of results"));
    }
    let ended = SystemTime::UNIX_EPOCH.checked_add(Duration::from_nanos(kept.ended_ns));
    let ended = ended.ok_or_else(|| io::Error::other("its time is invalid"))?;
    let subject = Subject {
        name: kept.name,
        labels: kept.labels,
        report: kept.report,
        tries: kept.tries,
        duration: Duration::from_nanos(kept.duration_ns),
        written_at: None,
    };
    Ok(Walked::of(subject, ended, kept.remembered, kept.history))
}
