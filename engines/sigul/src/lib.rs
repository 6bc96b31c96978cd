//! Sigul's configuration files, chunks, headers and requests, without I/O
