//! `cancellations pause` and `resume`: no cancellation of a tenant is executed in between.

use chrono::{DateTime, Utc};
use clap::Args;
use domain::identifiers::TenantId;
use domain::origin::Actor;
use domain::tenant::{Pause, Tenant};
use serde::Serialize;
use serde_with::skip_serializing_none;
use store::Admin;
use store::tenants::{Paused, Resumed};

use super::index::Index;
use crate::arguments::{Operator, find_tenant, parse_tenant};
use crate::format::{counted, instant};
use crate::terminal::Text;
use crate::{CommandError, Session};

/// The tenants whose cancellations are paused or resumed.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct PausedTenants {
    /// Cancellations of this tenant
    #[arg(long, value_parser = parse_tenant)]
    tenant: Option<TenantId>,
    /// Cancellations of all tenants
    #[arg(long)]
    all: bool,
}

impl PausedTenants {
    /// Returns the tenants, and the keys of those that can't be read.
    async fn read(self, store: &Admin) -> Result<(Vec<Tenant>, Vec<String>), CommandError> {
        match self.tenant {
            Some(id) => Ok((vec![find_tenant(store, id).await?], Vec::new())),
            None => {
                let page = store.tenants().await?;
                Ok((page.found, page.unreadable))
            }
        }
    }
}

/// A tenant after the command.
#[skip_serializing_none]
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PausedTenant {
    tenant: TenantId,
    paused_at: Option<DateTime<Utc>>,
    paused_by: Option<Actor>,
    /// True if the command has changed it.
    changed: bool,
}

impl PausedTenant {
    fn new(tenant: TenantId, paused: Option<Pause>, changed: bool) -> Self {
        let (paused_at, paused_by) = paused.map(|Pause { at, by }| (at, by)).unzip();
        Self { tenant, paused_at, paused_by: paused_by.flatten(), changed }
    }

    fn text(&self) -> String {
        let Self { tenant, paused_at, paused_by, changed } = self;
        let by = paused_by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        match (paused_at, changed) {
            (Some(_), true) => format!("the cancellations of {tenant} are paused"),
            (Some(at), false) => {
                format!("the cancellations of {tenant} have been paused since {}{by}", instant(*at))
            }
            (None, true) => format!("the cancellations of {tenant} are resumed"),
            (None, false) => format!("the cancellations of {tenant} were not paused"),
        }
    }
}

pub(super) async fn pause(
    session: &mut Session<'_>,
    operator: &Operator,
    tenants: PausedTenants,
) -> Result<(), CommandError> {
    let (store, pause) = (session.store(), Pause { at: session.now(), by: Some(operator.name()?) });
    let (found, unreadable) = tenants.read(&store).await?;
    let mut paused = Vec::new();
    for Tenant { id, .. } in found {
        paused.push(match store.pause(&id, &pause).await? {
            Paused::Now => PausedTenant::new(id, Some(pause.clone()), true),
            Paused::Before(before) => PausedTenant::new(id, Some(before), false),
            Paused::NoTenant => return Err(CommandError::NoTenant(id)),
        });
    }
    let outcome = session.complain(&unreadable);
    session.conclude(&paused, || paused.iter().map(PausedTenant::text).collect::<Text>(), outcome)?;
    session.note("A sweep under way notices this within 5 seconds. Callers can still cancel and withdraw.");
    Ok(())
}

/// Asks before the cancellations of these tenants that are due are executed, if there are any.
pub(crate) async fn confirm_executions(
    session: &mut Session<'_>,
    store: &Admin,
    tenants: &[TenantId],
) -> Result<(), CommandError> {
    let due = Index::read(store, session.now(), None).await?.entries;
    match due.iter().filter(|entry| tenants.contains(&entry.due.tenant)).count() {
        0 => Ok(()),
        count => {
            let what = format!("This executes {} within a minute", counted(count, "due cancellation"));
            session.confirm(false, what).await
        }
    }
}

pub(super) async fn resume(
    session: &mut Session<'_>,
    tenants: PausedTenants,
    yes: bool,
) -> Result<(), CommandError> {
    let store = session.store();
    let (found, unreadable) = tenants.read(&store).await?;
    if !yes {
        let paused = found.iter().filter(|tenant| tenant.paused.is_some()).map(|tenant| tenant.id.clone());
        confirm_executions(session, &store, &paused.collect::<Vec<_>>()).await?;
    }
    let mut resumed = Vec::new();
    for Tenant { id, .. } in found {
        resumed.push(match store.resume(&id).await? {
            Resumed::Now => PausedTenant::new(id, None, true),
            Resumed::Before => PausedTenant::new(id, None, false),
            Resumed::NoTenant => return Err(CommandError::NoTenant(id)),
        });
    }
    let outcome = session.complain(&unreadable);
    session.conclude(&resumed, || resumed.iter().map(PausedTenant::text).collect::<Text>(), outcome)
}
