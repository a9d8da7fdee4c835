//! `cancellations pause` and `resume`: no cancellation of a tenant is executed in between.

use clap::Args;
use domain::identifiers::TenantId;
use domain::tenant::{Pause, PauseReason, Tenant};
use serde::Serialize;
use serde_with::skip_serializing_none;
use store::Admin;
use store::tenants::Paused;

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
    paused: Option<Pause>,
    /// True if the command has changed it.
    changed: bool,
}

impl PausedTenant {
    fn text(&self) -> String {
        let Self { tenant, paused, changed } = self;
        let since = |pause: &Pause| {
            let by = pause.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let reason = match pause.reason {
                PauseReason::Tenant | PauseReason::All => "",
                PauseReason::Moved => ": it has moved",
                PauseReason::Restoring(_) => ": a restore of it is not complete",
            };
            format!("paused since {}{by}{reason}", instant(pause.at))
        };
        match (paused, changed) {
            (Some(_), true) => format!("the cancellations of {tenant} are paused"),
            (Some(pause), false) => format!("the cancellations of {tenant} have been {}", since(pause)),
            (None, true) => format!("the cancellations of {tenant} are resumed"),
            (None, false) => format!("the cancellations of {tenant} were not paused"),
        }
    }
}

pub(super) async fn pause(
    session: &mut Session<'_>,
    operator: &Operator,
    tenants: PausedTenants,
    has_moved: bool,
) -> Result<(), CommandError> {
    let reason = match (has_moved, tenants.all) {
        (true, true) => return Err(CommandError::Usage("--moved is for one tenant")),
        (true, false) => PauseReason::Moved,
        (false, true) => PauseReason::All,
        (false, false) => PauseReason::Tenant,
    };
    let (store, pause) = (session.store(), Pause { at: session.now(), by: Some(operator.name()?), reason });
    let (found, unreadable) = tenants.read(&store).await?;
    let mut paused = Vec::new();
    for Tenant { id: tenant, .. } in found {
        paused.push(match store.pause(&tenant, &pause).await? {
            Paused::Now => PausedTenant { tenant, paused: Some(pause.clone()), changed: true },
            Paused::Before(before) => PausedTenant { tenant, paused: Some(before), changed: false },
            Paused::NoTenant => return Err(CommandError::NoTenant(tenant)),
        });
    }
    let outcome = session.complain(&unreadable);
    session.conclude(&paused, || paused.iter().map(PausedTenant::text).collect::<Text>(), outcome)?;
    session.note("A sweep under way notices this within 5 seconds. Callers can still cancel and withdraw.");
    Ok(())
}

pub(super) async fn resume(
    session: &mut Session<'_>,
    tenants: PausedTenants,
    yes: bool,
) -> Result<(), CommandError> {
    let (store, all) = (session.store(), tenants.all);
    let (found, unreadable) = tenants.read(&store).await?;
    // Of all tenants, only those are resumed that were paused with all.
    let may_end = |pause: &&Pause| match pause.reason {
        PauseReason::All => true,
        PauseReason::Tenant => !all,
        PauseReason::Moved | PauseReason::Restoring(_) => false,
    };
    let ends = |tenant: &Tenant| tenant.paused.as_ref().is_some_and(|pause| may_end(&pause));
    if !yes {
        let ids: Vec<_> =
            found.iter().filter(|tenant| ends(tenant)).map(|tenant| tenant.id.clone()).collect();
        let due = Index::read(&store, session.now(), None).await?.entries;
        let due = due.iter().filter(|entry| ids.contains(&entry.due.tenant)).count();
        confirm_executions(session, due).await?;
    }
    let mut resumed = Vec::new();
    for tenant in found {
        let changed = match &tenant.paused {
            Some(pause) if may_end(&pause) => store.resume(&tenant.id, pause).await?,
            _ => false,
        };
        let paused = tenant.paused.filter(|_| !changed);
        resumed.push(PausedTenant { tenant: tenant.id, paused, changed });
    }
    let outcome = session.complain(&unreadable);
    let stays = |shown: &&PausedTenant| shown.paused.is_some();
    let outcome = outcome.and(match resumed.iter().filter(stays).count() {
        count if count > 0 && !all => {
            Err(CommandError::Incomplete("the cancellations stay paused".to_owned()))
        }
        _ => Ok(()),
    });
    session.conclude(&resumed, || resumed.iter().map(PausedTenant::text).collect::<Text>(), outcome)
}

/// Asks before so many due cancellations are executed, if there are any.
pub(crate) async fn confirm_executions(session: &mut Session<'_>, due: usize) -> Result<(), CommandError> {
    if due == 0 {
        return Ok(());
    }
    let what = format!("This executes {} within a minute", counted(due, "due cancellation"));
    session.confirm(false, what).await
}
