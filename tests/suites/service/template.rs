//! The template agrees with the code: the same rights, tables, routes and metrics.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{KeySchemaElement, Projection};
use domain::event::SOURCE;
use harness::receiver::{Answer, Receiver};
use harness::rights::{actions, granted};
use harness::template::{resources, template};
use harness::{ACTIVATED, CANCELLED, Service, Wire, cancel_next_day, event, webhook};
use lambda_runtime::{Context, LambdaEvent};
use local::gateway;
use reqwest::Method;
use serde_json::{Value, json};
use service::clock::{Clock, deadline_in};
use service::deliver::Limits;
use service::telemetry::{METRICS, NAMESPACE};

#[tokio::test]
async fn each_function_uses_exactly_the_rights_it_has() {
    let (_database, service, wire) = Service::start_wired().await;
    // A reference id needs every read that there is.
    assert_eq!(service.get("rid_crm-1001").await.status, 200);
    let path = format!("/subscriptions/{ACTIVATED}/history");
    let history = service.send(Method::GET, &path, &[("X-Api-Key", &service.api_key)], b"").await;
    assert_eq!(history.status, 200);
    for query in ["msisdn=1", "customerId=1"] {
        let path = format!("/subscriptions?{query}");
        let found = service.send(Method::GET, &path, &[("X-Api-Key", &service.api_key)], b"").await;
        assert_eq!(found.status, 200);
    }
    assert_eq!(service.cancel_once("rid_crm-1001", "k1", &cancel_next_day()).await.status, 200);
    // The record of a refusal is written on its own.
    assert_eq!(service.cancel_once(CANCELLED, "k2", &cancel_next_day()).await.status, 409);
    service.set_clock("2026-02-01T00:00:00Z").await;
    assert_eq!(service.execute().await["executed"], 1);
    // One change can be published, and one can't.
    let bus = Wire::start(&service.bus_url()).await;
    let mut records = event("publish-events/ok");
    let mut poison = records["Records"][0].clone();
    poison["dynamodb"]["NewImage"]["document"] = json!({"S": ""});
    records["Records"].as_array_mut().unwrap().push(poison);
    let mut context = Context::default();
    context.deadline = deadline_in(Duration::from_secs(60));
    let records = LambdaEvent::new(serde_json::from_value(records).unwrap(), context);
    publish_events::handle(&service.publisher(&service.dynamodb_url, &bus.url), records).await.unwrap();
    deliver_to_a_receiver_that_is_gone(&service, &bus).await;

    let mut used = wire.used();
    for (function, rights) in bus.used() {
        used.entry(function).or_default().extend(rights);
    }
    assert_eq!(used, granted());
}

/// Has `deliver-webhooks` make every request that it makes.
async fn deliver_to_a_receiver_that_is_gone(service: &Service, queue: &Wire) {
    let receiver = Receiver::start();
    receiver.next([Answer::Status(410)]);
    service.add_webhook(&webhook(&receiver.url)).await;
    let deliverer = service.deliverer(&service.dynamodb_url, &queue.url, Clock::system(), Limits::default());
    let mut messages = event("deliver-webhooks/ok");
    for _ in 0..2 {
        let event = LambdaEvent::new(serde_json::from_value(messages.clone()).unwrap(), Context::default());
        deliver_webhooks::handle(&deliverer, event).await.unwrap();
        let delivery = queue.requests("SendMessageBatch")[0]["Entries"][0]["MessageBody"].clone();
        messages["Records"][0]["body"] = delivery;
    }
}

#[tokio::test]
async fn a_request_without_a_granted_right_is_refused_at_the_wire() {
    let (_database, service, wire) = Service::start_wired().await;
    wire.revoke("cancel-subscription", "dynamodb:UpdateItem");
    service.cancel(ACTIVATED, &cancel_next_day()).await.assert_problem(500, "internal_error");
    assert_eq!(service.version(ACTIVATED).await, 1);
}

#[test]
fn each_function_lacks_the_rights_of_the_others() {
    let granted = granted();
    let may = |function: &str, action: &str, table: &str| {
        granted[function].iter().any(|(on, what)| on.ends_with(action) && what.starts_with(table))
    };
    for action in ["PutItem", "UpdateItem", "DeleteItem", "Scan"] {
        assert!(!may("get-subscription", action, ""), "{action}");
    }
    // It searches by two indexes, and not by that of the cancellations that are due.
    let queries = granted["get-subscription"].iter().filter(|(action, _)| action == "dynamodb:Query");
    let queried: Vec<_> = queries.map(|(_, what)| what.as_str()).collect();
    assert_eq!(queried, ["history", "subscriptions/index/customerId", "subscriptions/index/msisdn"]);
    // One function adds to the history, one reads it, and none does anything else with it.
    let of_history: Vec<_> = granted
        .iter()
        .flat_map(|(function, rights)| {
            let of_table = rights.iter().filter(|(_, what)| what == "history");
            of_table.map(move |(action, _)| (function.as_str(), action.as_str()))
        })
        .collect();
    assert_eq!(of_history, [("get-subscription", "dynamodb:Query"), ("publish-events", "dynamodb:PutItem")]);
    assert!(!may("cancel-subscription", "Query", ""));
    let sweeps =
        granted["execute-cancellations"].iter().filter(|(_, what)| !what.starts_with("subscriptions"));
    assert_eq!(sweeps.cloned().collect::<Vec<_>>(), [("dynamodb:GetItem".to_owned(), "tenants".to_owned())]);
    let statement = resources("AWS::IAM::Role")["ExecuteCancellationsRole"].to_string();
    assert!(
        statement.contains(r#""dynamodb:Attributes":["pk","timeZone","pausedAt","pausedFor"]"#),
        "{statement}"
    );
    assert!(!may("publish-events", "", "subscriptions"));
}

#[test]
fn stream_records_are_retried_for_almost_as_long_as_the_stream_keeps_them() {
    let mappings = resources("AWS::Lambda::EventSourceMapping");
    let mapping = &mappings["StreamOfSubscriptions"];
    assert_eq!(mapping["EventSourceArn"]["Fn::GetAtt"], "SubscriptionsTable.StreamArn");
    assert_eq!(mapping["FunctionName"]["Ref"], "PublishEvents");
    assert_eq!(mapping["StartingPosition"], "TRIM_HORIZON");
    assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    assert_eq!(mapping["BisectBatchOnFunctionError"], true);
    assert_eq!(mapping["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"], "FailedEvents.Arn");
    let patterns = mapping["FilterCriteria"]["Filters"].as_array().unwrap().iter();
    let patterns: Vec<Value> =
        patterns.map(|filter| serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap()).collect();
    let no_pointer = json!({"NewImage": {"subscriptionId": {"S": [{"exists": false}]}}});
    assert_eq!(
        patterns,
        [json!({"eventName": ["MODIFY"]}), json!({"eventName": ["INSERT"], "dynamodb": no_pointer})]
    );
    // What writes is updated after what records.
    for writer in ["CancelSubscription", "ExecuteCancellations"] {
        assert_eq!(template()["Resources"][writer]["DependsOn"], "StreamOfSubscriptions");
    }
    let oldest = mapping["MaximumRecordAgeInSeconds"].as_u64().unwrap();
    assert!((80_000..86_400).contains(&oldest), "{oldest}");
    // Lambda reads the stream in the function's role, and nothing else of the table.
    let role = &resources("AWS::IAM::Role")["PublishEventsRole"];
    let of_table =
        |what: &Value| what["Fn::GetAtt"].as_str().is_some_and(|what| what.starts_with("Subscriptions"));
    let of_table = actions(role).into_iter().filter(|(_, what)| of_table(what));
    assert!(of_table.into_iter().all(|(_, what)| what["Fn::GetAtt"] == "SubscriptionsTable.StreamArn"));
}

#[test]
fn only_one_function_reads_webhooks_and_of_these_it_changes_only_the_end() {
    for (function, rights) in granted() {
        let of_webhooks =
            rights.iter().filter(|(_, what)| ["webhooks", "deliveries"].contains(&what.as_str()));
        assert_eq!(of_webhooks.count() > 0, function == "deliver-webhooks", "{function}");
    }
    let statement = resources("AWS::IAM::Role")["DeliverWebhooksRole"].to_string();
    let attributes = r#""dynamodb:Attributes":["pk","webhookId","disabledAt","disabledBy"]"#;
    assert!(statement.contains(attributes), "{statement}");
}

#[test]
fn every_event_comes_into_the_queue_of_webhooks_and_what_cannot_be_handled_into_another() {
    let rule = &resources("AWS::Events::Rule")["WebhookRule"];
    assert_eq!(rule["EventPattern"], json!({"source": [SOURCE]}));
    let target = &rule["Targets"][0];
    // The whole event: the function needs the tenant, which is in the resources.
    assert_eq!(target.as_object().unwrap().keys().filter(|key| key.starts_with("Input")).count(), 0);
    assert_eq!(target["Arn"]["Fn::GetAtt"], "WebhookQueue.Arn");
    assert_eq!(target["RetryPolicy"]["MaximumEventAgeInSeconds"], 86_400);
    assert_eq!(target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"], "FailedDeliveries.Arn");

    let mapping = &resources("AWS::Lambda::EventSourceMapping")["MessagesOfWebhookQueue"];
    assert_eq!(mapping["EventSourceArn"]["Fn::GetAtt"], "WebhookQueue.Arn");
    assert_eq!(mapping["FunctionName"]["Ref"], "DeliverWebhooks");
    assert_eq!(mapping["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]));
    let queue = &resources("AWS::SQS::Queue")["WebhookQueue"];
    assert_eq!(queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"], "FailedDeliveries.Arn");
    // Six times the function's, as Lambda recommends.
    let timeout = resources("AWS::Serverless::Function")["DeliverWebhooks"]["Timeout"].as_u64().unwrap();
    assert_eq!(queue["VisibilityTimeout"].as_u64(), Some(6 * timeout));
}

#[test]
fn a_role_may_only_log_trace_and_forward_besides_using_the_database() {
    let elsewhere = [
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        "sqs:SendMessage",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "lambda:InvokeFunction",
        "events:PutEvents",
    ];
    for (id, role) in resources("AWS::IAM::Role") {
        assert!(role.get("ManagedPolicyArns").is_none(), "{id}");
        for (action, resource) in actions(&role) {
            let of_database = action.starts_with("dynamodb:") && !action.contains('*');
            assert!(of_database || elsewhere.contains(&action.as_str()), "{id}: {action}");
            // X-Ray has no resources to name.
            assert_eq!(resource == "*", action.starts_with("xray:"), "{id}: {action}");
        }
    }
}

#[tokio::test]
async fn the_tables_are_those_that_the_code_creates() {
    let service = Service::start().await;
    let tables = resources("AWS::DynamoDB::Table");
    assert_eq!(tables.len(), 6);
    for (id, table) in tables {
        let name = id.strip_suffix("Table").unwrap().to_lowercase();
        assert_eq!(created(&service, &name).await, declared(&table), "{name}");
        // The embedded database does not have these properties.
        assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
        assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
        assert_eq!(table["DeletionProtectionEnabled"]["Ref"], "DeletionProtection");
        assert_eq!(template()["Resources"][&id]["DeletionPolicy"], "Retain");
    }
}

/// Describes a table of the template.
fn declared(table: &Value) -> Value {
    // By default, the customers have an index.
    let part = |part: &Value| part["Fn::If"].get(1).unwrap_or(part).clone();
    let list = |name: &str| table[name].as_array().into_iter().flatten().map(part).collect::<Vec<_>>();
    let mut attributes = list("AttributeDefinitions");
    attributes.sort_by_key(ToString::to_string);
    json!({
        "BillingMode": table["BillingMode"],
        "AttributeDefinitions": attributes,
        "KeySchema": table["KeySchema"],
        "GlobalSecondaryIndexes": list("GlobalSecondaryIndexes"),
        "StreamViewType": table["StreamSpecification"]["StreamViewType"],
        "TimeToLive": table["TimeToLiveSpecification"]["AttributeName"],
    })
}

/// Describes a table that `connect up` has created, in the same form.
async fn created(service: &Service, name: &str) -> Value {
    let key = |key: &KeySchemaElement| json!({"AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str()});
    let keys = |keys: &[KeySchemaElement]| keys.iter().map(key).collect::<Value>();
    let projection = |projection: &Projection| {
        let kind = projection.projection_type().unwrap().as_str();
        match projection.non_key_attributes() {
            [] => json!({"ProjectionType": kind}),
            attributes => json!({"ProjectionType": kind, "NonKeyAttributes": attributes}),
        }
    };
    let database = service.dynamodb();
    let table = database.describe_table().table_name(name).send().await.unwrap().table.unwrap();
    let expiry = database.describe_time_to_live().table_name(name).send().await.unwrap();
    let attribute = |definition: &aws_sdk_dynamodb::types::AttributeDefinition| {
        let kind = definition.attribute_type().as_str();
        json!({"AttributeName": definition.attribute_name(), "AttributeType": kind})
    };
    let mut attributes: Vec<_> = table.attribute_definitions().iter().map(attribute).collect();
    attributes.sort_by_key(ToString::to_string);
    let indexes = table.global_secondary_indexes().iter().map(|index| {
        json!({
            "IndexName": index.index_name(),
            "KeySchema": keys(index.key_schema()),
            "Projection": projection(index.projection().unwrap()),
        })
    });
    json!({
        "BillingMode": table.billing_mode_summary().unwrap().billing_mode().unwrap().as_str(),
        "AttributeDefinitions": attributes,
        "KeySchema": keys(table.key_schema()),
        "GlobalSecondaryIndexes": indexes.collect::<Value>(),
        "StreamViewType": table.stream_specification().and_then(|stream| Some(stream.stream_view_type()?.as_str())),
        "TimeToLive": expiry.time_to_live_description.and_then(|expiry| expiry.attribute_name),
    })
}

#[test]
fn the_routes_are_those_of_the_local_gateway() {
    let routes = resources("AWS::ApiGatewayV2::Route");
    let declared: BTreeSet<_> =
        routes.values().map(|route| route["RouteKey"].as_str().unwrap().to_owned()).collect();
    assert_eq!(declared, gateway::route_keys().collect());
}

/// In the pattern of a permission, `*` matches any characters, and nothing else may follow its end.
#[test]
fn the_gateway_may_call_the_function_of_each_route() {
    let permissions = resources("AWS::Lambda::Permission");
    let integrations = resources("AWS::ApiGatewayV2::Integration");
    for (id, route) in resources("AWS::ApiGatewayV2::Route") {
        let (method, path) = route["RouteKey"].as_str().unwrap().split_once(' ').unwrap();
        let integration = route["Target"]["Fn::Sub"].as_str().unwrap();
        let integration = integration.strip_prefix("integrations/${").unwrap().strip_suffix('}').unwrap();
        let uri = integrations[integration]["IntegrationUri"].to_string();
        let stage_method_path = format!("default/{method}{path}");
        let may = permissions.values().any(|permission| {
            let function = permission["FunctionName"]["Ref"].as_str().unwrap();
            let arn = permission["SourceArn"]["Fn::Sub"].as_str().unwrap();
            let (_, pattern) = arn.split_once("${HttpApi}/").unwrap();
            let pattern = regex::escape(pattern).replace(r"\*", ".*");
            let covers = regex::Regex::new(&format!("^{pattern}$")).unwrap();
            uri.contains(&format!("\"{function}.")) && covers.is_match(&stage_method_path)
        });
        assert!(may, "{id}: {method} {path}, {uri}");
    }
}

#[test]
fn every_function_folder_is_deployed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../functions");
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let folders = folders.map(|entry| entry.file_name().into_string().unwrap());
    assert_eq!(folders.collect::<BTreeSet<_>>(), granted().into_keys().collect());
    for function in resources("AWS::Serverless::Function").values() {
        let name = function["FunctionName"]["Fn::Sub"].as_str().unwrap();
        let code = name.replace("${AWS::StackName}-", "../target/lambda/");
        assert_eq!(function["CodeUri"], format!("{code}/"));
    }
}

#[test]
fn the_dashboard_shows_every_counted_metric_and_alarms_use_no_other() {
    let counted: BTreeSet<_> = METRICS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let alarms = resources("AWS::CloudWatch::Alarm");
    for alarm in alarms.values().filter(|alarm| alarm["Namespace"] == NAMESPACE) {
        assert!(counted.contains(alarm["MetricName"].as_str().unwrap()), "{alarm}");
    }
    assert_eq!(shown(), counted);
}

#[test]
fn every_alarm_notifies_the_topic_and_is_on_the_dashboard() {
    let dashboard = dashboard().to_string();
    for (id, alarm) in resources("AWS::CloudWatch::Alarm") {
        for actions in ["AlarmActions", "OKActions"] {
            assert_eq!(alarm[actions]["Fn::If"][0], "HasAlarmTopic", "{id}");
        }
        // The dashboard can't name an alarm that may not exist.
        let may_be_missing = template()["Resources"][&id].get("Condition").is_some();
        assert_eq!(dashboard.contains(&format!("<{id}.Arn>")), !may_be_missing, "{id}");
    }
}

#[test]
fn every_alarm_names_its_section_of_the_runbook() {
    let (_, runbook) = include_str!("../../../infra/README.md").split_once("\n## Runbook: alarms\n").unwrap();
    let (runbook, _) = runbook.split_once("\n## ").unwrap();
    let sections: BTreeSet<_> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alarms = resources("AWS::CloudWatch::Alarm");
    assert_eq!(sections, alarms.keys().map(String::as_str).collect());
    for (id, alarm) in &alarms {
        let place = format!(" Runbook: infra/README.md#{}.", id.to_lowercase());
        assert!(alarm["AlarmDescription"].as_str().unwrap().ends_with(&place), "{id}");
    }
}

/// Returns the dashboard, with `<X>` in the place of each `${X}` that CloudFormation replaces.
fn dashboard() -> Value {
    let dashboards = resources("AWS::CloudWatch::Dashboard");
    let body = dashboards["Dashboard"]["DashboardBody"]["Fn::Sub"].as_str().unwrap();
    let mut json = String::new();
    let mut parts = body.split("${");
    json.push_str(parts.next().unwrap());
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap();
        // A parameter that is a number has no quotes around it.
        let number = json.ends_with(": ");
        json.push_str(&if number { "0".to_owned() } else { format!("<{name}>") });
        json.push_str(rest);
    }
    serde_json::from_str(&json).unwrap()
}

/// Returns the metrics of this service that the dashboard shows.
fn shown() -> BTreeSet<String> {
    let dashboard = dashboard();
    let widgets = dashboard["widgets"].as_array().unwrap().iter();
    let lines =
        widgets.flat_map(|widget| widget["properties"]["metrics"].as_array().cloned().unwrap_or_default());
    lines
        .filter_map(|line| match line[0]["expression"].as_str() {
            Some(search) => Some(search.split("MetricName=\"").nth(1)?.split('"').next()?.to_owned()),
            None => (line[0] == NAMESPACE).then(|| line[1].as_str().unwrap().to_owned()),
        })
        .collect()
}
