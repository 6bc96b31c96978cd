//! Reads a table of objects row by row.

use super::attribute::{self, EXPLICIT_NULL};
use crate::error::Place;
use crate::problems::Problems;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};

/// Maximum number of rows read from one table.
const MAX_ROWS: usize = 2_000_000;

/// Maximum number of bytes read from one table. With damaged links between pages, SQLite may read the same page many times, so
/// the size of the file is no limit.
const MAX_BYTES: usize = 256 << 20;

/// One object.
pub(super) struct Object<'a> {
    /// Object identifier: the value of the `id` column.
    pub(super) id: u32,
    row: &'a Row<'a>,
    columns: &'a [u32],
}

impl Object<'_> {
    /// The value of an attribute; `None` when absent, empty when present and empty.
    pub(super) fn get(&self, attribute: u32) -> Option<&[u8]> {
        // Column 0 is the identifier.
        let at = self.columns.iter().position(|column| *column == attribute)? + 1;
        match self.row.get_ref(at).ok()? {
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) if bytes == EXPLICIT_NULL => Some(&[]),
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes in all columns read.
    fn size(&self) -> usize {
        let length = |at| match self.row.get_ref(at) {
            Ok(ValueRef::Blob(bytes) | ValueRef::Text(bytes)) => bytes.len(),
            _ => 0,
        };
        (1..=self.columns.len()).map(length).sum()
    }

    /// The value of a CK_ULONG attribute.
    pub(super) fn ulong(&self, attribute: u32) -> Option<u32> {
        self.get(attribute).and_then(attribute::ulong)
    }

    /// Place of this row in a table, to report a problem.
    pub(super) fn place(&self, table: &str) -> Place {
        Place::Row { table: table.to_owned(), id: self.id.to_string() }
    }
}

/// Whether a table (not a view or a virtual table, which could run code) has this name.
pub(super) fn exists(connection: &Connection, name: &str) -> Result<bool, rusqlite::Error> {
    let sql: Option<Option<String>> = connection
        .query_row("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?1", [name], |row| row.get(0))
        .optional()?;
    Ok(sql.is_some_and(|sql| sql.is_none_or(|sql| !sql.to_ascii_uppercase().starts_with("CREATE VIRTUAL"))))
}

/// The result of reading a table.
pub(super) struct Scan {
    /// Number of columns the table has, the identifier included.
    pub(super) columns: usize,
    /// False when the scan ended at damage.
    pub(super) complete: bool,
}

/// Calls `each` for every row. Columns are selected by name: their number and order depend on the NSS version.
pub(super) fn scan(
    connection: &Connection,
    table: &str,
    wanted: &[u32],
    problems: &mut Problems,
    mut each: impl FnMut(&Object<'_>, &mut Problems),
) -> Result<Scan, rusqlite::Error> {
    let present: Vec<String> =
        connection.prepare(&format!("SELECT * FROM {table} LIMIT 0"))?.column_names().map(str::to_owned).collect();
    let columns: Vec<u32> =
        wanted.iter().copied().filter(|attribute| present.contains(&format!("a{attribute:x}"))).collect();
    let list: String = columns.iter().map(|attribute| format!(", a{attribute:x}")).collect();
    let mut statement = connection.prepare(&format!("SELECT id{list} FROM {table}"))?;
    let mut rows = statement.query([])?;
    let (mut count, mut size) = (0, 0);
    let complete = loop {
        let row = match rows.next() {
            Ok(Some(row)) => row,
            Ok(None) => break true,
            Err(error) => {
                problems.add(
                    Place::Row { table: table.to_owned(), id: format!("after {count} rows") },
                    format!("reading stopped: {error}"),
                );
                break false;
            }
        };
        count += 1;
        if count > MAX_ROWS {
            problems.add(Place::File, format!("more than {MAX_ROWS} rows in {table}"));
            break false;
        }
        match row.get::<_, u32>(0) {
            Ok(id) => {
                let object = Object { id, row, columns: &columns };
                size += object.size();
                if size > MAX_BYTES {
                    problems.add(Place::File, format!("more than {MAX_BYTES} bytes in {table}"));
                    break false;
                }
                each(&object, problems);
            }
            Err(error) => problems.add(
                Place::Row { table: table.to_owned(), id: format!("number {count}") },
                format!("the object identifier is not a number of 32 bits: {error}"),
            ),
        }
    };
    Ok(Scan { columns: present.len(), complete })
}
