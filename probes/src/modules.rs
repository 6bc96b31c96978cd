//! The modules that NSS would load for a database, examined before NSS opens it.
//!
//! A module is code, and the list of modules is stored next to the database. A user who can write there can run code in every process that
//! opens the database; if that process runs as root, this user gains full control.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nssight_diagnosis::Notes;
use nssight_diagnosis::fact::fact;
use nssight_nss::library;
use nssight_nssdb::directory::parse_argument;
use nssight_nssdb::modules::listed;
use nssight_nssdb::{Error, Format};

/// NSS's own modules; in the system directories they are as trustworthy as NSS itself.
const OWN: [&str; 4] = ["libnssckbi.so", "libsoftokn3.so", "libnssdbm3.so", "libnsssysinit.so"];
/// The system's library directories.
const SYSTEM: [&str; 4] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"];
/// The kernel follows as many links (path_resolution(7)).
const LINKS_AT_MOST: usize = 40;

/// A module that is not NSS's own.
#[derive(Debug)]
struct Foreign {
    library: String,
    /// The file, if the name leads to a file.
    path: Option<PathBuf>,
    list: &'static str,
}

/// The modules that NSS would load for a directory.
#[derive(Debug)]
pub struct Modules {
    directory: PathBuf,
    foreign: Vec<Foreign>,
    /// Why another user can change what is loaded, and which user.
    exposed: Option<String>,
    /// The list exists and cannot be read.
    unreadable: Option<Error>,
}

impl Modules {
    /// Examines a database as NSS is given it, in the format that NSS requests.
    pub fn of(argument: &OsStr, asked: Format) -> Self {
        let directory = PathBuf::from(parse_argument(argument).1);
        let (all, unreadable) = match listed(&directory, asked) {
            Ok(all) => (all, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let foreign: Vec<Foreign> = all
            .into_iter()
            .map(|it| Foreign { path: file_of(&it.library), library: it.library, list: it.list })
            .filter(|it| !is_own(it.path.as_deref()))
            .collect();
        let lists = ["pkcs11.txt", "secmod.db"].map(|list| directory.join(list));
        let files = foreign.iter().filter_map(|it| it.path.clone());
        let exposed = [directory.clone()].into_iter().chain(lists).chain(files).find_map(|path| exposed(&path));
        Self { directory, foreign, exposed, unreadable }
    }

    /// The list is not a regular file, so NSS would wait forever for its end.
    pub fn not_regular(&self) -> Option<&Error> {
        self.unreadable.as_ref().filter(|error| matches!(error, Error::NotRegular { .. }))
    }

    /// Libraries that are named and do not exist. A library named without a directory is left to the dynamic linker.
    pub fn missing(&self) -> Vec<String> {
        let gone = |it: &&Foreign| it.path.is_none() && it.library.contains('/');
        self.foreign.iter().filter(gone).map(|it| it.library.clone()).collect()
    }

    /// Names every module that is not NSS's own.
    pub fn describe(&self, notes: &mut Notes) {
        for module in &self.foreign {
            let file = match module.path.as_ref().map(|path| (path, fs::metadata(path))) {
                Some((path, Ok(seen))) => {
                    let (uid, mode) = (seen.uid(), seen.mode() & 0o7777);
                    format!("{}, uid {uid}, mode {mode:04o}", path.display())
                }
                _ => "no file with this name was found".to_owned(),
            };
            notes.put(fact::DB_FOREIGN_MODULE.text(format!("{} (in {}): {file}", module.library, module.list)));
        }
        if let Some(error) = &self.unreadable {
            notes.put(fact::DB_MODULES.text(error));
        }
    }

    /// Why root must not load these modules into NSS; `None` for any other user.
    pub fn refusal(&self) -> Option<String> {
        let exposed = self.exposed.as_ref().filter(|_| rustix::process::geteuid().is_root())?;
        let what = match (self.foreign.first(), &self.unreadable) {
            (Some(module), _) => format!("{} in {} names {}", module.list, self.directory.display(), module.library),
            (None, Some(error)) => error.to_string(),
            (None, None) => return None,
        };
        Some(format!(
            "{what}, and {exposed}: as root, nssight does not load such a module; use --load-modules to load it anyway"
        ))
    }

    /// Why only NSS's own module may be loaded here: there is no other now, but another user could add one at any moment.
    pub fn changeable(&self) -> Option<&str> {
        self.exposed.as_deref().filter(|_| rustix::process::geteuid().is_root())
    }
}

/// The file that the dynamic linker would load, if the name shows it.
fn file_of(library: &str) -> Option<PathBuf> {
    if library.contains('/') {
        return std::path::absolute(library).ok().filter(|path| path.exists());
    }
    let nss = nss_directory();
    let beside = nss.iter().flat_map(|nss| [nss.clone(), nss.join("nss")]);
    beside.chain(SYSTEM.map(PathBuf::from)).map(|directory| directory.join(library)).find(|path| path.is_file())
}

fn nss_directory() -> Option<PathBuf> {
    let (_, nss) = library::paths().into_iter().find(|(name, _)| *name == "nss")?;
    nss.canonicalize().ok()?.parent().map(Path::to_owned)
}

fn is_own(path: Option<&Path>) -> bool {
    let Some(path) = path else { return false };
    let named = path.file_name().is_some_and(|name| OWN.iter().any(|own| name == *own));
    // Only the directory is resolved, since a system may have made the file itself a link to another of its modules.
    let directory = path.parent().and_then(|directory| directory.canonicalize().ok());
    let system = directory.is_some_and(|directory| {
        SYSTEM.iter().any(|system| directory.starts_with(system)) || nss_directory().as_ref() == Some(&directory)
    });
    named && system && exposed(path).is_none()
}

/// The first component of a path, links included, that a user other than root can change or replace. `None` if there is no such component,
/// or if the rest is missing in a directory of root.
fn exposed(path: &Path) -> Option<String> {
    let path = std::path::absolute(path).ok()?;
    let mut left: VecDeque<OsString> = path.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::RootDir) => at = PathBuf::from("/"),
            _ => at.push(&part),
        }
        let seen = fs::symlink_metadata(&at).ok()?;
        if seen.uid() != 0 {
            return Some(format!("{} belongs to uid {}", at.display(), seen.uid()));
        }
        if seen.is_symlink() {
            links += 1;
            if links > LINKS_AT_MOST {
                return Some(format!("{} is a loop of symbolic links", path.display()));
            }
            let target = fs::read_link(&at).ok()?;
            at.pop();
            target.components().rev().for_each(|part| left.push_front(part.as_os_str().to_owned()));
            continue;
        }
        // In a sticky directory only root can move root's files; the owner of the next component is checked anyway. As a last component,
        // even a sticky directory may get new names.
        let kept = seen.is_dir() && seen.mode() & 0o1000 != 0 && !left.is_empty();
        if seen.mode() & 0o022 != 0 && !kept {
            return Some(format!(
                "users other than root can write to {} (mode {:04o})",
                at.display(),
                seen.mode() & 0o7777
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn files_writable_by_others_are_found_through_links() {
        assert_eq!(exposed(Path::new("/usr/bin/env")), None);
        assert!(exposed(Path::new("/tmp")).is_some(), "new names can be made in it");
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(exposed(directory.path()), None, "in a sticky directory");
        let open = directory.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        symlink("/usr/bin/env", open.join("link")).unwrap();
        symlink(open.join("link"), directory.path().join("link")).unwrap();
        assert!(exposed(&directory.path().join("link")).unwrap().contains("open"));
        symlink("circle", directory.path().join("circle")).unwrap();
        assert!(exposed(&directory.path().join("circle")).unwrap().contains("circle"));
    }

    #[test]
    fn own_modules_are_trusted_only_in_system_directories() {
        assert!(!is_own(None));
        assert!(!is_own(Some(Path::new("/tmp/libnssckbi.so"))));
        let Some(soft) = file_of("libsoftokn3.so") else { return };
        assert!(is_own(Some(&soft)), "{soft:?}");
    }
}
