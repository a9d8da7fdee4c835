//! The subscription document: everything that a caller sees, and nothing else.
//!
//! These types are the whole list of fields that may leave the service. The database keeps other attributes beside them (a PUK, a
//! PIN, those of another system). They can't leave, because no type here can hold them. Names are the same in JSON and in the
//! database, in camelCase. An absent field is left out; it is never null.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};
use serde_with::skip_serializing_none;
use strum::VariantArray;

use crate::identifiers::{ReferenceId, SubscriptionId};

/// The stage of a subscription in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Ordered, not yet usable.
    Pending,
    /// In use.
    Activated,
    /// Barred by the operator.
    Blocked,
    /// Ended. No other status follows.
    Cancelled,
    /// Suspended at the customer's request.
    Paused,
}

/// Shows a status as callers see it.
impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A telecommunications service provisioned for a customer, with its product and its price.
///
/// Instants are RFC 3339 in UTC. Only `subscription_id` and `status` are always present.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// The subscription id.
    pub subscription_id: SubscriptionId,
    /// The status.
    pub status: Status,
    /// The kind of service, for example `SUBSCRIPTION_CELL`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The text to show for the subscription, usually a pretty-printed `msisdn`.
    pub display: Option<String>,
    /// The active phone number, in E.164.
    pub msisdn: Option<String>,
    /// The customer, who pays.
    pub customer: Option<Customer>,
    /// The id of the customer.
    pub customer_id: Option<String>,
    /// The product offering that was bought.
    pub product_offering: Option<ProductOffering>,
    /// The id of the product offering.
    pub product_offering_id: Option<String>,
    /// The SIM card.
    pub sim: Option<Sim>,
    /// The subscriber, who uses the service.
    pub subscriber: Option<Subscriber>,
    /// The id of the subscriber.
    pub subscriber_id: Option<String>,
    /// The time at which the subscription became usable.
    pub activated_at: Option<DateTime<Utc>>,
    /// The time of the order.
    pub created_at: Option<DateTime<Utc>>,
    /// The time of the last change of this document.
    pub updated_at: Option<DateTime<Utc>>,
    /// The reference id: the tenant's own name for the subscription, unique within the tenant.
    pub reference_id: Option<ReferenceId>,
    /// Fields of custom subscription types.
    pub extensions: Option<Map<String, Value>>,
    /// The scheduled change of number.
    pub pending_msisdn: Option<PendingMsisdn>,
    /// The scheduled change of status, such as a cancellation.
    pub pending_status: Option<PendingStatus>,
    /// The scheduled change of product.
    pub pending_product_offering: Option<PendingProductOffering>,
    /// The transfer of the number from or to another operator.
    pub porting: Option<Porting>,
    /// The time of the cancellation: the first instant at which the subscription no longer ran.
    pub cancelled_at: Option<DateTime<Utc>>,
    /// The caller's own key-value pairs.
    pub metadata: Option<Map<String, Value>>,
}

impl Subscription {
    /// The id of the product offering, wherever the document has it.
    #[must_use]
    pub fn product_id(&self) -> Option<&str> {
        let nested = || self.product_offering.as_ref()?.product_offering_id.as_ref();
        self.product_offering_id.as_ref().or_else(nested).map(String::as_str)
    }
}

/// Shows the id and the status only, because everything else may be personal.
impl fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("subscription_id", &self.subscription_id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// The customer, who pays.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    /// The id of the customer.
    pub customer_id: Option<String>,
    /// The customer's name.
    pub name: Option<String>,
}

/// The product offering that was bought.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductOffering {
    /// The id of the offering.
    pub product_offering_id: Option<String>,
    /// The name of the offering.
    pub name: Option<String>,
    /// The price of the offering.
    pub price: Option<Price>,
    /// The group in which the offering is sold.
    pub group: Option<ProductOfferingGroup>,
}

/// The price of an offering.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Price {
    /// The currency, by its ISO 4217 code.
    pub currency: Option<String>,
    /// The type of charge, for example `ONE_TIME` or `RECURRING`.
    pub price_type: Option<String>,
    /// The discount, in units of the currency.
    pub discount: Option<Number>,
    /// The price after the discount, in units of the currency.
    pub net_price: Option<Number>,
    /// Number of months for which the customer is bound.
    pub bound_months: Option<Number>,
    /// The billing cycle.
    pub billing_cycle: Option<BillingCycle>,
}

/// The billing cycle of a price, which is charged every `interval` periods.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingCycle {
    /// The period, for example `MONTHLY`.
    pub period: Option<String>,
    /// Number of periods from one charge to the next.
    pub interval: Option<Number>,
}

/// The group in which an offering is sold.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProductOfferingGroup {
    /// The id of the group.
    pub product_offering_group_id: Option<String>,
    /// The name of the group.
    pub name: Option<String>,
    /// The category of the group, for example `SUBSCRIPTION_CELL`.
    pub category: Option<String>,
    /// The description for customers.
    pub description: Option<String>,
    /// The description for the operator's staff.
    pub internal_description: Option<String>,
}

/// The SIM card, without its secrets.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sim {
    /// True if the SIM is an eSIM.
    pub esim: Option<bool>,
    /// The IMEI of the device in which the SIM was last seen.
    pub imei: Option<String>,
    /// The ICCID, the number of the card.
    pub iccid: Option<String>,
}

/// The subscriber, who uses the subscription.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscriber {
    /// The id of the subscriber.
    pub subscriber_id: Option<String>,
    /// The subscriber's name.
    pub name: Option<String>,
    /// The subscriber's e-mail address.
    pub email: Option<String>,
    /// The subscriber's postal address.
    pub address: Option<Address>,
    /// The time at which the subscriber was first known.
    pub created_at: Option<DateTime<Utc>>,
    /// The time of the last change of the subscriber's data.
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
    /// The country, by its ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// State, if the country has them.
    pub state: Option<String>,
    /// Region, if the country has them.
    pub region: Option<String>,
    /// The person to whose attention mail is sent.
    pub attention: Option<String>,
}

/// A scheduled change of number.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingMsisdn {
    /// The new number.
    pub msisdn: Option<String>,
    /// The tenant's local date of the change.
    pub scheduled_at: Option<NaiveDate>,
}

/// A scheduled change of status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingStatus {
    /// The new status.
    pub status: Status,
    /// The tenant's local date of the change, which takes effect at the first instant of that date.
    pub scheduled_at: NaiveDate,
}

impl PendingStatus {
    /// Returns true if the change is a cancellation.
    #[must_use]
    pub fn ends(&self) -> bool {
        self.status == Status::Cancelled
    }
}

/// A scheduled change of product.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingProductOffering {
    /// The tenant's local date of the change.
    pub scheduled_at: Option<NaiveDate>,
    /// The new product.
    pub product: Option<ProductOffering>,
}

/// The transfer of a number from or to another operator.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Porting {
    /// The number that is transferred.
    pub msisdn: Option<String>,
    /// The progress of the transfer.
    pub status: Option<PortingStatus>,
    /// The direction of the transfer.
    pub direction: Option<PortingDirection>,
    /// The date of the transfer.
    pub scheduled_at: Option<NaiveDate>,
}

/// The progress of a transfer.
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

/// The direction of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, VariantArray)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PortingDirection {
    /// From another operator to this one.
    Inbound,
    /// From this operator to another.
    Outbound,
}
