//! Limits the number, duration and idle time of connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::figures::Figures;
use super::log;
use super::patience::Patient;
use super::web::{self, Front};

/// Time limit for the head of a request after the connection, or after the previous answer.
const HEAD: Duration = Duration::from_secs(10);
/// Time limit for reading an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// Limit for the request line and headers; hyper requires at least 8 KiB.
const HEAD_AT_MOST: usize = 16 * 1024;
/// Far more than Prometheus servers and people open.
const CONNECTIONS_AT_MOST: u64 = 512;
/// When the process has no descriptors left, it tries again after this time.
const WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// The connections that are open.
pub(super) struct Connections {
    at_most: usize,
    state: Mutex<State>,
    figures: Arc<Figures>,
}

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, Open>,
}

struct Open {
    /// The beginning of the present wait for a request.
    since: Instant,
    /// A request is being answered.
    busy: bool,
    close: Arc<Notify>,
}

/// One open connection; it is counted until this is dropped.
struct Ticket {
    connections: Arc<Connections>,
    number: u64,
    close: Arc<Notify>,
}

impl Connections {
    /// At most half of the descriptors of this process: checks need some, too.
    pub(super) fn new(figures: Arc<Figures>) -> Arc<Self> {
        let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let at_most = descriptors.map_or(CONNECTIONS_AT_MOST, |soft| (soft / 2).clamp(16, CONNECTIONS_AT_MOST));
        Arc::new(Self { at_most: usize::try_from(at_most).unwrap_or(16), state: Mutex::default(), figures })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits one more connection. If all places are taken, the connection that has been idle for the longest time is closed; `None` if
    /// every connection waits for an answer.
    fn admit(self: &Arc<Self>) -> Option<Ticket> {
        self.figures.connected();
        let mut state = self.lock();
        if state.open.len() >= self.at_most {
            self.figures.evicted();
            let idle = state.open.iter().filter(|(_, connection)| !connection.busy);
            let oldest = idle.min_by_key(|(_, connection)| connection.since).map(|(number, _)| *number)?;
            if let Some(connection) = state.open.remove(&oldest) {
                connection.close.notify_one();
            }
        }
        let (number, close) = (state.next, Arc::new(Notify::new()));
        state.next += 1;
        state.open.insert(number, Open { since: Instant::now(), busy: false, close: close.clone() });
        self.figures.connections(state.open.len());
        Some(Ticket { connections: self.clone(), number, close })
    }
}

impl Ticket {
    fn set_busy(&self, busy: bool) {
        if let Some(connection) = self.connections.lock().open.get_mut(&self.number) {
            connection.busy = busy;
            connection.since = Instant::now();
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.open.remove(&self.number);
        self.connections.figures.connections(state.open.len());
    }
}

/// Serves until `stop` is set, and then until pending requests are answered.
pub(super) async fn serve(
    listener: TcpListener,
    app: Router,
    connections: Arc<Connections>,
    front: Arc<Front>,
    mut stop: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Some(ticket) = connections.admit() {
                    attend(stream, app.clone(), ticket, &front, &graceful);
                }
            }
            // The peer closed the connection before accept(2), or no resources are left to accept it.
            Err(error) if error.raw_os_error().is_some_and(is_of_the_peer) => {}
            Err(error) => {
                log::warn(format_args!("cannot accept a connection: {error}"));
                tokio::time::sleep(WITHOUT_DESCRIPTORS).await;
            }
        }
    }
    drop(listener);
    graceful.shutdown().await;
}

fn is_of_the_peer(error: i32) -> bool {
    use rustix::io::Errno;
    [Errno::CONNABORTED, Errno::CONNRESET, Errno::PROTO, Errno::HOSTUNREACH, Errno::NETUNREACH, Errno::PERM]
        .contains(&Errno::from_raw_os_error(error))
}

fn attend(stream: TcpStream, app: Router, ticket: Ticket, front: &Front, graceful: &GracefulShutdown) {
    let _ = stream.set_nodelay(true);
    let ticket = Arc::new(ticket);
    let (close, web, watcher) = (ticket.close.clone(), front.current(), graceful.watcher());
    tokio::spawn(async move {
        let talk = async {
            let Some(tls) = &web.tls else { return converse(stream, app, ticket, watcher).await };
            // The connection counts as idle until then.
            match tokio::time::timeout(HEAD, web::accept(tls, stream)).await {
                Ok(Ok(stream)) => converse(stream, app, ticket, watcher).await,
                Ok(Err(error)) => log::debug(format_args!("TLS handshake failed: {error}")),
                Err(_) => log::debug(format_args!("TLS handshake timed out")),
            }
        };
        tokio::select! {
            () = talk => {}
            () = close.notified() => {}
        }
    });
}

/// Answers requests until the peer sends no more. An error that ends the connection is not reported: it concerns only the peer.
async fn converse<S>(stream: S, app: Router, ticket: Arc<Ticket>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let routes = TowerToHyperService::new(app);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        ticket.set_busy(true);
        let asked = format!("{} {}", request.method(), request.uri());
        let (answer, ticket, since) = (routes.call(request), ticket.clone(), Instant::now());
        async move {
            let answer = answer.await;
            ticket.set_busy(false);
            if let Ok(answer) = &answer {
                let (status, took) = (answer.status().as_u16(), since.elapsed().as_secs_f64());
                log::debug(format_args!("{asked}: {status} after {took:.3} s"));
            }
            answer
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(HEAD_AT_MOST);
    let connection = builder.serve_connection(TokioIo::new(Patient::new(stream, ANSWER)), service);
    let _ = watcher.watch(connection).await;
}
