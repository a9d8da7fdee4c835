//! Subscriptions as rows of a table.

use domain::subscription::Subscription;

use crate::format::{or_nothing, table};
use crate::terminal::Text;

/// Returns a table with a row for each subscription.
pub(super) fn rows<'s>(subscriptions: impl Iterator<Item = &'s Subscription>) -> Text {
    let row = |subscription: &Subscription| {
        let product = subscription.product_offering.as_ref().and_then(|product| product.name.as_ref());
        let pending = subscription.pending_status.as_ref().filter(|pending| pending.ends());
        [
            subscription.subscription_id.to_string(),
            or_nothing(subscription.reference_id.as_ref()),
            subscription.status.to_string(),
            or_nothing(pending.map(|pending| pending.scheduled_at)),
            or_nothing(subscription.msisdn.as_ref()),
            or_nothing(subscription.customer_id.as_ref()),
            or_nothing(product.or(subscription.product_offering_id.as_ref())),
        ]
    };
    table(
        ["SUBSCRIPTION", "REFERENCE", "STATUS", "CANCELLED ON", "NUMBER", "CUSTOMER", "PRODUCT"],
        subscriptions.map(row),
    )
}
