//! Differences between the program and a correct client.

use nssight_tracer::event::{Function, Phase};

use crate::document::Difference;
use crate::process::Nss;
use crate::session::Handshake;
use crate::story::Story;

impl Story {
    /// The differences, in the order of the layers.
    pub fn differences(&self) -> Vec<Difference> {
        let mut all = Vec::new();
        for process in &self.processes {
            if process.nss == (Nss::Inherited { used: true }) {
                let text = "NSS was initialised before the fork and used after it".to_owned();
                all.push(Difference { id: "nss-used-after-fork", pid: process.pid, text });
            }
        }
        for call in self.calls.iter().filter(|call| call.event.function == Function::password_callback) {
            let set_by = self.processes.get(call.process).and_then(|process| process.callback_set_by);
            let elsewhere = set_by.is_some_and(|tid| tid != call.event.tid);
            if call.event.phase == Phase::Failed && call.event.number == 0 && elsewhere {
                let text = format!("thread {} has no password callback, and got no password", call.event.tid);
                all.push(Difference { id: "no-password-callback-in-thread", pid: call.event.pid, text });
            }
        }
        for session in self.sessions.iter().filter(|session| !session.is_server) {
            let pid = self.pid(session);
            let tried = session.handshake != Handshake::NotTried;
            let mut add = |id, text: &str| all.push(Difference { id, pid, text: text.to_owned() });
            if tried && session.host.is_none() {
                add("hostname-never-set", "SSL_SetURL was never called, so the peer's name is not compared");
            }
            match session.gave_certificate {
                Some(false) if session.has_client_auth => {
                    add(
                        "client-auth-hook-gave-nothing",
                        "the peer requested a certificate, but the program's callback returned none",
                    );
                }
                _ if tried
                    && session.gave_certificate != Some(true)
                    && !session.has_client_auth
                    && session.log.summary().certificate_request.is_some() =>
                {
                    add(
                        "no-client-auth-hook",
                        "the peer requested a certificate, but the program set no callback for it",
                    );
                }
                _ => {}
            }
            if tried && session.peer_was_gone {
                add("peer-was-gone", "the handshake started on a socket that the peer had already closed");
            }
        }
        if let (Some(outer), Some(inner)) = (self.outer(), self.inner())
            && outer.handshake == Handshake::Done
            && !matches!(inner.handshake, Handshake::Done | Handshake::NotTried)
        {
            let text = "the outer session works, but the inner session is dead".to_owned();
            all.push(Difference { id: "inner-dead", pid: self.pid(inner), text });
        }
        all.dedup();
        all.truncate(100);
        all
    }
}
