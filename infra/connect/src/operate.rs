//! What an operator does from the command line: tenants, keys, subscriptions. On this machine or on AWS; the
//! endpoint decides which.

use std::fs;
use std::io;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use clap::{Args, Subcommand};
use subscriptions::api_key::{ApiKey, NoEntropy, Scope, Tenant, Token};
use subscriptions::calendar::Calendar;
use subscriptions::clock::Clock;
use subscriptions::identifiers::{KeyId, SubscriptionId, TenantId};
use subscriptions::store::provision::Imported;
use subscriptions::store::tables::TableNames;
use subscriptions::store::{Endpoint, MissingVariable, Store, StoreError};

use crate::ndjson::{InvalidLine, read_subscriptions};

/// Where the database is.
#[derive(Clone, Debug, Args)]
pub struct Database {
    /// The DynamoDB that runs there, instead of the one that the environment names
    #[arg(long, value_name = "URL")]
    dynamodb_endpoint: Option<String>,
}

impl Database {
    fn open(self) -> Result<Store, MissingVariable> {
        let endpoint = self.dynamodb_endpoint.map_or_else(Endpoint::from_env, |url| Ok(Endpoint::at(url)))?;
        Ok(Store::new(endpoint, TableNames::from_env()))
    }
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Manage tenants, the operators that use the API
    #[command(subcommand)]
    Tenants(Tenants),
    /// Manage the API keys of a tenant
    #[command(subcommand)]
    Keys(Keys),
    /// Manage the subscriptions of a tenant
    #[command(subcommand)]
    Subscriptions(Subscriptions),
}

/// Commands on tenants.
#[derive(Clone, Debug, Subcommand)]
pub enum Tenants {
    /// Create a tenant
    Create {
        /// What identifies it, in its API keys too: 1 to 32 lower-case letters, digits and hyphens
        id: TenantId,
        /// What it is called; its id if it is not said
        #[arg(long)]
        name: Option<String>,
        /// Where its days begin, by IANA name
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        time_zone: Tz,
        /// Where it is kept.
        #[command(flatten)]
        database: Database,
    },
}

/// Commands on API keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Keys {
    /// Create an API key, and print it: this once, as only a hash of it is kept
    Create {
        /// Whose key it is
        #[arg(long)]
        tenant: TenantId,
        /// What it may do, once for each scope; everything if it is not said
        #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
        scopes: Vec<Scope>,
        /// The instant (RFC 3339) from which it is no longer valid
        #[arg(long, value_name = "INSTANT")]
        expires: Option<DateTime<Utc>>,
        /// Where it is kept.
        #[command(flatten)]
        database: Database,
    },
}

/// Commands on subscriptions.
#[derive(Clone, Debug, Subcommand)]
pub enum Subscriptions {
    /// Import those that are not there yet; nothing is overwritten
    Import {
        /// Whose subscriptions they are
        #[arg(long)]
        tenant: TenantId,
        /// Subscriptions in the wire shape, one a line
        #[arg(value_name = "FILE.ndjson")]
        file: PathBuf,
        /// Where it is kept.
        #[command(flatten)]
        database: Database,
    },
}

fn parse_scope(text: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(|scope| scope.to_string()).join(" or ");
    text.parse().map_err(|_| format!("a scope is {}", known()))
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it all")]
pub enum CommandError {
    #[error("{0}; or name the database with --dynamodb-endpoint")]
    Environment(#[from] MissingVariable),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("there is a tenant {0} already")]
    TenantExists(TenantId),
    #[error("there is no tenant {0}")]
    NoTenant(TenantId),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{}, {source}", path.display())]
    Line { path: PathBuf, source: InvalidLine },
    #[error("the subscription {0} has a reference id that belongs to another one")]
    ReferenceTaken(SubscriptionId),
}

/// Carries out a command; what it has to say.
///
/// # Errors
/// It could not be carried out, or, of an import, not to the end.
pub async fn run(command: Command) -> Result<String, CommandError> {
    let now = Clock::system().now();
    match command {
        Command::Tenants(Tenants::Create { id, name, time_zone, database }) => {
            let store = database.open()?;
            let tenant = Tenant { name: name.unwrap_or_else(|| id.to_string()), id, time_zone };
            if !store.add_tenant(&tenant).await? {
                return Err(CommandError::TenantExists(tenant.id));
            }
            Ok(format!("created the tenant {}, whose days begin in {time_zone}", tenant.id))
        }
        Command::Keys(Keys::Create { tenant, scopes, expires, database }) => {
            let store = database.open()?;
            let tenant = find_tenant(&store, tenant).await?;
            let token = Token::generate(tenant.id.clone(), KeyId::random())?;
            let scopes = if scopes.is_empty() { &Scope::ALL[..] } else { &scopes };
            let key = ApiKey { expires_at: expires, ..ApiKey::new(&token, scopes, now) };
            store.add_api_key(&tenant.id, token.key_id(), &key).await?;
            Ok(token.reveal())
        }
        Command::Subscriptions(Subscriptions::Import { tenant, file, database }) => {
            let store = database.open()?;
            let tenant = find_tenant(&store, tenant).await?;
            import(&store, &tenant, file, now).await
        }
    }
}

async fn find_tenant(store: &Store, id: TenantId) -> Result<Tenant, CommandError> {
    store.tenant(&id).await?.ok_or(CommandError::NoTenant(id))
}

async fn import(
    store: &Store,
    tenant: &Tenant,
    path: PathBuf,
    now: DateTime<Utc>,
) -> Result<String, CommandError> {
    let ndjson = match fs::read_to_string(&path) {
        Ok(ndjson) => ndjson,
        Err(source) => return Err(CommandError::File { path, source }),
    };
    let subscriptions = match read_subscriptions(&ndjson, &Calendar::new(tenant.time_zone, now), now) {
        Ok(subscriptions) => subscriptions,
        Err(source) => return Err(CommandError::Line { path, source }),
    };
    let (mut written, mut existed) = (0, 0);
    for new in &subscriptions {
        match store.import_subscription(&tenant.id, new).await? {
            Imported::Written => written += 1,
            Imported::Existed => existed += 1,
            Imported::ReferenceTaken => {
                return Err(CommandError::ReferenceTaken(new.subscription().subscription_id));
            }
        }
    }
    Ok(format!("imported {written} subscriptions; {existed} were there already"))
}
