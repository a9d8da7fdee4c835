//! The database for all measurements: embedded, in memory, reached over HTTP or TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use domain::api_key::{ApiKey, Scope, Token};
use domain::identifiers::TenantId;
use domain::tenant::Tenant;
use dynoxide::Database;
use local::database;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use service::clock::Clock;
use service::endpoint::Endpoint;
use service::ids;
use store::Admin;
use store::tables::TableNames;
use tempfile::NamedTempFile;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Tenant whose subscriptions are cancelled.
pub const TENANT: &str = "demo";
/// Time zone of the tenant.
pub const ZONE: &str = "Europe/Stockholm";

/// A running database.
pub struct Engine {
    /// The database itself, without its API.
    pub database: Database,
    address: SocketAddr,
    tls: SocketAddr,
    certificate: NamedTempFile,
}

impl Engine {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let database = database::in_memory().unwrap();
        database::serve_opened(listener, database.clone(), CancellationToken::new());

        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let mut certificate = NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut certificate, cert.pem().as_bytes()).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = listener.local_addr().unwrap();
        tokio::spawn(terminate_tls(listener, TlsAcceptor::from(Arc::new(config)), address));
        Self { database, address, tls, certificate }
    }

    /// Returns the URL of the database over HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the URL of the database over TLS, with a self-signed certificate.
    pub fn tls_url(&self) -> String {
        format!("https://localhost:{}", self.tls.port())
    }

    /// Returns the path of that certificate.
    pub fn certificate(&self) -> &str {
        self.certificate.path().to_str().unwrap()
    }

    /// Creates tables whose names begin with this prefix, with a tenant and an API key in them.
    pub async fn create_tables(&self, prefix: &str) -> (Admin, TableNames, Token) {
        let tables = harness::tables_named(prefix);
        let store = Admin::new(&Endpoint::local(self.url()).sdk_config(), tables.clone());
        store.create_tables().await.unwrap();
        let id: TenantId = TENANT.parse().unwrap();
        let zone = ZONE.parse().unwrap();
        store
            .put_tenant(&Tenant { id: id.clone(), name: "Demo".to_owned(), time_zone: zone, paused: None })
            .await
            .unwrap();
        let token = ids::token(id, "all".parse().unwrap()).unwrap();
        let key = ApiKey::new(&token, &Scope::ALL, Clock::system().now());
        store.add_api_key(token.tenant(), token.key_id(), &key).await.unwrap();
        (store, tables, token)
    }
}

/// Forwards connections over TLS to the database.
async fn terminate_tls(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not finish the handshake, or closes the connection, has been stopped.
            let Ok(mut from) = acceptor.accept(stream).await else { return };
            let mut to = TcpStream::connect(to).await.unwrap();
            to.set_nodelay(true).unwrap();
            let _ = copy_bidirectional(&mut from, &mut to).await;
        });
    }
}
