//! The files of a database: `CURRENT`, which names the others, an image of all rows, and the
//! writes behind it.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::batch::{self, put, take};
use super::{Error, Rows, disk};

const CURRENT: &str = "CURRENT";
const DELETED: &str = "deleted";
/// Length and checksum of a record.
const HEAD_BYTES: usize = 8;

/// Which files are in force.
#[derive(Clone, Default)]
pub(super) struct Current {
    /// 0 for none.
    image: u64,
    pub(super) wal: u64,
    pub(super) families: Vec<String>,
}

impl Current {
    pub(super) fn new(families: &[&'static str]) -> Self {
        let families = families.iter().map(|name| (*name).to_owned()).collect();
        Self { image: 0, wal: 1, families }
    }

    pub(super) fn next(&self) -> Self {
        Self { image: self.image + 1, wal: self.wal + 1, families: self.families.clone() }
    }

    pub(super) fn read(dir: &Path) -> Result<Option<Self>, Error> {
        let Some(text) = read_if_there(&dir.join(CURRENT))? else { return Ok(None) };
        let damaged = || Error::damaged(format!("{} of {}", CURRENT, dir.display()));
        let text = String::from_utf8(text).map_err(|_| damaged())?;
        let mut lines = text.lines();
        let mut number = || lines.next()?.parse().ok();
        let (image, wal) = number().zip(number()).ok_or_else(damaged)?;
        Ok(Some(Self { image, wal, families: lines.map(str::to_owned).collect() }))
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let Self { image, wal, families } = self;
        let text = format!("{image}\n{wal}\n{}\n", families.join("\n"));
        write_atomic(&dir.join(CURRENT), text.as_bytes())
    }

    /// A table never changes under its name, which is how snapshots know tables.
    fn image_path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{:06}.sst", self.image))
    }

    pub(super) fn write_image(&self, dir: &Path, rows: &Rows) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for (family, key, value) in rows.all() {
            bytes.push(u8::try_from(family).expect("few families"));
            put(&mut bytes, key);
            put(&mut bytes, value);
        }
        bytes.extend(crc32c::crc32c(&bytes).to_be_bytes());
        Ok(fs::write(self.image_path(dir), &bytes)?)
    }

    /// The rows of the image.
    pub(super) fn image(&self, dir: &Path) -> Result<Rows, Error> {
        let mut rows = Rows::default();
        if self.image == 0 {
            return Ok(rows);
        }
        let path = self.image_path(dir);
        let damaged = || Error::damaged(format!("the image {}", path.display()));
        let bytes = read_if_there(&path)?.ok_or_else(damaged)?;
        let (mut bytes, checksum) = bytes.split_last_chunk().ok_or_else(damaged)?;
        if crc32c::crc32c(bytes).to_be_bytes() != *checksum {
            return Err(damaged());
        }
        while let Some((family, rest)) = bytes.split_first() {
            bytes = rest;
            let (key, value) = (take(&mut bytes)?, take(&mut bytes)?);
            rows.put(usize::from(*family), key, value);
        }
        Ok(rows)
    }

    pub(super) fn link_image(&self, dir: &Path, to: &Path) -> Result<(), Error> {
        Ok(fs::hard_link(self.image_path(dir), self.image_path(to))?)
    }

    pub(super) fn remove_image(&self, dir: &Path) -> Result<(), Error> {
        if self.image == 0 {
            return Ok(());
        }
        Ok(fs::remove_file(self.image_path(dir))?)
    }
}

/// Writes in their order, each a record: length, checksum, batch.
pub(super) struct Wal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Half a record is at its end: nothing behind it would be found again.
    is_broken: bool,
}

impl Wal {
    fn path(dir: &Path, number: u64) -> PathBuf {
        dir.join(format!("{number:06}.wal"))
    }

    pub(super) fn new(dir: &Path, number: u64) -> Result<Self, Error> {
        let path = Self::path(dir, number);
        let file = File::create(&path)?;
        disk::opened(&path, 0);
        Ok(Self { path, file, bytes: 0, is_broken: false })
    }

    /// Applies what there is of a file, up to the first record that is not whole.
    pub(super) fn recover(dir: &Path, number: u64, rows: &mut Rows) -> Result<Self, Error> {
        let path = Self::path(dir, number);
        let mut found = read_if_there(&path)?.unwrap_or_default();
        if let Some(lost) = disk::lost_from(&path) {
            found.truncate(usize::try_from(lost).unwrap_or(usize::MAX));
        }
        let mut rest = found.as_slice();
        while let Some(batch) = record(&mut rest) {
            batch::apply(batch, rows)?;
        }
        let bytes = (found.len() - rest.len()) as u64;
        let options = OpenOptions::new().create(true).append(true).open(&path);
        let file = options?;
        file.set_len(bytes)?;
        disk::opened(&path, bytes);
        Ok(Self { path, file, bytes, is_broken: false })
    }

    /// Writes a record; of one that finds no room a part is left.
    pub(super) fn append(&mut self, batch: &super::WriteBatch) -> Result<(), Error> {
        if self.is_broken {
            return Err(Error::disk("an earlier write failed"));
        }
        let batch = batch.bytes();
        let mut record = Vec::with_capacity(HEAD_BYTES + batch.len());
        record.extend(u32::try_from(batch.len()).expect("less than 4 GiB").to_be_bytes());
        record.extend(crc32c::crc32c(batch).to_be_bytes());
        record.extend(batch);
        let room = disk::must_have_room(&self.path);
        if room.is_err() {
            record.truncate(record.len() / 2);
            self.is_broken = true;
        }
        self.file.write_all(&record)?;
        self.bytes += record.len() as u64;
        room
    }

    pub(super) fn sync(&mut self) -> Result<(), Error> {
        disk::sync(&self.path, self.bytes)
    }

    pub(super) fn remove(&self) -> Result<(), Error> {
        disk::removed(&self.path);
        Ok(fs::remove_file(&self.path)?)
    }
}

/// The next whole record.
fn record<'b>(rest: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let (checksum, behind) = behind.split_first_chunk()?;
    let (batch, behind) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    if crc32c::crc32c(batch).to_be_bytes() != *checksum {
        return None;
    }
    *rest = behind;
    Some(batch)
}

/// Rows that lie in one table file, by the number that their key is.
const FILE_ROWS: u64 = 64;

/// Notes that rows of a family are deleted whose whole file lies between two keys. One note takes
/// the place of the other: the log gives up ever more of its beginning.
pub(super) fn note_deleted(dir: &Path, family: usize, from: &[u8], to: &[u8]) -> Result<(), Error> {
    let Ok(last) = <[u8; 8]>::try_from(to) else { return Ok(()) };
    // The file of the last one has rows that stay.
    let end = u64::from_be_bytes(last) / FILE_ROWS * FILE_ROWS;
    let mut bytes = vec![u8::try_from(family).expect("few families")];
    put(&mut bytes, from);
    put(&mut bytes, &end.to_be_bytes());
    write_atomic(&dir.join(DELETED), &bytes)
}

/// Takes from the rows what is noted as deleted.
pub(super) fn forget_deleted(dir: &Path, rows: &mut Rows) -> Result<(), Error> {
    let Some(bytes) = read_if_there(&dir.join(DELETED))? else { return Ok(()) };
    let Some((family, mut bytes)) = bytes.split_first() else { return Ok(()) };
    let (from, end) = (take(&mut bytes)?, take(&mut bytes)?);
    rows.delete_range(usize::from(*family), from, end);
    Ok(())
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The old content or the new one. Not synced: the machine's own disk stays as it is.
fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    Ok(fs::rename(&new, path)?)
}
