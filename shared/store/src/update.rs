//! A change as a write: each attribute that the change names is set or removed, on the condition of what it was decided from.
//!
//! No rule is here. The parts of a change are taken apart without a rest, so that a part which is not written does not compile.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem, Update,
};
use chrono::{DateTime, Utc};
use domain::change::{Change, DecidedFrom, DocumentChange, Edit, ExpectedClaims, ExpectedEntry, Members};
use domain::identifiers::{SubscriptionId, TenantId};
use dynamodb::defect;
use serde::Serialize;

use super::StoreError;
use super::document::{document_attribute, stored_attribute};
use super::items::{attribute, due_shard, instant, number, subscription_key, text};

/// The members of a document that a write other than an import's sets or removes, each with its edit.
pub(super) fn members(members: &Members) -> Result<[(&'static str, Edit<AttributeValue>); 6], StoreError> {
    let Members {
        status,
        updated_at,
        cancelled_at,
        pending_status,
        pending_msisdn,
        pending_product_offering,
    } = members;
    Ok([
        ("status", edit(status)?),
        ("updatedAt", edit(updated_at)?),
        ("cancelledAt", edit(cancelled_at)?),
        ("pendingStatus", edit(pending_status)?),
        ("pendingMsisdn", edit(pending_msisdn)?),
        ("pendingProductOffering", edit(pending_product_offering)?),
    ])
}

fn edit(edit: &Edit<impl Serialize>) -> Result<Edit<AttributeValue>, StoreError> {
    Ok(match edit {
        Edit::Keep => Edit::Keep,
        Edit::Set(value) => Edit::Set(attribute(value)?),
        Edit::Remove => Edit::Remove,
    })
}

/// A write of a subscription's item, in the words of DynamoDB.
#[derive(Default)]
pub(super) struct ItemUpdate {
    /// The key of the item.
    pub key: String,
    /// What it sets and removes.
    pub expression: String,
    /// When it may.
    pub condition: String,
    /// The names that the expressions can't say.
    pub names: HashMap<String, String>,
    /// The values that they name.
    pub values: HashMap<String, AttributeValue>,
    sets: Vec<String>,
    removes: Vec<String>,
}

impl ItemUpdate {
    /// The write of a change.
    ///
    /// # Errors
    /// A value can't be stored.
    pub(super) fn new(tenant: &TenantId, id: SubscriptionId, change: &Change) -> Result<Self, StoreError> {
        let Change { decided_from, write_id, document, cancellation, cancellation_id, due_at } = change;
        let mut update = Self { key: subscription_key(tenant, id), ..Self::default() };
        match decided_from.next_version() {
            Some(version) => update.set("version", number(version)),
            None => {
                let one = update.value("one", number(1));
                update.sets.push(format!("version = version + {one}"));
            }
        }
        update.set("writeId", attribute(write_id)?);
        match document {
            DocumentChange::Whole(document) => update.set("document", document_attribute(document)?),
            DocumentChange::Members(edits) => {
                for (name, edit) in members(edits)? {
                    update.edit(&format!("document.{name}"), edit);
                }
            }
        }
        update.edit("cancellation", edit(cancellation)?);
        update.edit("cancellationId", edit(cancellation_id)?);
        match due_at {
            Edit::Keep => {}
            Edit::Set(at) => {
                update.set("dueShard", number(due_shard(id)));
                update.set("dueAt", instant(*at));
            }
            Edit::Remove => update.removes.extend(["dueShard".to_owned(), "dueAt".to_owned()]),
        }
        update.condition = update.condition(decided_from)?;
        update.expression = format!("SET {}", update.sets.join(", "));
        if !update.removes.is_empty() {
            update.expression += &format!(" REMOVE {}", update.removes.join(", "));
        }
        Ok(update)
    }

    /// The same, as a part of a transaction.
    ///
    /// # Errors
    /// None that its types allow.
    pub(super) fn in_transaction(
        self,
        table: &str,
        on_failure: OnFailure,
    ) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(table)
            .key("pk", text(self.key))
            .update_expression(self.expression)
            .condition_expression(self.condition)
            .set_expression_attribute_names(Some(self.names).filter(|names| !names.is_empty()))
            .set_expression_attribute_values(Some(self.values))
            .return_values_on_condition_check_failure(on_failure)
            .build()
            .map_err(defect)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn edit(&mut self, path: &str, edit: Edit<AttributeValue>) {
        match edit {
            Edit::Keep => {}
            Edit::Set(value) => self.set(path, value),
            Edit::Remove => {
                let path = self.path(path);
                self.removes.push(path);
            }
        }
    }

    fn set(&mut self, path: &str, value: AttributeValue) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let value = self.value(name, value);
        let path = self.path(path);
        self.sets.push(format!("{path} = {value}"));
    }

    /// A value, by a name that the expressions can say.
    fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let name = format!(":{name}");
        self.values.insert(name.clone(), value);
        name
    }

    /// A path of attributes. `status` is a word of DynamoDB's own.
    fn path(&mut self, path: &str) -> String {
        if path.ends_with(".status") {
            self.names.insert("#status".to_owned(), "status".to_owned());
        }
        path.replace(".status", ".#status")
    }

    fn condition(&mut self, decided_from: &DecidedFrom) -> Result<String, StoreError> {
        Ok(match decided_from {
            DecidedFrom::Nothing => "attribute_not_exists(pk)".to_owned(),
            DecidedFrom::Version(version) => self.is("version", number(version)),
            DecidedFrom::Unreadable(Some(version)) => self.is("version", stored_attribute(version)),
            DecidedFrom::Unreadable(None) => {
                "attribute_exists(pk) AND attribute_not_exists(version)".to_owned()
            }
            DecidedFrom::DueVersion(version, entry) => {
                [self.is("version", number(version)), self.has_entry(entry)].join(" AND ")
            }
            DecidedFrom::Due(claims) => self.claims(claims)?,
        })
    }

    fn has_entry(&mut self, entry: &ExpectedEntry) -> String {
        let ExpectedEntry { cancellation_id, due_at } = entry;
        let has_id = self.is("cancellationId", text(*cancellation_id));
        let is_due = self.is("dueAt", instant(*due_at));
        format!("{has_id} AND {is_due} AND attribute_exists(dueShard)")
    }

    fn claims(&mut self, claims: &ExpectedClaims) -> Result<String, StoreError> {
        let ExpectedClaims { entry, statuses, pending_status, date, updated_before } = claims;
        let has_entry = self.has_entry(entry);
        let kept_id = self.is("cancellation.cancellationId", attribute(entry.cancellation_id)?);
        let kept_at = self.is("cancellation.effectiveAt", attribute(entry.due_at)?);
        let kept_date = self.is("cancellation.scheduledAt", attribute(date)?);
        let mut allowed = Vec::new();
        for (number, status) in statuses.iter().enumerate() {
            allowed.push(self.value(&format!("status{number}"), attribute(status)?));
        }
        let status = self.path("document.status");
        let pending = self.is("document.pendingStatus.status", attribute(pending_status.status)?);
        let pending_date =
            self.is("document.pendingStatus.scheduledAt", attribute(pending_status.scheduled_at)?);
        let second = self.value("second", text(second(*updated_before)));
        Ok([
            has_entry,
            kept_id,
            kept_at,
            format!("(attribute_not_exists(cancellation.scheduledAt) OR {kept_date})"),
            format!("{status} IN ({})", allowed.join(", ")),
            pending,
            pending_date,
            // Instants of one second don't sort as text.
            format!("(attribute_not_exists(document.updatedAt) OR document.updatedAt < {second})"),
        ]
        .join(" AND "))
    }

    /// That an attribute is this.
    fn is(&mut self, path: &str, value: AttributeValue) -> String {
        let value = self.value(&format!("if_{}", path.replace('.', "_")), value);
        format!("{} = {value}", self.path(path))
    }
}

/// The second of an instant, as it begins as text; every instant of an earlier second sorts before it.
fn second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::CHANGING;

    /// What a write may remove must be an attribute of its own, and not be compressed with the rest.
    #[test]
    fn every_member_that_a_write_edits_is_stored_as_an_attribute() {
        assert_eq!(members(&Members::default()).unwrap().map(|(name, _)| name), CHANGING);
    }
}
