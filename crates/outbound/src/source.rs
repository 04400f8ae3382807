//! Where a secret's value comes from: a variable, a file, or a program that prints it.
//!
//! Values are read at each use, so that a rotation needs no restart, and are bounded in size and
//! time. Invariant: what goes wrong is told without any part of the value or of a program's output.

use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;
use types::limits;
use zeroize::Zeroizing;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the node's environment.
    Env(String),
    /// A file, read at each use; one line end at its end is no part of the value.
    File(PathBuf),
    /// A program and its arguments, run at each use without a shell; its output without line ends
    /// at the end is the value.
    Command(Vec<String>),
}

impl SecretSource {
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            // Other names make the standard library panic or can never be set.
            Self::Env(name) => !name.is_empty() && !name.contains(['=', '\0']),
            Self::File(path) => !path.as_os_str().is_empty(),
            Self::Command(words) => words.first().is_some_and(|program| !program.is_empty()),
        }
    }
}

/// Reads a value, or says why there is none.
pub(crate) async fn read(source: &SecretSource) -> Result<Zeroizing<String>, String> {
    let bytes = match source {
        SecretSource::Env(name) => match std::env::var_os(name) {
            Some(value) => Zeroizing::new(value.into_encoded_bytes()),
            None => return Err(format!("the variable {name} is not set")),
        },
        SecretSource::File(path) => {
            let shown = path.display();
            let wait = Duration::from_millis(limits::SECRET_WAIT_MS_MAX);
            match timeout(wait, of_file(path)).await {
                Ok(Ok(bytes)) => bytes,
                Ok(Err(error)) => return Err(format!("{shown} cannot be read: {error}")),
                Err(_) => return Err(format!("{shown} was not read in time")),
            }
        }
        SecretSource::Command(words) => of_command(words).await?,
    };
    value_of(&bytes, source)
}

fn value_of(bytes: &[u8], source: &SecretSource) -> Result<Zeroizing<String>, String> {
    if bytes.len() > limits::SECRET_BYTES_MAX {
        return Err(format!("it is longer than {} bytes", limits::SECRET_BYTES_MAX));
    }
    let text = str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let value = match source {
        SecretSource::Env(_) => text,
        SecretSource::File(_) => {
            let line = text.strip_suffix('\n').unwrap_or(text);
            line.strip_suffix('\r').unwrap_or(line)
        }
        SecretSource::Command(_) => text.trim_end_matches(['\r', '\n']),
    };
    if value.is_empty() {
        return Err("it is empty".into());
    }
    Ok(Zeroizing::new(value.to_owned()))
}

async fn of_file(path: &PathBuf) -> io::Result<Zeroizing<Vec<u8>>> {
    bounded(File::open(path).await?).await
}

async fn of_command(words: &[String]) -> Result<Zeroizing<Vec<u8>>, String> {
    let [program, arguments @ ..] = words else { return Err("no program is named".into()) };
    // Its messages may hold what it prints, so they go nowhere.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    let Some(output) = child.stdout.take() else { return Err(format!("{program} has no output")) };
    let run = async {
        let bytes = bounded(output).await?;
        if bytes.len() > limits::SECRET_BYTES_MAX {
            // It may print for ever: enough is known.
            return Ok((bytes, None));
        }
        Ok::<_, io::Error>((bytes, Some(child.wait().await?)))
    };
    match timeout(Duration::from_millis(limits::SECRET_WAIT_MS_MAX), run).await {
        Ok(Ok((bytes, status))) if status.is_none_or(|status| status.success()) => Ok(bytes),
        Ok(Ok((_, status))) => {
            let code = status.and_then(|status| status.code());
            Err(code.map_or_else(
                || format!("{program} was ended by a signal"),
                |code| format!("{program} ended with code {code}"),
            ))
        }
        Ok(Err(error)) => Err(format!("{program} cannot be read: {error}")),
        Err(_) => Err(format!("{program} did not end in time")),
    }
}

/// Reads one byte more than is allowed, so that too much is seen. The buffer never moves, so no
/// copy of it is left behind.
async fn bounded(from: impl AsyncRead + Unpin) -> io::Result<Zeroizing<Vec<u8>>> {
    let most = limits::SECRET_BYTES_MAX + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    from.take(most as u64).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str) -> SecretSource {
        SecretSource::Command(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[tokio::test]
    async fn values_are_read_and_trimmed() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            SecretSource::File(path)
        };
        let long = vec![b'x'; limits::SECRET_BYTES_MAX + 1];
        #[rustfmt::skip]
        let cases = [
            (file("plain", b"value"),                 Ok("value")),
            (file("line", b"value\n"),                Ok("value")),
            (file("dos", b"value\r\n"),               Ok("value")),
            (file("two", b" value\n\n"),              Ok(" value\n")),
            (file("empty", b"\n"),                    Err("it is empty")),
            (file("binary", b"\xff\xfe"),             Err("not UTF-8")),
            (file("long", &long),                     Err("longer than")),
            (SecretSource::File(folder.path().join("absent")), Err("cannot be read")),
            (SecretSource::Env("CARGO_PKG_NAME".into()),       Ok("outbound")),
            (SecretSource::Env("QGATE_NEVER_SET".into()),      Err("QGATE_NEVER_SET is not set")),
            (command("echo value; echo"),             Ok("value")),
            (command("echo canary; exit 3"),          Err("ended with code 3")),
            (command("echo canary >&2; kill $$"),     Err("ended by a signal")),
            (command("yes canary"),                   Err("longer than")),
            (command("true"),                         Err("it is empty")),
            (SecretSource::Command(vec!["/no/such/program".into()]), Err("cannot be run")),
        ];
        for (source, expected) in cases {
            match (read(&source).await, expected) {
                (Ok(value), Ok(expected)) => assert_eq!(value.as_str(), expected, "{source:?}"),
                (Err(reason), Err(expected)) => {
                    let known = reason.contains(expected) && !reason.contains("canary");
                    assert!(known, "{source:?}: {reason}");
                }
                (other, _) => panic!("{source:?}: {other:?}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_never_ends_is_given_up() {
        let reason = read(&command("exec sleep 1000000")).await.unwrap_err();
        assert!(reason.contains("did not end in time"), "{reason}");
    }
}
