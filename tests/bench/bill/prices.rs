//! List prices of us-east-1, in dollars, without free tiers:
//! <https://aws.amazon.com/dynamodb/pricing/on-demand/>, <https://aws.amazon.com/lambda/pricing/>,
//! <https://aws.amazon.com/api-gateway/pricing/>, <https://aws.amazon.com/cloudwatch/pricing/>,
//! <https://aws.amazon.com/eventbridge/pricing/>.

/// A million read units on demand.
pub const MILLION_READ_UNITS: f64 = 0.125;
/// A million write units on demand.
pub const MILLION_WRITE_UNITS: f64 = 0.625;
/// A GB in a table of DynamoDB, a month.
pub const GB_STORED: f64 = 0.25;
/// The same, of its point-in-time recovery.
pub const GB_RECOVERABLE: f64 = 0.20;
/// A million invocations.
pub const MILLION_INVOCATIONS: f64 = 0.20;
/// A second of a GB of memory on arm64.
pub const GB_SECOND: f64 = 0.000_013_333_4;
/// A million requests to an HTTP API.
pub const MILLION_REQUESTS: f64 = 1.00;
/// A GB of log.
pub const GB_OF_LOG: f64 = 0.50;
/// A million events on a bus.
pub const MILLION_EVENTS: f64 = 1.00;
/// A million invocations by a schedule.
pub const MILLION_SCHEDULED: f64 = 1.00;
/// An alarm, a month.
pub const ALARM: f64 = 0.10;
/// A dashboard, a month.
pub const DASHBOARD: f64 = 3.00;
/// A metric, a month.
pub const METRIC: f64 = 0.30;

/// Bytes that CloudWatch adds to each line of a log.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
pub const LINE: f64 = 26.0;
/// Bytes that DynamoDB adds to each item that it stores.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>
pub const ITEM: f64 = 100.0;
