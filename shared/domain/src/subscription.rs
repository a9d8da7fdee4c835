//! The subscription document: all that a caller sees, and nothing else.
//!
//! These types are the whole list of fields that may leave the service. The database keeps other attributes beside them (a PUK,
//! a PIN, those of another system). They can't leave, because no type here can hold them. Names are the same on the wire and in
//! the database, in camelCase. An absent field is left out; it is never null.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use serde_with::skip_serializing_none;
use strum::VariantArray;

use crate::identifiers::{ReferenceId, SubscriptionId};

/// Where a subscription is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Ordered, not yet usable.
    Pending,
    /// In use.
    Activated,
    /// Barred by the operator.
    Blocked,
    /// Ended. Nothing follows.
    Cancelled,
    /// Suspended at the customer's wish.
    Paused,
}

/// A telecommunications service provisioned for a customer, with its product and its price.
///
/// Instants are RFC 3339 in UTC. Only `subscription_id` and `status` are always there.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The service's own identifier.
    pub subscription_id: SubscriptionId,
    /// Where it is in its life.
    pub status: Status,
    /// What kind of service it is, for example `SUBSCRIPTION_CELL`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What to show for it, usually a pretty-printed `msisdn`.
    pub display: Option<String>,
    /// The active phone number, in E.164.
    pub msisdn: Option<String>,
    /// Who pays.
    pub customer: Option<Customer>,
    /// The id of who pays.
    pub customer_id: Option<String>,
    /// What was bought.
    pub product_offering: Option<ProductOffering>,
    /// The id of what was bought.
    pub product_offering_id: Option<String>,
    /// The SIM card.
    pub sim: Option<Sim>,
    /// Who uses it.
    pub subscriber: Option<Subscriber>,
    /// The id of who uses it.
    pub subscriber_id: Option<String>,
    /// When it became usable.
    pub activated_at: Option<DateTime<Utc>>,
    /// When it was ordered.
    pub created_at: Option<DateTime<Utc>>,
    /// When anything in this document last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// The caller's own name for it, unique within the tenant.
    pub reference_id: Option<ReferenceId>,
    /// Fields of custom subscription types.
    pub extensions: Option<Map<String, Value>>,
    /// The change of number that is scheduled.
    pub pending_msisdn: Option<PendingMsisdn>,
    /// The change of status that is scheduled; a cancellation is one.
    pub pending_status: Option<PendingStatus>,
    /// The change of product that is scheduled.
    pub pending_product_offering: Option<PendingProductOffering>,
    /// The transfer of the number from or to another operator.
    pub porting: Option<Porting>,
    /// When it was cancelled: the first instant at which it no longer ran.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// The caller's own key-value pairs.
    pub metadata: Option<Map<String, Value>>,
}

/// Everything but the id and the status may be personal, so a document never prints itself whole.
impl fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("subscription_id", &self.subscription_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Who pays.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    /// Identifies the customer.
    pub customer_id: Option<String>,
    /// The customer's name.
    pub name: Option<String>,
}

/// What was bought.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductOffering {
    /// Identifies the offering.
    pub product_offering_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// What it costs.
    pub price: Option<Price>,
    /// The group it is sold in.
    pub group: Option<ProductOfferingGroup>,
}

/// What an offering costs.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// ISO 4217.
    pub currency: Option<String>,
    /// How it is charged, for example `ONE_TIME` or `RECURRING`.
    pub price_type: Option<String>,
    /// What is taken off, in units of the currency.
    pub discount: Option<Number>,
    /// What is paid after the discount, in units of the currency.
    pub net_price: Option<Number>,
    /// How many months the customer is bound.
    pub bound_months: Option<Number>,
    /// How often it is charged.
    pub billing_cycle: Option<BillingCycle>,
}

/// How often a price is charged: every `interval` periods.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingCycle {
    /// For example `MONTHLY`.
    pub period: Option<String>,
    /// Every how many periods.
    pub interval: Option<Number>,
}

/// The group an offering is sold in.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductOfferingGroup {
    /// Identifies the group.
    pub product_offering_group_id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its category, for example `SUBSCRIPTION_CELL`.
    pub category: Option<String>,
    /// For customers.
    pub description: Option<String>,
    /// For the operator's staff.
    pub internal_description: Option<String>,
}

/// The SIM card, without its secrets.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sim {
    /// Whether it is an eSIM.
    pub esim: Option<bool>,
    /// The device it was last seen in.
    pub imei: Option<String>,
    /// The card's number.
    pub iccid: Option<String>,
}

/// Who uses the subscription.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscriber {
    /// Identifies the subscriber.
    pub subscriber_id: Option<String>,
    /// The subscriber's name.
    pub name: Option<String>,
    /// The subscriber's e-mail address.
    pub email: Option<String>,
    /// Where the subscriber lives.
    pub address: Option<Address>,
    /// When the subscriber was first known.
    pub created_at: Option<DateTime<Utc>>,
    /// When anything about the subscriber last changed.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A postal address.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Street and number.
    pub street1: Option<String>,
    /// Flat, floor, building.
    pub street2: Option<String>,
    /// City.
    pub city: Option<String>,
    /// Postal code.
    pub zip: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// State, where a country has them.
    pub state: Option<String>,
    /// Region, where a country has them.
    pub region: Option<String>,
    /// For whose attention.
    pub attention: Option<String>,
}

/// A change of number that is scheduled.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingMsisdn {
    /// The number to come.
    pub msisdn: Option<String>,
    /// The tenant's local date on which it comes.
    pub scheduled_at: Option<NaiveDate>,
}

/// A change of status that is scheduled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingStatus {
    /// The status to come.
    pub status: Status,
    /// The tenant's local date at whose first instant it comes.
    pub scheduled_at: NaiveDate,
}

impl PendingStatus {
    /// Whether it is a cancellation.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.status == Status::Cancelled
    }
}

/// A change of product that is scheduled.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingProductOffering {
    /// The tenant's local date on which it comes.
    pub scheduled_at: Option<NaiveDate>,
    /// The product to come.
    pub product: Option<ProductOffering>,
}

/// The transfer of a number from or to another operator.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Porting {
    /// The number that moves.
    pub msisdn: Option<String>,
    /// How far the transfer is.
    pub status: Option<PortingStatus>,
    /// Which way it goes.
    pub direction: Option<PortingDirection>,
    /// The date on which it happens.
    pub scheduled_at: Option<NaiveDate>,
}

/// How far a transfer of a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names say it all")]
pub enum PortingStatus {
    Pending,
    InProgress,
    Scheduled,
    Completed,
    Failed,
}

/// Which way a number moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PortingDirection {
    /// From another operator to this one.
    Inbound,
    /// From this operator to another.
    Outbound,
}
