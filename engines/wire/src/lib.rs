//! TLS records and alerts as seen on the wire, and their story
