//! Tenants: the telecom companies that use the API.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::calendar::TimeZone;
use crate::identifiers::TenantId;
use crate::origin::Actor;

/// A telecom company that uses the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The id of the tenant.
    pub id: TenantId,
    /// The name of the tenant.
    pub name: String,
    /// The time zone of the tenant's dates.
    pub time_zone: TimeZone,
    /// The pause of the tenant's cancellations, if an operator has paused them.
    pub paused: Option<Pause>,
}

/// A pause: while it lasts, no cancellation of the tenant is executed. Callers can still cancel and withdraw. What has become due
/// meanwhile is executed when the pause is over, for the promised instant.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// The beginning of the pause.
    pub at: DateTime<Utc>,
    /// The operator who paused.
    pub by: Option<Actor>,
    /// The reason, which decides what ends the pause.
    pub reason: PauseReason,
}

/// The reason for a pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PauseReason {
    /// An operator has paused this tenant.
    #[default]
    Tenant,
    /// An operator has paused all tenants.
    All,
    /// The tenant has moved to another stack. It is never executed here again.
    Moved,
    /// A backup of this time is being restored.
    Restoring(DateTime<Utc>),
}
