//! Tenants: the telecom companies that use the API.

use crate::calendar::TimeZone;
use crate::identifiers::TenantId;

/// A telecom company that uses the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The id of the tenant.
    pub id: TenantId,
    /// The name of the tenant.
    pub name: String,
    /// The time zone of the tenant's dates.
    pub time_zone: TimeZone,
}
