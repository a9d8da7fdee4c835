//! The delivery of a message: it arrives, or it meets a network that loses messages, and a database and a bus that are busy.

use serde_json::json;

use super::World;
use crate::simulation::network::{Message, Reply};

impl World<'_> {
    /// Delivers a message, and its answer.
    pub(super) fn deliver(&mut self, message: Message) {
        let reply = self.arrive(&message);
        message.reply(reply);
    }

    /// Has the database or the bus carry out the request in a message.
    fn arrive(&mut self, message: &Message) -> Reply {
        self.figures.messages += 1;
        if message.operation == "PutEvents" {
            return self.put(message, |_| true);
        }
        let reply = self.database.ask(&message.operation, &message.body);
        if message.operation == "Query" {
            let earlier = self.index.entry(message.body["ExpressionAttributeValues"][":shard"].to_string());
            let earlier = earlier.or_default();
            earlier.push_back(reply.clone());
            if earlier.len() > 3 {
                earlier.pop_front();
            }
        } else if !self.tokens.is_empty() {
            let Message { sender, operation, body, .. } = message;
            self.ledger.looked(*sender, operation, body, &reply.body);
            self.ledger.written(&self.database, *sender, operation, body, self.clock.now());
        }
        reply
    }

    /// Lets the bus accept some of the events in a message.
    fn put(&mut self, message: &Message, takes: impl Fn(usize) -> bool) -> Reply {
        let entries = message.body["Entries"].as_array().unwrap().iter().enumerate().map(|(n, entry)| {
            if takes(n) {
                self.ledger.published(entry);
                json!({"EventId": format!("{n}")})
            } else {
                json!({"ErrorCode": "ThrottlingException", "ErrorMessage": ""})
            }
        });
        let entries: Vec<_> = entries.collect();
        let failed = (0..entries.len()).filter(|n| !takes(*n)).count();
        Reply { status: 200, body: json!({"FailedEntryCount": failed, "Entries": entries}) }
    }

    /// Sends a message through a network that may lose it, to a database that may be busy.
    pub(super) fn deliver_or_not(&mut self, message: Message) {
        let operation = message.operation.clone();
        let refuse = |status, error: &str| Reply {
            status,
            body: json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{error}"), "message": ""}),
        };
        self.figures.faults += 1;
        let met = match (self.random.u32(..100), operation.as_str()) {
            (0..5, _) => {
                message.disconnect();
                "is lost"
            }
            (5..13, _) | (26..32, "TransactWriteItems") => {
                self.arrive(&message);
                message.disconnect();
                "is delivered; its answer is lost"
            }
            (13..14, _) => {
                message.reply(refuse(400, "ThrottlingException"));
                "is throttled"
            }
            (14..16, _) => {
                message.reply(refuse(500, "InternalServerError"));
                "fails"
            }
            (16..20, "TransactWriteItems") => {
                message.reply(refuse(400, "TransactionInProgressException"));
                "is in progress already"
            }
            (20..26, "TransactWriteItems") => {
                let reasons =
                    message.body["TransactItems"].as_array().unwrap().iter().map(|_| json!({"Code": "None"}));
                let mut reasons: Vec<_> = reasons.collect();
                reasons.last_mut().unwrap()["Code"] = json!("TransactionConflict");
                let mut reply = refuse(400, "TransactionCanceledException");
                reply.body["CancellationReasons"] = json!(reasons);
                message.reply(reply);
                "meets a conflict"
            }
            (16..22, "UpdateItem" | "PutItem") => {
                message.reply(refuse(400, "TransactionConflictException"));
                "meets a transaction"
            }
            (16..22, "BatchGetItem") => {
                let body = json!({"Responses": {}, "UnprocessedKeys": message.body["RequestItems"]});
                message.reply(Reply { status: 200, body });
                "is left unprocessed"
            }
            (16..36, "PutEvents") => {
                let taken = self.random.u32(..);
                let reply = self.put(&message, |n| taken >> n & 1 == 1);
                message.reply(reply);
                "is accepted in part"
            }
            (16..30, "Query") if self.stale(&message).is_some() => {
                let reply = self.stale(&message).unwrap();
                message.reply(reply);
                "gets an outdated answer"
            }
            _ => {
                self.deliver(message);
                self.figures.faults -= 1;
                "is delivered"
            }
        };
        self.say(format!("{operation} {met}"));
    }

    /// Returns an earlier answer of the index about the same shard.
    fn stale(&self, message: &Message) -> Option<Reply> {
        self.index.get(&message.body["ExpressionAttributeValues"][":shard"].to_string())?.front().cloned()
    }
}
