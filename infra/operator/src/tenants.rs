//! Tenants, the companies that use the API: created, listed, shown, and given another time zone.

use chrono::{DateTime, Utc};
use clap::Subcommand;
use domain::api_key::KeyState;
use domain::calendar::TimeZone;
use domain::identifiers::TenantId;
use domain::tenant::{Pause, PauseReason, Tenant};
use serde::Serialize;

use crate::arguments::{find_tenant, parse_name, parse_tenant};
use crate::format::{instant, table};
use crate::{CommandError, Session};

/// Commands on tenants.
#[derive(Clone, Debug, Subcommand)]
pub enum Tenants {
    /// Create a tenant
    Create {
        /// Id of the tenant, also in its API keys: 1 to 32 lower-case letters, digits and hyphens
        #[arg(value_parser = parse_tenant)]
        id: TenantId,
        /// Name of the tenant [default: its id]
        #[arg(long, value_parser = parse_name)]
        name: Option<String>,
        /// Time zone of the tenant, by its IANA name
        #[arg(long, value_name = "ZONE", default_value = "UTC")]
        time_zone: TimeZone,
    },
    /// List all tenants
    List,
    /// Show one tenant
    Show {
        /// Id of the tenant
        #[arg(value_parser = parse_tenant)]
        id: TenantId,
    },
    /// Change a tenant's time zone; pending cancellations keep their instant
    SetTimeZone {
        /// Id of the tenant
        #[arg(value_parser = parse_tenant)]
        id: TenantId,
        /// Time zone of the tenant, by its IANA name
        #[arg(value_name = "ZONE")]
        time_zone: TimeZone,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownTenant {
    tenant: TenantId,
    name: String,
    time_zone: TimeZone,
    local_time: String,
    /// The pause of its cancellations, if they are paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<Pause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_keys: Option<usize>,
}

impl ShownTenant {
    fn new(tenant: Tenant, now: DateTime<Utc>) -> Self {
        let local_time = tenant.time_zone.local_time(now).format("%F %R").to_string();
        Self {
            tenant: tenant.id,
            name: tenant.name,
            time_zone: tenant.time_zone,
            local_time,
            paused: tenant.paused,
            valid_keys: None,
        }
    }

    /// Notes the pause of the tenant's cancellations.
    fn note_pause(&self, session: &mut Session<'_>) {
        if let Some(Pause { at, by, reason }) = &self.paused {
            let by = by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let moved = if *reason == PauseReason::Moved { ": it has moved" } else { "" };
            session.note(&format!("{}: cancellations paused since {}{by}{moved}", self.tenant, instant(*at)));
        }
    }
}

pub(crate) async fn run(command: Tenants, session: &mut Session<'_>) -> Result<(), CommandError> {
    let (store, now) = (session.store(), session.now());
    match command {
        Tenants::Create { id, name, time_zone } => {
            let name = name.unwrap_or_else(|| id.to_string());
            let tenant = Tenant { id, name, time_zone, paused: None };
            if !store.add_tenant(&tenant).await? {
                return Err(CommandError::TenantExists(tenant.id));
            }
            let text = format!("created the tenant {} with the time zone {}", tenant.id, tenant.time_zone);
            session.print(&ShownTenant::new(tenant, now), || text)
        }
        Tenants::List => {
            let page = store.tenants().await?;
            let tenants: Vec<_> =
                page.found.into_iter().map(|tenant| ShownTenant::new(tenant, now)).collect();
            let outcome = session.complain(&page.unreadable);
            tenants.iter().for_each(|tenant| tenant.note_pause(session));
            let text = || {
                let row = |shown: &ShownTenant| {
                    let ShownTenant { tenant, name, time_zone, local_time, .. } = shown;
                    [tenant.to_string(), name.clone(), time_zone.to_string(), local_time.clone()]
                };
                table(["TENANT", "NAME", "TIME ZONE", "TIME THERE"], tenants.iter().map(row))
            };
            session.conclude(&tenants, text, outcome)
        }
        Tenants::Show { id } => {
            let tenant = find_tenant(&store, id).await?;
            let keys = store.api_keys(&tenant.id).await?;
            let outcome = session.complain(&keys.unreadable);
            let valid = keys.found.iter().filter(|(_, key)| key.state(now) == KeyState::Valid).count();
            let shown = ShownTenant { valid_keys: Some(valid), ..ShownTenant::new(tenant, now) };
            shown.note_pause(session);
            let text = || {
                table(
                    ["TENANT", "NAME", "TIME ZONE", "TIME THERE", "#VALID KEYS"],
                    [[
                        shown.tenant.to_string(),
                        shown.name.clone(),
                        shown.time_zone.to_string(),
                        shown.local_time.clone(),
                        valid.to_string(),
                    ]],
                )
            };
            session.conclude(&shown, text, outcome)
        }
        Tenants::SetTimeZone { id, time_zone } => {
            if !store.set_time_zone(&id, &time_zone).await? {
                return Err(CommandError::NoTenant(id));
            }
            let tenant = find_tenant(&store, id).await?;
            let text = format!("the time zone of {} is {time_zone}", tenant.id);
            session.print(&ShownTenant::new(tenant, now), || text)?;
            session.note("Pending cancellations keep the instant that was promised.");
            Ok(())
        }
    }
}
