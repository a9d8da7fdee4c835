//! Checks the schedule that sweeps.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::error::{DisplayErrorContext, ProvideErrorMetadata};
use aws_sdk_scheduler::types::ScheduleState;
use service::endpoint::Endpoint;
use service::environment::variable;

use super::Finding;
use crate::{SCHEDULE_VARIABLE, Session};

/// Checks that EventBridge Scheduler sweeps every minute.
pub(super) async fn check(session: &Session<'_>) -> Finding {
    let Some(name) = &session.schedule else {
        return Finding::unknown(
            "schedule",
            format!("{SCHEDULE_VARIABLE} is not set; the stack's output Environment sets it"),
        );
    };
    let elsewhere = ["AWS_ENDPOINT_URL_SCHEDULER", "AWS_ENDPOINT_URL"].iter().find_map(|name| variable(name));
    let scheduler = Endpoint { url: elsewhere, ..session.endpoint.clone() };
    // A deployment without a change does not restore it.
    let restore = "restore it: infra/README.md, Undo a change made by hand";
    match Client::new(&scheduler.sdk_config()).get_schedule().name(name).send().await {
        Ok(schedule) => {
            let expression = schedule.schedule_expression().unwrap_or_default();
            if schedule.state() == Some(&ScheduleState::Disabled) {
                let fix = "enable it: infra/README.md, SweepsAreLate; until then nothing is executed";
                Finding::wrong("schedule", format!("{name} is disabled"), fix)
            } else if expression != "rate(1 minute)" {
                Finding::wrong("schedule", format!("{name} fires at {expression}, not every minute"), restore)
            } else {
                Finding::ok("schedule", format!("{name} fires every minute"))
            }
        }
        Err(error) => match error.code() {
            Some("ResourceNotFoundException") => {
                Finding::wrong("schedule", format!("there is no schedule {name}"), restore)
            }
            Some(code) => Finding::wrong(
                "schedule",
                format!("{name}: {code}"),
                "the credentials need scheduler:GetSchedule",
            ),
            None => Finding::unknown("schedule", format!("{name}: {}", DisplayErrorContext(&error))),
        },
    }
}
