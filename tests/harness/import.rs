//! Subscriptions that a test imports, beside those of the demo.

use domain::calendar::{Calendar, TimeZone};
use domain::import::{Existing, NewSubscription, Rules};
use domain::origin::Author;
use serde_json::Value;
use service::{ids, import};

use crate::{START, Service, instant};

impl Service {
    /// Imports a document of a tenant in place of the stored one, as an operator of this name.
    pub async fn import(&self, tenant: &str, operator: &str, document: Value) {
        let now = instant(START);
        let calendar = Calendar::new(TimeZone::UTC, now);
        let new = NewSubscription::from_json(document, &calendar, now, ids::new()).unwrap();
        let rules = Rules { existing: Existing::Overwrite, takes_overdue: true };
        let author = Author::import(operator.parse().ok());
        let tenant = tenant.parse().unwrap();
        import::import(&self.admin(), &tenant, &new, rules, &author, now).await.unwrap();
    }
}
