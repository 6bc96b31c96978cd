//! Runs a program of the system with a deadline. The program ends when nssight ends.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nssight_nss::process::die_with_us;

/// Maximum number of bytes read from a program.
const SAID_AT_MOST: u64 = 64 * 1024;

/// The output of a program, and whether it succeeded.
pub struct Answer {
    /// Its standard output.
    pub text: String,
    /// Whether the exit status is 0.
    pub success: bool,
}

/// Runs a program without input. `None` if the program does not exist or does not answer in time.
pub fn ask<S: AsRef<OsStr>>(program: &str, arguments: &[S], patience: Duration) -> Option<Answer> {
    let until = Instant::now() + patience;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    die_with_us(&mut command);
    let mut child = command.spawn().ok()?;
    let output = child.stdout.take()?;
    let (answer, wait) = mpsc::channel();
    let reading = thread::Builder::new().spawn(move || {
        let mut text = Vec::new();
        let _ = output.take(SAID_AT_MOST).read_to_end(&mut text);
        let _ = answer.send(String::from_utf8_lossy(&text).into_owned());
    });
    let text = reading.ok().and_then(|_| wait.recv_timeout(patience).ok());
    let status = loop {
        match child.try_wait() {
            Ok(None) if text.is_some() && Instant::now() < until => thread::sleep(Duration::from_millis(1)),
            Ok(None) => {
                let _ = child.kill();
                break child.wait().ok();
            }
            other => break other.ok().flatten(),
        }
    };
    Some(Answer { text: text?, success: status.is_some_and(|status| status.success()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn an_answer_is_text_and_a_code() {
        let answer = ask("sh", &["-c", "echo yes; exit 3"], SOON).unwrap();
        assert!(answer.text == "yes\n" && !answer.success);
        assert!(ask("sh", &["-c", "echo yes"], SOON).unwrap().success);
        assert!(ask("/nonexistent", &["yes"], SOON).is_none());
    }

    #[test]
    fn a_process_that_does_not_answer_is_ended() {
        let number = tempfile::NamedTempFile::new().unwrap();
        let script = format!("echo $$ > {}; exec sleep 600", number.path().display());
        while std::fs::read_to_string(number.path()).unwrap().trim().is_empty() {
            // On a busy machine the program may be ended before it has started.
            assert!(ask("sh", &["-c", &script], Duration::from_millis(200)).is_none());
        }
        let process = std::fs::read_to_string(number.path()).unwrap();
        assert!(!std::path::Path::new(&format!("/proc/{}", process.trim())).exists());
    }
}
