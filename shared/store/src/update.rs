//! A change as a write: each attribute that the change names is set or removed, on the condition of what it was decided from.
//!
//! No rule is here. A change is destructured completely: if a part is not written, the code does not compile.

use std::borrow::Cow;
use std::collections::HashMap;

use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValuesOnConditionCheckFailure as OnFailure, TransactWriteItem, Update,
};
use chrono::{DateTime, Utc};
use domain::change::{
    CancellationEdit, Change, DecidedFrom, DocumentChange, Edit, ExpectedClaims, ExpectedEntry, Members,
};
use domain::identifiers::{SubscriptionId, TenantId};
use dynamodb::defect;
use serde::Serialize;

use super::StoreError;
use super::document::{document_attribute, stored_attribute};
use super::items::{attribute, changed_by, due_shard, instant, number, text};
use super::layout::{
    CANCELLATION, CANCELLATION_ID, CANCELLED_AT, CHANGED_BY, DOCUMENT, DUE_AT, DUE_SHARD, EFFECTIVE_AT,
    ERASED_AT, EXECUTED_AT, PENDING_MSISDN, PENDING_PRODUCT_OFFERING, PENDING_STATUS, PK, SCHEDULED_AT,
    STATUS, STATUS_IN_EXPRESSIONS, UPDATED_AT, VERSION, WRITE_ID, subscription_key,
};
use super::search::attributes;

/// Returns the members of a document that a write other than an import's sets or removes, each with its edit.
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
        (STATUS, edit(status)?),
        (UPDATED_AT, edit(updated_at)?),
        (CANCELLED_AT, edit(cancelled_at)?),
        (PENDING_STATUS, edit(pending_status)?),
        (PENDING_MSISDN, edit(pending_msisdn)?),
        (PENDING_PRODUCT_OFFERING, edit(pending_product_offering)?),
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
    /// The update expression.
    pub expression: String,
    /// The condition expression.
    pub condition: String,
    /// The attribute names behind the placeholders. DynamoDB reserves these names in expressions.
    pub names: HashMap<String, String>,
    /// The values behind the placeholders.
    pub values: HashMap<String, AttributeValue>,
    sets: String,
    removes: String,
}

/// Adds a part to a list, behind a comma if it is not the first.
fn add(list: &mut String, part: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(part);
}

impl ItemUpdate {
    /// Turns a change into a write.
    ///
    /// # Errors
    /// A value can't be stored.
    pub(super) fn new(tenant: &TenantId, id: SubscriptionId, change: &Change) -> Result<Self, StoreError> {
        let Change {
            decided_from,
            write_id,
            origin,
            document,
            cancellation,
            cancellation_id,
            due_at,
            search_terms,
        } = change;
        let mut update = Self { key: subscription_key(tenant, id), ..Self::default() };
        match decided_from.next_version() {
            Some(version) => update.set(VERSION, number(version)),
            None => {
                let one = update.value("one", number(1));
                add(&mut update.sets, &format!("{VERSION} = {VERSION} + {one}"));
            }
        }
        update.set(WRITE_ID, attribute(write_id)?);
        update.set(CHANGED_BY, changed_by(write_id, origin)?);
        match document {
            DocumentChange::Whole(document) => {
                update.set(DOCUMENT, document_attribute(document)?);
                update.edit(ERASED_AT, Edit::Remove);
            }
            DocumentChange::Members(edits) => {
                for (name, edit) in members(edits)? {
                    if !matches!(edit, Edit::Keep) {
                        update.edit(&format!("{DOCUMENT}.{name}"), edit);
                    }
                }
            }
        }
        match cancellation {
            CancellationEdit::Keep => {}
            CancellationEdit::Set(cancellation) => update.set(CANCELLATION, attribute(cancellation)?),
            CancellationEdit::Executed(at) => {
                update.set(&format!("{CANCELLATION}.{EXECUTED_AT}"), attribute(at)?);
            }
            CancellationEdit::Remove => update.edit(CANCELLATION, Edit::Remove),
        }
        update.edit(CANCELLATION_ID, edit(cancellation_id)?);
        match due_at {
            Edit::Keep => {}
            Edit::Set(at) => {
                update.set(DUE_SHARD, number(due_shard(id)));
                update.set(DUE_AT, instant(*at));
            }
            Edit::Remove => [DUE_SHARD, DUE_AT].iter().for_each(|name| add(&mut update.removes, name)),
        }
        for (name, value) in search_terms.iter().flat_map(|terms| attributes(tenant, terms)) {
            update.edit(name, value.map_or(Edit::Remove, Edit::Set));
        }
        update.condition = update.condition(decided_from)?;
        update.expression = format!("SET {}", update.sets);
        if !update.removes.is_empty() {
            update.expression += &format!(" REMOVE {}", update.removes);
        }
        Ok(update)
    }

    /// Turns the write into a part of a transaction.
    ///
    /// # Errors
    /// A required part is missing. All are set here, so this would be a defect of the service.
    pub(super) fn in_transaction(
        self,
        table: &str,
        on_failure: OnFailure,
    ) -> Result<TransactWriteItem, StoreError> {
        let update = Update::builder()
            .table_name(table)
            .key(PK, text(self.key))
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
                add(&mut self.removes, &path);
            }
        }
    }

    fn set(&mut self, path: &str, value: AttributeValue) {
        let name = path.rsplit('.').next().unwrap_or(path);
        let value = self.value(name, value);
        let path = self.path(path);
        add(&mut self.sets, &path);
        self.sets += " = ";
        self.sets += &value;
    }

    /// Adds a value. Returns its placeholder for the expressions.
    fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let name = format!(":{name}");
        self.values.insert(name.clone(), value);
        name
    }

    /// Returns a path of attributes for the expressions. `status` is reserved by DynamoDB, and becomes a placeholder.
    fn path<'p>(&mut self, path: &'p str) -> Cow<'p, str> {
        match path.strip_suffix(STATUS) {
            Some(parent) => {
                self.names.insert(STATUS_IN_EXPRESSIONS.to_owned(), STATUS.to_owned());
                format!("{parent}{STATUS_IN_EXPRESSIONS}").into()
            }
            None => path.into(),
        }
    }

    fn condition(&mut self, decided_from: &DecidedFrom) -> Result<String, StoreError> {
        Ok(match decided_from {
            DecidedFrom::Nothing => format!("attribute_not_exists({PK})"),
            DecidedFrom::Version(version) => self.is(VERSION, number(version)),
            DecidedFrom::Unreadable(Some(version)) => self.is(VERSION, stored_attribute(version)),
            DecidedFrom::Unreadable(None) => {
                format!("attribute_exists({PK}) AND attribute_not_exists({VERSION})")
            }
            DecidedFrom::DueVersion(version, entry) => {
                [self.is(VERSION, number(version)), self.has_entry(entry)].join(" AND ")
            }
            DecidedFrom::Due(claims) => self.claims(claims)?,
        })
    }

    fn has_entry(&mut self, entry: &ExpectedEntry) -> String {
        let ExpectedEntry { cancellation_id, due_at } = entry;
        let has_id = self.is(CANCELLATION_ID, text(*cancellation_id));
        let is_due = self.is(DUE_AT, instant(*due_at));
        format!("{has_id} AND {is_due} AND attribute_exists({DUE_SHARD})")
    }

    fn claims(&mut self, claims: &ExpectedClaims) -> Result<String, StoreError> {
        let ExpectedClaims { entry, statuses, pending_status, date, updated_before } = claims;
        let has_entry = self.has_entry(entry);
        let kept_id =
            self.is(&format!("{CANCELLATION}.{CANCELLATION_ID}"), attribute(entry.cancellation_id)?);
        let kept_at = self.is(&format!("{CANCELLATION}.{EFFECTIVE_AT}"), attribute(entry.due_at)?);
        let kept_date = self.is(&format!("{CANCELLATION}.{SCHEDULED_AT}"), attribute(date)?);
        let mut allowed = Vec::new();
        for (number, status) in statuses.iter().enumerate() {
            allowed.push(self.value(&format!("{STATUS}{number}"), attribute(status)?));
        }
        let status = self.path(&format!("{DOCUMENT}.{STATUS}")).into_owned();
        let pending =
            self.is(&format!("{DOCUMENT}.{PENDING_STATUS}.{STATUS}"), attribute(pending_status.status)?);
        let pending_date = self.is(
            &format!("{DOCUMENT}.{PENDING_STATUS}.{SCHEDULED_AT}"),
            attribute(pending_status.scheduled_at)?,
        );
        let second = self.value("second", text(second(*updated_before)));
        Ok([
            has_entry,
            kept_id,
            kept_at,
            format!("(attribute_not_exists({CANCELLATION}.{SCHEDULED_AT}) OR {kept_date})"),
            format!("{status} IN ({})", allowed.join(", ")),
            pending,
            pending_date,
            // As text, instants within one second don't sort by time.
            format!("(attribute_not_exists({DOCUMENT}.{UPDATED_AT}) OR {DOCUMENT}.{UPDATED_AT} < {second})"),
        ]
        .join(" AND "))
    }

    /// Returns the condition that an attribute has this value.
    fn is(&mut self, path: &str, value: AttributeValue) -> String {
        let value = self.value(&format!("if_{}", path.replace('.', "_")), value);
        format!("{} = {value}", self.path(path))
    }
}

/// Returns the text of an instant up to its second. Every instant of an earlier second sorts before it.
pub(super) fn second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::CHANGING;

    /// A member that a write may remove must be an attribute of its own, and not be compressed with the others.
    #[test]
    fn every_member_that_a_write_edits_is_stored_as_an_attribute() {
        assert_eq!(members(&Members::default()).unwrap().map(|(name, _)| name), CHANGING);
    }
}
