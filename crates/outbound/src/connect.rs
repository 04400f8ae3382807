//! Connections: name look-up, the address rule, TCP and TLS, all before a byte of a request.
//!
//! Invariant: an address is checked after the name look-up and then connected to itself, so a name
//! that changes its mind in between gains nothing. Whatever fails here left nothing behind: at most
//! greetings of TLS were exchanged.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use machine::net::TcpStream;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::address::AddressRule;
use crate::client::{NotSent, SendError};
use crate::target::Target;

/// Whose certificates are believed.
#[derive(Debug, Clone)]
pub struct Roots(RootCertStore);

impl Roots {
    /// Those of the operating system, or of the file and directory in `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR`. May be empty, where none are installed: then no https target is reached.
    #[must_use]
    pub fn of_platform() -> Self {
        let mut store = RootCertStore::empty();
        // A certificate that cannot be read is one that is not believed.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self(store)
    }

    /// None yet.
    #[must_use]
    pub fn none() -> Self {
        Self(RootCertStore::empty())
    }

    /// Adds every certificate of a PEM text.
    ///
    /// # Errors
    /// A text that holds none, or one that is no certificate of an authority.
    pub fn add_pem(&mut self, pem: &[u8]) -> Result<(), String> {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("no PEM: {error}"))?;
            self.0.add(certificate).map_err(|error| format!("no authority: {error}"))?;
            found = true;
        }
        if found { Ok(()) } else { Err("the text holds no certificate".into()) }
    }

    /// Nobody's certificate would be believed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A connection that a request can be written to.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections under the address rule.
pub(crate) struct Connector {
    addresses: AddressRule,
    tls: TlsConnector,
}

impl Connector {
    pub(crate) fn new(addresses: AddressRule, roots: Roots) -> Self {
        // The provider is named here rather than installed for the process, so that nothing
        // depends on who comes first.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks the versions that rustls has on by default")
            .with_root_certificates(roots.0)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { addresses, tls: TlsConnector::from(Arc::new(config)) }
    }

    /// A connection to a permitted address of the target, by the deadline.
    pub(crate) async fn connect(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Box<dyn Stream>, SendError> {
        let all = addresses_of(target, deadline).await?;
        let permitted = self.permitted(&all)?;
        let tcp = first_to_answer(target, &permitted, deadline).await?;
        // Requests go out whole; waiting for more to send only delays them.
        let _ = tcp.set_nodelay(true);
        if !target.tls {
            return Ok(Box::new(tcp));
        }
        let name = ServerName::try_from(target.host.clone())
            .map_err(|_| NotSent::Url("the URL's host is no name that TLS knows".into()))?;
        match timeout_at(deadline, self.tls.connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(not_connected(target, "TLS was refused", &error.to_string())),
            Err(_) => Err(not_connected(target, "TLS was not agreed on in time", "")),
        }
    }

    /// The addresses that the rule permits; refused if it permits none.
    fn permitted(&self, all: &[SocketAddr]) -> Result<Vec<SocketAddr>, SendError> {
        let (mut permitted, mut refused) = (Vec::new(), None);
        for address in all {
            match self.addresses.check(address.ip()) {
                Ok(()) => permitted.push(*address),
                Err(refusal) => refused = refused.or(Some(refusal)),
            }
        }
        match refused {
            Some(refusal) if permitted.is_empty() => Err(NotSent::Refused(refusal).into()),
            _ => Ok(permitted),
        }
    }
}

async fn addresses_of(target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, SendError> {
    if let Some(address) = target.address {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let looked_up = machine::net::lookup_host((target.host.as_str(), target.port));
    match timeout_at(deadline, looked_up).await {
        Ok(Ok(found)) => {
            let found: Vec<_> = found.collect();
            if found.is_empty() {
                return Err(not_connected(target, "the name has no address", ""));
            }
            Ok(found)
        }
        Ok(Err(error)) => Err(not_connected(target, "the name was not found", &error.to_string())),
        Err(_) => Err(not_connected(target, "the name was not looked up in time", "")),
    }
}

/// Tries one address after the other, each with an equal share of the time that is left.
async fn first_to_answer(
    target: &Target,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, SendError> {
    let mut failed = None;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let others = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let until = Instant::now() + left / others;
        match timeout_at(until, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = Some((plain(&error), format!("{address}: {error}"))),
            Err(_) => failed = Some(("no answer in time", address.to_string())),
        }
    }
    let (what, detail) = failed.unwrap_or(("no address", String::new()));
    Err(not_connected(target, what, &detail))
}

/// The deadline of a connection: its own limit, or the end of the whole exchange.
pub(crate) fn connect_deadline(exchange: Instant) -> Instant {
    exchange.min(Instant::now() + Duration::from_millis(types::limits::CONNECT_MS_MAX))
}

fn plain(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "unreachable",
        _ => "the system refused it",
    }
}

fn not_connected(target: &Target, what: &'static str, detail: &str) -> SendError {
    let to = format!("{}:{}", target.host, target.port);
    let detail = if detail.is_empty() { String::new() } else { format!(" ({detail})") };
    SendError::NotConnected { to, what, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip]
    fn of_many_addresses_only_the_permitted_are_left() {
        let cases: [(&[&str], Option<&[&str]>); 5] = [
            (&["8.8.8.8:1"],                              Some(&["8.8.8.8:1"])),
            (&["10.0.0.1:1", "8.8.8.8:1", "[::1]:1"],     Some(&["8.8.8.8:1"])),
            (&["127.0.0.1:1", "10.0.0.1:1"],              Some(&["127.0.0.1:1"])),
            (&["10.0.0.1:1", "[::ffff:10.0.0.1]:1"],      None),
            (&["169.254.169.254:80"],                     None),
        ];
        let rule = AddressRule::new(&["127.0.0.0/8"]).unwrap();
        let connector = Connector::new(rule, Roots::none());
        for (all, expected) in cases {
            let parsed = |texts: &[&str]| -> Vec<SocketAddr> {
                texts.iter().map(|text| text.parse().unwrap()).collect()
            };
            match (connector.permitted(&parsed(all)), expected) {
                (Ok(found), Some(expected)) => assert_eq!(found, parsed(expected)),
                (Err(SendError::NotSent(NotSent::Refused(_))), None) => {}
                (other, _) => panic!("{all:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn roots_are_read_from_pem_or_refused() {
        let mut roots = Roots::none();
        for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(roots.add_pem(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(roots.is_empty());
        let key = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        roots.add_pem(pem(key.cert.der()).as_bytes()).unwrap();
        assert!(!roots.is_empty());
    }

    fn pem(der: &[u8]) -> String {
        use base64::Engine as _;
        let body = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }
}
