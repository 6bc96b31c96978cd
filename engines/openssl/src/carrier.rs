//! The stream below OpenSSL: a transport, whose bytes are also recorded.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use nssight_session::Transport;

use crate::record::Records;

pub(crate) struct Carrier {
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) records: Rc<RefCell<Records>>,
}

impl Read for Carrier {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.transport.recv(buffer)?;
        self.records.borrow_mut().received(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Write for Carrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.transport.send(bytes)?;
        self.records.borrow_mut().sent(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
