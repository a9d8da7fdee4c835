//! Tenants: the operators that use the API.

use crate::calendar::TimeZone;
use crate::identifiers::TenantId;

/// An operator that uses the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Identifies it.
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// The time zone of its dates.
    pub time_zone: TimeZone,
}
