//! How the exporter answers: with or without TLS, to which clients, and with which headers. A web configuration file as for Prometheus's
//! exporters (`web-config.yml`, exporter-toolkit) sets this, and is read again when one of its files has changed.

mod file;
mod tls;
mod users;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};

use super::log;
pub(super) use tls::{Tls, accept};
use users::{Admission, Users};

/// A renewed certificate is in use after this time at the latest.
const AGAIN: Duration = Duration::from_secs(60);

/// The content of one version of the files.
#[derive(Default)]
pub(super) struct Web {
    pub(super) tls: Option<Tls>,
    users: Option<Users>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Digest of all files together.
    digest: [u8; 32],
}

impl Web {
    /// Reads a file, and the files that it names.
    ///
    /// # Errors
    /// One line that names file and key.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        file::load(path)
    }

    /// What it requires from a client, for people.
    pub(super) fn in_words(&self) -> String {
        let tls = match &self.tls {
            None => "no TLS",
            Some(tls) if tls.wants_certificate => "TLS, with client certificates",
            Some(_) => "TLS",
        };
        match self.users.as_ref().map(Users::count) {
            None => format!("{tls}, no passwords"),
            Some(1) => format!("{tls}, 1 user"),
            Some(count) => format!("{tls}, {count} users"),
        }
    }

    /// Whether every client that reaches the port can read reports.
    pub(super) fn is_open(&self) -> bool {
        self.users.is_none() && self.tls.as_ref().is_none_or(|tls| !tls.wants_certificate)
    }

    /// Whether passwords travel without encryption.
    pub(super) fn shows_passwords(&self) -> bool {
        self.users.is_some() && self.tls.is_none()
    }
}

/// The configuration in effect, and its file.
pub(super) struct Front {
    file: Option<PathBuf>,
    current: Mutex<Arc<Web>>,
}

impl Front {
    pub(super) fn new(file: Option<&Path>, web: Web) -> Arc<Self> {
        Arc::new(Self { file: file.map(Path::to_owned), current: Mutex::new(Arc::new(web)) })
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Web>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn current(&self) -> Arc<Web> {
        self.lock().clone()
    }

    /// Reads the files periodically, for as long as it is polled. A file that cannot be read changes nothing, and is reported once.
    pub(super) async fn watch_files(self: Arc<Self>) {
        let Some(file) = self.file.clone() else { return };
        let mut trouble = None;
        loop {
            tokio::time::sleep(AGAIN).await;
            self.read_again(&file, &mut trouble).await;
        }
    }

    /// Reads the files at once.
    pub(super) async fn reload(&self) {
        if let Some(file) = self.file.clone() {
            self.read_again(&file, &mut None).await;
        }
    }

    async fn read_again(&self, file: &Path, trouble: &mut Option<String>) {
        let path = file.to_owned();
        // In a separate thread, because a key may be on a file system that does not respond.
        let read = tokio::task::spawn_blocking(move || Web::load(&path)).await;
        match read.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(web) => {
                *trouble = None;
                let mut current = self.lock();
                // An unchanged configuration keeps its sessions, and the passwords that it has verified.
                if current.digest != web.digest {
                    log::info(format_args!("reloaded the web configuration {}: {}", file.display(), web.in_words()));
                    *current = Arc::new(web);
                }
            }
            Err(error) if trouble.as_ref() == Some(&error) => {}
            Err(error) => {
                log::warn(format_args!("the web configuration remains unchanged: {error}"));
                *trouble = Some(error);
            }
        }
    }
}

/// Admits authorised clients, and adds the headers of the file.
pub(super) fn guard(front: Arc<Front>, app: Router) -> Router {
    app.layer(middleware::from_fn_with_state(front, admit))
}

async fn admit(State(front): State<Arc<Front>>, request: Request, next: Next) -> Response {
    let web = front.current();
    let mut response = match &web.users {
        // This route reveals nothing, and a supervisor has no password.
        Some(users) if request.uri().path() != "/healthz" => {
            match users.admit(request.headers().get(AUTHORIZATION)).await {
                Admission::Granted => next.run(request).await,
                Admission::Refused => {
                    let wanted = [(WWW_AUTHENTICATE, "Basic realm=\"nssight\", charset=\"UTF-8\"")];
                    (
                        StatusCode::UNAUTHORIZED,
                        wanted,
                        "a user and a password from the web configuration are required\n",
                    )
                        .into_response()
                }
                Admission::Busy => {
                    let later = [(RETRY_AFTER, "1")];
                    (StatusCode::SERVICE_UNAVAILABLE, later, "too many password checks are running; try again\n")
                        .into_response()
                }
            }
        }
        _ => next.run(request).await,
    };
    for (name, value) in &web.headers {
        // Headers that an answer sets itself are stricter.
        response.headers_mut().entry(name).or_insert_with(|| value.clone());
    }
    response
}
