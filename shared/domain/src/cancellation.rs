//! Cancellations: as they are requested, and as they are stored with their subscription.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use strum::VariantArray;

use crate::calendar::{Calendar, EffectiveDate, UnusableDate};
use crate::identifiers::{BatchId, CancellationId, KeyId};
use crate::origin::{Actor, Requester};
use crate::standing::IndexEntry;

/// The requested date of a cancellation, in the tenant's calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// The day after today.
    NextDay,
    /// The 1st of the month after today's.
    BeginningOfNextMonth,
    /// A date later than today.
    AtDate(NaiveDate),
}

impl Schedule {
    /// The date of this schedule in `calendar`, and the instant at which that date begins.
    ///
    /// # Errors
    /// A chosen date is not later than today, or does not exist in the tenant's time zone.
    pub fn effective(self, calendar: &Calendar) -> Result<EffectiveDate, UnusableDate> {
        match self {
            Self::NextDay => Ok(calendar.next_day()),
            Self::BeginningOfNextMonth => Ok(calendar.beginning_of_next_month()),
            Self::AtDate(date) => calendar.at_date(date),
        }
    }
}

/// The reason for which a customer leaves, standardized for reporting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Reason {
    BetterDealPrice,
    NotHappyMissingFunctions,
    NotHappyCoverageSla,
    NotHappyComplexAdmin,
    NotHappySupportEngagement,
    Fraud,
    FraudAttempt,
    TestOrMarketing,
    NoNeed,
    WrongOrder,
    /// Another reason, which a comment gives.
    Other,
}

/// Shows a reason as callers write it.
impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A request to cancel that has passed every check, except those that need the stored state or the time.
#[derive(Clone, PartialEq)]
pub struct CancelRequest {
    /// The requested date.
    pub schedule: Schedule,
    /// The reason.
    pub reason: Reason,
    /// The reason in the caller's words: at most 1,000 characters, and not blank if the reason is `OTHER`.
    pub comment: Option<String>,
    /// The caller's own data about this cancellation: a JSON object, as text.
    pub metadata: Option<String>,
}

/// Omits comment and metadata, which may be personal.
impl fmt::Debug for CancelRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("CancelRequest");
        shown.field("schedule", &self.schedule).field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// The state of a cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CancellationState {
    /// The cancellation is to take effect.
    Pending,
    /// The cancellation has taken effect.
    Executed,
    /// The cancellation was withdrawn.
    Withdrawn,
    /// Another cancellation was put in its place. Only the history shows such a cancellation, because it is not the latest one.
    Replaced,
}

/// A cancellation as it is stored with its subscription. For reporting, it is kept after it took effect or was withdrawn.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancellation {
    /// The id of this cancellation, different from those before and after it.
    pub cancellation_id: CancellationId,
    /// The date that callers were told. Absent if an earlier version of this service wrote the cancellation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<NaiveDate>,
    /// The instant at which the cancellation takes effect.
    pub effective_at: DateTime<Utc>,
    /// The reason. Absent only if the subscription was imported with its cancellation pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The reason in the caller's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The caller's own data: JSON as it was sent, because a DynamoDB map can't hold every JSON value
    /// (numbers over 38 digits, more than 32 levels).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The time of the request.
    pub requested_at: DateTime<Utc>,
    /// The API key of the request. Absent only if no request made the cancellation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<KeyId>,
    /// The name that the API key had then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by_name: Option<String>,
    /// The person or system on whose behalf the cancellation was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_for: Option<Actor>,
    /// The batch of the request, if an operator's command made many at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_in: Option<BatchId>,
    /// The time at which the cancellation was withdrawn, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<DateTime<Utc>>,
    /// The API key that withdrew the cancellation, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_by: Option<KeyId>,
    /// The name that the API key had then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_by_name: Option<String>,
    /// The person or system on whose behalf the cancellation was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withdrawn_for: Option<Actor>,
    /// The time of the execution. Absent before it, and if an earlier version of this service executed the cancellation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executed_at: Option<DateTime<Utc>>,
}

impl Cancellation {
    /// A cancellation that is pending from `now`, without other details, such as an imported one.
    #[must_use]
    pub fn new(id: CancellationId, effective: EffectiveDate, now: DateTime<Utc>) -> Self {
        Self {
            cancellation_id: id,
            scheduled_at: Some(effective.date()),
            effective_at: effective.instant(),
            reason: None,
            comment: None,
            metadata: None,
            requested_at: now,
            requested_by: None,
            requested_by_name: None,
            requested_for: None,
            requested_in: None,
            withdrawn_at: None,
            withdrawn_by: None,
            withdrawn_by_name: None,
            withdrawn_for: None,
            executed_at: None,
        }
    }

    /// The same cancellation, requested by `requester`.
    #[must_use]
    pub fn requested_by(self, requester: Requester) -> Self {
        let Requester { key_id, key_name, actor, batch } = requester;
        Self {
            requested_by: key_id,
            requested_by_name: key_name,
            requested_for: actor,
            requested_in: batch,
            ..self
        }
    }

    /// The same cancellation, withdrawn at `at` by `requester`.
    #[must_use]
    pub fn withdrawn(self, at: DateTime<Utc>, requester: Requester) -> Self {
        // A batch is not withdrawn as another batch.
        let Requester { key_id, key_name, actor, batch: _ } = requester;
        Self {
            withdrawn_at: Some(at),
            withdrawn_by: key_id,
            withdrawn_by_name: key_name,
            withdrawn_for: actor,
            ..self
        }
    }

    /// True if the cancellation was executed or withdrawn.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.executed_at.is_some() || self.withdrawn_at.is_some()
    }

    /// The requester, as far as that is known.
    #[must_use]
    pub fn requester(&self) -> Option<Requester> {
        Requester {
            key_id: self.requested_by.clone(),
            key_name: self.requested_by_name.clone(),
            actor: self.requested_for.clone(),
            batch: self.requested_in.clone(),
        }
        .known()
    }

    /// The requester of the withdrawal, as far as that is known.
    #[must_use]
    pub fn withdrawer(&self) -> Option<Requester> {
        Requester {
            key_id: self.withdrawn_by.clone(),
            key_name: self.withdrawn_by_name.clone(),
            actor: self.withdrawn_for.clone(),
            batch: None,
        }
        .known()
    }

    /// The entry of the cancellation in the due index.
    #[must_use]
    pub fn entry(&self) -> IndexEntry {
        IndexEntry::Due(self.cancellation_id, self.effective_at)
    }
}
