//! Previews: the effect that a request to cancel would have now, from the very decision on it.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use serde::Serialize;
use serde_with::skip_serializing_none;

use crate::calendar::Calendar;
use crate::cancellation::CancellationState;
use crate::details::CancellationDetails;
use crate::stored::StoredSubscription;
use crate::subscription::{PendingStatus, Porting, Subscription};

/// The effect that a request to cancel would have now.
#[skip_serializing_none]
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The instant at which the cancellation would take effect.
    pub effective_at: DateTime<Utc>,
    /// The tenant's local date that begins at that instant.
    pub scheduled_at: NaiveDate,
    /// The tenant's time zone, by its IANA name.
    pub time_zone: String,
    /// The pending cancellation that would be replaced.
    pub replaces: Option<CancellationDetails>,
    /// The scheduled change to another status that would no longer happen.
    pub supersedes: Option<PendingStatus>,
    /// The transfer of the number from or to another operator.
    pub porting: Option<Porting>,
    /// The first date on which the customer is no longer bound by the price.
    pub bound_until: Option<NaiveDate>,
}

impl Preview {
    /// The preview of a change from `before` to `after`, in the tenant's calendar. If the same cancellation is pending already, both
    /// are the same. `None` if no cancellation is pending afterwards.
    #[must_use]
    pub fn new(before: &StoredSubscription, after: &StoredSubscription, calendar: &Calendar) -> Option<Self> {
        let new = after.pending_cancellation()?;
        let zone = calendar.zone();
        let is_replaced = |former: &CancellationDetails| {
            former.state == Some(CancellationState::Pending) && former.cancellation_id != new.cancellation_id
        };
        Some(Self {
            effective_at: new.effective_at,
            scheduled_at: after.pending_date()?,
            time_zone: zone.name().to_owned(),
            replaces: before.cancellation_details(zone).filter(is_replaced),
            supersedes: before.document.pending_status.clone().filter(|pending| !pending.ends()),
            porting: before.document.porting.clone(),
            bound_until: bound_until(&before.document, calendar),
        })
    }
}

/// The date on which the binding period ends: `boundMonths` calendar months after the local date of `activatedAt`, or on the last
/// day of that month if it is shorter. `None` if there is no binding period.
fn bound_until(document: &Subscription, calendar: &Calendar) -> Option<NaiveDate> {
    let price = document.product_offering.as_ref()?.price.as_ref()?;
    // As text, because 12.0 is 12, too.
    let months = price.bound_months.as_ref()?.to_string();
    let months: u32 = months.strip_suffix(".0").unwrap_or(&months).parse().ok()?;
    let months = Months::new(Some(months).filter(|months| *months > 0)?);
    let until = calendar.date_at(document.activated_at?).checked_add_months(months);
    // RFC 3339 ends with the year 9999.
    until.filter(|until| until.year() <= 9999)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixtures::*;

    fn preview_of(before: &StoredSubscription) -> Preview {
        let asked = request(Schedule::BeginningOfNextMonth, Reason::NoNeed);
        let after = match cancel(Some(before.clone()), &asked, &asking()) {
            Decision::Change(changed) => changed.after,
            Decision::NoChange(same) => *same,
            Decision::Refuse(refusal) => panic!("{refusal:?}"),
        };
        Preview::new(before, &after, &calendar()).unwrap()
    }

    #[test]
    fn a_preview_names_what_the_request_would_replace_or_supersede() {
        let active = stored(Status::Activated);
        assert_eq!(
            json!(preview_of(&active)),
            json!({
                "effectiveAt": "2026-01-31T23:00:00Z",
                "scheduledAt": "2026-02-01",
                "timeZone": "Europe/Stockholm",
            })
        );
        let other = request(Schedule::NextDay, Reason::Fraud);
        let pending = changed(cancel(Some(active.clone()), &other, &asking()));
        let replaced = preview_of(&pending).replaces.unwrap();
        assert_eq!(
            (replaced.state, replaced.reason),
            (Some(CancellationState::Pending), Some(Reason::Fraud))
        );
        // The same cancellation is pending already.
        let same = request(Schedule::NextDay, Reason::NoNeed);
        let pending = changed(cancel(Some(active.clone()), &same, &asking()));
        assert!(preview_of(&pending).replaces.is_none());

        let paused_soon =
            PendingStatus { status: Status::Paused, scheduled_at: "2026-03-01".parse().unwrap() };
        let mut paused = active;
        paused.document.pending_status = Some(paused_soon.clone());
        assert_eq!(preview_of(&paused).supersedes, Some(paused_soon));
    }

    #[test]
    fn a_binding_period_is_counted_in_calendar_months_of_the_tenants_time_zone() {
        let bound_until = |activated_at: &str, months: serde_json::Value| {
            let mut bound = stored(Status::Activated);
            bound.document.activated_at = activated_at.parse().ok();
            let offering = json!({"price": {"boundMonths": months}});
            bound.document.product_offering = serde_json::from_value(offering).unwrap();
            preview_of(&bound).bound_until.map(|date| date.to_string())
        };
        for (activated_at, months, until) in [
            ("2025-03-02T09:30:00Z", json!(12), Some("2026-03-02")),
            // In Stockholm, it is the 1st of April already.
            ("2025-03-31T22:30:00Z", json!(1), Some("2025-05-01")),
            ("2024-01-31T12:00:00Z", json!(1), Some("2024-02-29")),
            ("2025-08-31T12:00:00Z", json!(6), Some("2026-02-28")),
            ("2025-03-02T09:30:00Z", json!(12.0), Some("2026-03-02")),
            ("2025-03-02T09:30:00Z", json!(0), None),
            ("2025-03-02T09:30:00Z", json!(-3), None),
            ("2025-03-02T09:30:00Z", json!(1.5), None),
            ("2025-03-02T09:30:00Z", json!(4_000_000_000_u32), None),
            ("2025-03-02T09:30:00Z", json!(100_000), None),
            ("2025-03-02T09:30:00Z", json!(u64::MAX), None),
        ] {
            assert_eq!(
                bound_until(activated_at, months.clone()).as_deref(),
                until,
                "{activated_at} + {months}"
            );
        }
        assert_eq!(preview_of(&stored(Status::Activated)).bound_until, None);
    }
}
