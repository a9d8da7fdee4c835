//! Rejected lines, and the file of rejects.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use harness::Service;
use serde_json::{Value, json};
use tempfile::tempdir;

use super::super::{ID, ID_TOO, Said, connect, process};
use super::{counts, document, import};

/// Imports the lines of a file. Returns the notes about rejected lines.
fn rejected(service: &Service, text: &str) -> Vec<String> {
    let folder = tempdir().unwrap();
    let file = folder.path().join("all.ndjson");
    fs::write(&file, text).unwrap();
    let import = ["subscriptions", "import", "--json", "--tenant", "demo", file.to_str().unwrap()];
    let said = connect(service, &import);
    said.notes.lines().filter(|line| line.starts_with("line ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn faulty_lines_are_rejected_by_number_and_the_others_are_imported() {
    let service = Service::start().await;
    let folder = tempdir().unwrap();
    let file = folder.path().join("all.ndjson");
    let rejects = folder.path().join("all.ndjson.rejects");
    let taken = document(ID_TOO, json!({"referenceId": "crm-1001"}));
    let large = document(&ID.replace("b1", "b3"), json!({"display": "x".repeat(500_000)}));
    let good = document(ID, json!({}));
    fs::write(&file, format!("{{\"status\": \"secret\"}}\n\n{taken}\n{good}\n{large}\nsecret\n")).unwrap();
    let import = ["subscriptions", "import", "--tenant", "demo", "--json", file.to_str().unwrap()];

    let said = connect(&service, &import);
    assert_eq!(counts(&said), [1, 0, 0, 0, 4]);
    let faults = [
        "line 1: status: expected one of",
        "line 3: referenceId: belongs to another subscription",
        "line 5: the database refuses it: over 400 KB",
        "line 6: not JSON",
    ];
    for (line, fault) in said.notes.lines().zip(faults) {
        assert!(line.starts_with(fault), "{line}");
    }
    assert!(!said.notes.contains("secret"), "{said:?}");
    assert_eq!(said.failed(1), format!("4 lines rejected; see {}", rejects.display()));
    assert_eq!(service.get(ID).await.status, 200);
    assert_eq!(service.get(ID_TOO).await.status, 404);

    // The file of rejects has the lines unchanged, and only its owner can read it.
    let rejected: Vec<Value> = fs::read_to_string(&rejects)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let numbers: Vec<_> = rejected.iter().map(|reject| reject["line"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 3, 5, 6]);
    assert_eq!(rejected[1]["text"], taken.to_string());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&rejects).unwrap().permissions().mode() & 0o777, 0o600);
    }

    // The imported file can't be the file of rejects.
    let said = connect(&service, &[&import[..], &["--rejects", file.to_str().unwrap()]].concat()).failed(2);
    assert_eq!(said, "--rejects names the file that is imported");
    assert!(file.exists());

    // The lines are fixed and imported again, so no rejects are left.
    fs::write(&file, format!("{good}\n{}\n", document(ID_TOO, json!({"referenceId": "r"})))).unwrap();
    assert_eq!(counts(&connect(&service, &import)), [1, 0, 1, 0, 0]);
    assert!(!rejects.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_may_be_empty_or_hold_a_long_run_of_faulty_lines() {
    let service = Service::start().await;
    let good = document(ID, json!({})).to_string();
    let many_faults = "{}\n".repeat(1_100);
    for (text, expected) in [
        (String::new(), [0, 0, 0, 0, 0]),
        ("\n \n".to_owned(), [0, 0, 0, 0, 0]),
        ("{}\n".to_owned(), [0, 0, 0, 0, 1]),
        (format!("{many_faults}{good}"), [1, 0, 0, 0, 1_100]),
    ] {
        let folder = tempdir().unwrap();
        let file = folder.path().join("all.ndjson");
        fs::write(&file, &text).unwrap();
        let import = ["subscriptions", "import", "--json", "--tenant", "demo", file.to_str().unwrap()];
        let said = connect(&service, &import);
        assert_eq!(counts(&said), expected, "{said:?}");
        assert_eq!(said.code, i32::from(expected[4] > 0));
        assert!(said.notes.lines().count() < 25, "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_cannot_be_kept_exactly_or_contradicts_itself_is_rejected_by_place() {
    let service = Service::start().await;
    let line = |more: &str| format!(r#"{{"subscriptionId": "{ID}", "status": "ACTIVATED", {more}}}"#);
    let text = [
        line(r#""metadata": {"iccid": 89460000000000000017}"#),
        line(r#""extensions": {"a": [1, 0.12345678901234567]}"#),
        line(r#""$serde_json::private::RawValue": "nope""#),
        line(r#""metadata": {"deep": [{"$serde_json::private::RawValue": "nope"}]}"#),
        line(r#""display": "cut \ud83d""#),
        line(r#""cancelledAt": "2026-01-01T00:00:00Z""#),
        line(r#""activatedAt": "+99999-01-01T00:00:00Z""#),
        document(ID, json!({"status": "CANCELLED", "cancelledAt": "2099-01-01T00:00:00Z"})).to_string(),
        line(r#""createdAt": "2026-01-01T00:00:00.1234567891Z""#),
        line(r#""subscriber": {"subscriberId": "s", "updatedAt": " 2026-01-01T00:00:00Z"}"#),
        line(r#""metadata": {"balance": -0.0}"#),
        document(ID_TOO, json!({"metadata": {"iccid": 8_946_000_000_000_000_017_u64}})).to_string(),
    ];
    let said = rejected(&service, &text.join("\n"));
    let faults = [
        "line 1: metadata.iccid: a number that can't be stored exactly",
        "line 2: extensions.a.1: a number that can't be stored exactly",
        "line 3: $serde_json::private::RawValue: the name of this member is reserved",
        "line 4: metadata.deep.0.$serde_json::private::RawValue: the name of this member is reserved",
        "line 5: display: not Unicode",
        "line 6: cancelledAt: must be absent unless the status is CANCELLED",
        "line 7: activatedAt: must lie in the years 0000 to 9999",
        "line 8: cancelledAt: must not lie in the future",
        "line 9: createdAt: an instant has at most nine digits",
        "line 10: subscriber.updatedAt: an instant has at most nine digits",
        "line 11: metadata.balance: a number that can't be stored exactly",
    ];
    assert_eq!(said.len(), faults.len(), "{said:?}");
    for (said, fault) in said.iter().zip(faults) {
        assert!(said.starts_with(fault), "{said}");
    }
    assert_eq!(service.get(ID).await.status, 404);
    let kept = service.get(ID_TOO).await.text().to_owned();
    assert!(kept.contains("8946000000000000017"), "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_id_that_a_path_cannot_carry_is_rejected() {
    let service = Service::start().await;
    let references = ["a/b", "a?b", "50%", "%41", "a\u{1}b", "a\u{7f}", "a\u{85}", "", &"x".repeat(256)];
    let documents = references.map(|reference| document(ID, json!({"referenceId": reference})));
    let said = import(&service, &documents, &[]);
    assert_eq!(counts(&said), [0, 0, 0, 0, 9]);
    for (n, line) in said.notes.lines().take(9).enumerate() {
        let fault = "referenceId: 1 to 255 characters without / ? % and control characters";
        assert_eq!(line, format!("line {}: {fault}", n + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_overwrite_an_existing_file_only_if_it_is_named() {
    let service = Service::start().await;
    let folder = tempdir().unwrap();
    let kept = folder.path().join("import.rejects");
    fs::write(&kept, "of another import").unwrap();
    let import = |ndjson: &str, options: &[&str]| {
        let arguments =
            [&["subscriptions", "import", "-", "--json", "--tenant", "demo"][..], options].concat();
        let mut command = process(&service, &service.dynamodb_url, &arguments);
        let streams = command.current_dir(&folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = streams.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(ndjson.as_bytes()).unwrap();
        Said::of(child.wait_with_output().unwrap())
    };
    let good = document(ID, json!({})).to_string();
    // The import fails before anything is imported.
    let said = import(&good, &[]).failed(1);
    assert!(said.starts_with("cannot write rejects to import.rejects"), "{said}");
    assert_eq!(service.get(ID).await.status, 404);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "of another import");

    // A file that is named has only the rejects of this import.
    let said = import("{}\n[]", &["--rejects", "named"]).failed(1);
    assert_eq!(said, "2 lines rejected; see named");
    let named = folder.path().join("named");
    assert_eq!(fs::read_to_string(&named).unwrap().lines().count(), 2);
    assert_eq!(import(&good, &["--rejects", "named"]).code, 0);
    assert_eq!(fs::read_to_string(&named).unwrap(), "");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn rejects_never_overwrite_the_imported_file_and_only_their_owner_can_read_them() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let service = Service::start().await;
    let folder = tempdir().unwrap();
    let file = folder.path().join("all.ndjson");
    let text = format!("{}\nsecret\n", document(ID, json!({})));
    fs::write(&file, &text).unwrap();
    let [hard, soft, open] = ["hard", "soft", "open"].map(|name| folder.path().join(name));
    fs::hard_link(&file, &hard).unwrap();
    symlink(&file, &soft).unwrap();
    let import = ["subscriptions", "import", "--json", "--tenant", "demo"];
    let named = |source: &str, rejects: &std::path::Path| {
        let options = [source, "--rejects", rejects.to_str().unwrap()];
        process(&service, &service.dynamodb_url, &[&import[..], &options].concat())
    };
    for link in [&hard, &soft] {
        let said = Said::of(named(file.to_str().unwrap(), link).output().unwrap()).failed(2);
        assert_eq!(said, "--rejects names the file that is imported");
        // This holds for standard input, too.
        let mut command = named("-", link);
        let command = command.stdin(fs::File::open(&file).unwrap());
        assert_eq!(Said::of(command.output().unwrap()).code, 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }

    // Everybody can read this file, and it has a second name.
    fs::write(&open, "of another import").unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let other = folder.path().join("other");
    fs::hard_link(&open, &other).unwrap();
    assert_eq!(Said::of(named(file.to_str().unwrap(), &open).output().unwrap()).code, 1);
    assert_eq!(fs::metadata(&open).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&open).unwrap().contains("secret"));
    assert_eq!(fs::read_to_string(&other).unwrap(), "of another import");
    // A device is written to, and not replaced.
    let nowhere = std::path::Path::new("/dev/null");
    assert_eq!(Said::of(named(file.to_str().unwrap(), nowhere).output().unwrap()).code, 1);
}
