//! Modules that a database directory names: root never loads them if another user could have named them.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Case, NICKNAME, PKI, Run, binary, run};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// A user other than root.
const UNPRIVILEGED_UID: u32 = 65534;

/// A database, and a library that leaves a mark when it is loaded.
struct Trap {
    case: Case,
    database: PathBuf,
    library: PathBuf,
    mark: PathBuf,
}

impl Trap {
    /// The library is in the database's directory, under this name.
    fn new(format: DbFormat, name: &str) -> Self {
        let case = Case::new();
        let database = case.database(format);
        // /tmp is sticky; only root can enter the case's own directory.
        fs::set_permissions(case.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mark = case.path("loaded");
        let source = case.file(
            "trap.c",
            format!(
                "#include <stdio.h>\n#include <unistd.h>\n__attribute__((constructor)) static void spring(void) {{\n\
                 FILE *f = fopen(\"{}\", \"w\"); if (f) {{ fprintf(f, \"uid=%d\\n\", (int)getuid()); fclose(f); }} }}\n",
                mark.display()
            ),
        );
        let library = database.join(name);
        common::tool(
            "cc",
            ["-shared".as_ref(), "-fPIC".as_ref(), "-o".as_ref(), library.as_os_str(), source.as_os_str()],
        );
        Self { case, database, library, mark }
    }

    fn listed(self, text: &str) -> Self {
        let list = self.database.join("pkcs11.txt");
        let before = fs::read_to_string(&list).unwrap();
        fs::write(&list, format!("{before}\n{}\n", text.replace('@', &self.library.display().to_string()))).unwrap();
        self
    }

    fn of_somebody(self) -> Self {
        chown(&self.database, Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();
        for file in fs::read_dir(&self.database).unwrap().flatten() {
            chown(file.path(), Some(UNPRIVILEGED_UID), Some(UNPRIVILEGED_UID)).unwrap();
        }
        self
    }

    fn with(&self, command: &str, argument: &Path, more: &[&str]) -> Command {
        let mut all = binary();
        all.arg(command).args(["--nickname", NICKNAME, "--db"]).arg(argument);
        all.arg("--password-file").arg(self.case.password_file()).args(more);
        all
    }

    fn diagnose(&self, more: &[&str]) -> Run {
        let mut command = self.with("diagnose", &self.database, &["--format", "json", "--until", "private-key"]);
        run(command.args(more))
    }

    fn is_sprung(&self) -> bool {
        self.mark.exists()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn database_finding(report: &Value) -> &Value {
    report["probes"].as_array().unwrap().iter().find(|finding| finding["layer"] == "nss-db").unwrap()
}

fn told(report: &Value, id: &str) -> Vec<String> {
    let facts = database_finding(report)["facts"].as_array().unwrap();
    facts.iter().filter(|fact| fact["id"] == id).map(|fact| fact["value"].as_str().unwrap().to_owned()).collect()
}

fn refused(trap: &Trap, run: &Run) {
    let report = run.report();
    assert!(!trap.is_sprung(), "the library was loaded: {report:#}");
    assert_eq!((run.verdict(), run.code), (("nss-db".to_owned(), "module-foreign".to_owned()), Some(1)), "{report:#}");
    assert_eq!(report["verdict"]["component"], "client-db", "{report:#}");
    assert_eq!(report["verdict"]["confidence"], "certain", "{report:#}");
    let named = told(&report, "db.foreign-module");
    assert!(named.iter().any(|text| text.contains("trap") || text.contains("libnssckbi")), "{report:#}");
}

/// Every notation for a library that NSS supports, and that a line-based reader may miss.
#[test]
fn root_loads_no_module_that_another_user_named() {
    if !is_root() {
        return;
    }
    let long = "A".repeat(2047);
    let commented = format!("#{}library=@\nname=Trap", "A".repeat(2046));
    let cut = format!("name={long}\nlibrary=@");
    for text in [
        "library=@\nname=Trap",
        "LIBRARY=@\nname=Trap",
        "name=\"Trap\" library=@",
        "name=Trap\nodd library=@",
        "library=\"@\"\nname=Trap",
        "library={@}\nname=Trap",
        &commented,
        &cut,
    ] {
        let trap = Trap::new(DbFormat::Sql, "trap.so").listed(text).of_somebody();
        refused(&trap, &trap.diagnose(&[]));
        let trap = Trap::new(DbFormat::Sql, "trap.so").listed(text);
        fs::set_permissions(trap.database.join("pkcs11.txt"), fs::Permissions::from_mode(0o664)).unwrap();
        refused(&trap, &trap.diagnose(&[]));
    }
}

/// NSS searches the database directory for root certificates without being told to.
#[test]
fn root_loads_no_root_certificates_that_somebody_else_left_in_the_directory() {
    if !is_root() {
        return;
    }
    let trap = Trap::new(DbFormat::Sql, "libnssckbi.so").of_somebody();
    refused(&trap, &trap.diagnose(&[]));
}

#[test]
fn every_component_of_the_path_counts() {
    if !is_root() {
        return;
    }
    for mode in [0o775, 0o757, 0o777] {
        let trap = Trap::new(DbFormat::Sql, "trap.so").listed("library=@\nname=Trap");
        fs::set_permissions(trap.case.dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        refused(&trap, &trap.diagnose(&[]));
        // In a sticky directory no other user can replace the file.
        fs::set_permissions(trap.case.dir.path(), fs::Permissions::from_mode(0o1000 | mode)).unwrap();
        trap.diagnose(&[]);
        assert!(trap.is_sprung());
    }
    // A link is only as safe as its directory.
    let trap = Trap::new(DbFormat::Sql, "trap.so").listed("library=@\nname=Trap");
    let open = trap.case.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink(&trap.database, open.join("link")).unwrap();
    let mut command = trap.with("diagnose", &open.join("link"), &["--format", "json", "--until", "nss-db"]);
    refused(&trap, &run(&mut command));
    // The module's own file.
    let trap = Trap::new(DbFormat::Sql, "trap.so").listed("library=@\nname=Trap");
    chown(&trap.library, Some(UNPRIVILEGED_UID), None).unwrap();
    refused(&trap, &trap.diagnose(&[]));
}

#[test]
fn modules_are_loaded_on_request_and_if_only_we_could_have_named_them() {
    let trap = Trap::new(DbFormat::Sql, "trap.so").listed("library=@\nname=Trap");
    let report = trap.diagnose(&[]).report();
    assert!(trap.is_sprung(), "{report:#}");
    let named = told(&report, "db.foreign-module");
    let path = trap.library.display().to_string();
    assert!(named.len() == 1 && named[0].contains(&path) && named[0].contains("uid 0, mode 0755"), "{named:?}");
    if !is_root() {
        return;
    }
    let trap = trap.of_somebody();
    fs::remove_file(&trap.mark).unwrap();
    refused(&trap, &trap.diagnose(&[]));
    let report = trap.diagnose(&["--load-modules"]).report();
    assert!(trap.is_sprung(), "{report:#}");
    assert_eq!(told(&report, "db.foreign-module").len(), 1, "{report:#}");
}

#[test]
fn an_unprivileged_user_loads_modules_as_before() {
    if !is_root() {
        return;
    }
    let trap = Trap::new(DbFormat::Sql, "trap.so").listed("library=@\nname=Trap").of_somebody();
    fs::set_permissions(trap.case.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = trap.with("diagnose", &trap.database, &["--format", "json", "--until", "nss-db"]);
    // Readable for the other user; the build directory need not be.
    let program = trap.case.path("nssight");
    common::copy_nssight(&program);
    let mut other = Command::new("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&program).args(command.get_args());
    command = other;
    fs::set_permissions(trap.case.password_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let report = run(&mut command).report();
    assert_eq!(fs::read_to_string(&trap.mark).unwrap(), "uid=65534\n", "{report:#}");
    assert_eq!(told(&report, "db.foreign-module").len(), 1, "{report:#}");
}

#[test]
fn another_users_database_without_modules_passes_and_its_list_is_ignored() {
    let trap = Trap::new(DbFormat::Sql, "trap.so");
    assert_eq!(told(&trap.diagnose(&[]).report(), "db.foreign-module"), Vec::<String>::new());
    if !is_root() {
        return;
    }
    let trap = trap.of_somebody();
    let run = trap.diagnose(&[]);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(told(&run.report(), "db.modules").len(), 1, "{run:#?}");
}

#[test]
fn a_list_that_is_not_a_file_is_reported_without_a_wait() {
    let trap = Trap::new(DbFormat::Sql, "trap.so");
    let list = trap.database.join("pkcs11.txt");
    fs::remove_file(&list).unwrap();
    common::tool("mkfifo", [list.as_os_str()]);
    let run = trap.diagnose(&[]);
    assert_eq!((run.verdict(), run.code), (("nss-db".to_owned(), "db-unreadable".to_owned()), Some(1)), "{run:#?}");
}

/// NSS's own module with root certificates, next to its libraries.
fn real_module() -> PathBuf {
    let (_, nss) = nssight_nss::library::paths().into_iter().find(|(name, _)| *name == "nss").unwrap();
    let directory = nss.parent().unwrap();
    let places = [directory.join("libnssckbi.so"), directory.join("nss/libnssckbi.so")];
    places.into_iter().find(|path| path.exists()).expect("libnssckbi.so comes with NSS")
}

/// The module list of the legacy format.
#[test]
fn root_loads_no_module_out_of_secmod_db() {
    if !is_root() {
        return;
    }
    let trap = Trap::new(DbFormat::Dbm, "trap.so");
    // modutil accepts only real modules; the trap replaces the module afterwards.
    let kept = trap.case.path("kept.so");
    fs::rename(&trap.library, &kept).unwrap();
    fs::copy(real_module(), &trap.library).unwrap();
    let directory = DbFormat::Dbm.directory(&trap.database);
    common::tool(
        "modutil",
        [
            "-dbdir".as_ref(),
            directory.as_os_str(),
            "-force".as_ref(),
            "-add".as_ref(),
            "Trap".as_ref(),
            "-libfile".as_ref(),
            trap.library.as_os_str(),
        ],
    );
    fs::rename(&kept, &trap.library).unwrap();
    let trap = trap.of_somebody();
    let mut command = trap.with("diagnose", Path::new(&directory), &["--format", "json", "--until", "nss-db"]);
    refused(&trap, &run(&mut command));
    run(command.arg("--load-modules"));
    assert!(trap.is_sprung(), "it is a way to load a library");
    // If the new format has no list of its own, NSS reads the old list. What it takes from it depends on its legacy library and its
    // permissions, so the old list counts in any case.
    let sql = Trap::new(DbFormat::Sql, "trap.so");
    fs::remove_file(sql.database.join("pkcs11.txt")).unwrap();
    fs::copy(trap.database.join("secmod.db"), sql.database.join("secmod.db")).unwrap();
    let sql = sql.of_somebody();
    fs::remove_file(&trap.mark).unwrap();
    refused(&trap, &sql.diagnose(&[]));
}

/// A database that cannot be copied is not given to programs that look for modules themselves.
#[test]
fn other_programs_do_not_get_a_list_that_another_user_can_change() {
    if !is_root() {
        return;
    }
    let trap = Trap::new(DbFormat::Dbm, "trap.so").of_somebody();
    let directory = DbFormat::Dbm.directory(&trap.database);
    let refused = run(&mut trap.with("process-model", Path::new(&directory), &["--only", "fresh-process"]));
    assert!(refused.code == Some(1) && refused.stderr.contains("module-foreign"), "{refused:#?}");
    let sql = Trap::new(DbFormat::Sql, "trap.so").of_somebody();
    let copied = run(&mut sql.with("process-model", &sql.database, &["--only", "fresh-process"]));
    assert_eq!(copied.code, Some(0), "{copied:#?}");
}

#[test]
fn other_commands_refuse_them_too() {
    if !is_root() {
        return;
    }
    let trap = Trap::new(DbFormat::Sql, "trap.so").listed("library=@\nname=Trap").of_somebody();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let bridge = format!("localhost:{}", endpoint.port());
    let refused = |run: &Run| {
        assert!(!trap.is_sprung(), "{run:#?}");
        assert_eq!(run.code, Some(1), "{run:#?}");
        assert!(run.stderr.contains("module-foreign") || run.stdout.contains("module-foreign"), "{run:#?}");
        assert!(run.stderr.contains("trap.so") || run.stdout.contains("trap.so"), "{run:#?}");
    };
    refused(&run(&mut trap.with("process-model", &trap.database, &["--only", "fresh-process"])));
    refused(&run(&mut trap.with("clients", &trap.database, &["--bridge", &bridge, "--pause", "0.05"])));
    assert_eq!(endpoint.connections(), 0);
    let text = format!(
        "[[target]]\nname = 'a'\ndb = '{}'\nnickname = '{NICKNAME}'\npassword-file = '{}'\nuntil = 'private-key'\n",
        trap.database.display(),
        trap.case.password_file().display()
    );
    let targets = trap.case.file("targets.toml", &text);
    refused(&run(binary().args(["check", "--format", "json"]).arg(&targets)));
    let targets = trap.case.file("targets.toml", format!("{text}load-modules = true\n"));
    let run = run(binary().args(["check", "--format", "json"]).arg(&targets));
    assert!(run.code == Some(0) && trap.is_sprung(), "{run:#?}");
    fs::remove_file(&trap.mark).unwrap();
    let inspected = common::run(binary().args(["db", "inspect"]).arg(&trap.database));
    assert!(inspected.code == Some(0) && !trap.is_sprung(), "{inspected:#?}");
}
